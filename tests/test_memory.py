"""Memory, open files and threads through a run, in short: bench/memory.py measures 100,000 steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from sparring.train.trainer import Trainer

EVERY = 60
BYTES, BLOCKS = 0.5 * EVERY * 64, 2 * EVERY
"""Less than one small tensor in two steps, whose values take 64 bytes, and less than two objects of Python's in each,
because the scores and checkpoints of a short run leave some, in caches that fill."""


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "bench")
        import memory

        yield memory


def slope(bench: ModuleType, folder: Path, steps: int) -> Any:
    """What is held at the end less what was held half-way, for every so many steps."""
    recipe = bench.small(steps)
    recipe = recipe.replace(
        train=recipe.train.replace(grids=4), scoring=recipe.scoring.replace(times=4, samples=100, spacing=0.0)
    )
    found = [each for _, each in bench.course(recipe, folder / "run", EVERY)]
    assert len(found) == steps // EVERY
    half, end = found[len(found) // 2], found[-1]
    spans = len(found) - 1 - len(found) // 2
    return bench.Held(*((last - first) / spans for first, last in zip(half, end, strict=True)))


def test_a_run_holds_no_more_after_a_step_than_before(bench: ModuleType, tmp_path: Path) -> None:
    grown = slope(bench, tmp_path, 8 * EVERY)
    assert grown.files == 0
    assert grown.threads == 0
    assert grown.tensors == 0
    assert grown.blocks < BLOCKS
    assert grown.heap < BYTES
    assert grown.resident < 2**20


def test_a_leak_of_one_small_tensor_in_every_step_is_seen(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, kept = Trainer.take_step, []

    def leaking(self: Trainer) -> None:
        step(self)
        kept.append(torch.zeros(1))

    monkeypatch.setattr(Trainer, "take_step", leaking)
    grown = slope(bench, tmp_path, 4 * EVERY)
    assert grown.tensors == EVERY
    assert grown.heap > BYTES


def test_growth_is_of_the_last_tenth_over_the_second(bench: ModuleType) -> None:
    assert bench.growth([50] * 10 + [100] * 80 + [103] * 10) == pytest.approx(0.03)
    assert bench.growth([1] + [10] * 9) == 0
