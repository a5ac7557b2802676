"""A run on data that are read while it uses them is the run on the same data in memory, resumed or not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sparring.core.errors import SourceError
from sparring.core.protocols import Source
from sparring.data import encoded
from sparring.data.open import Data
from sparring.data.streamed import Streamed
from sparring.train.order import BlockOrder, Order, order_of
from sparring.train.recipe import Recipe
from sparring.train.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for shard in range(3):
        with tarfile.open(tmp_path / "set" / f"{shard}.tar", "w") as archive:
            for i in range(17):
                out = io.BytesIO()
                Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(out, "JPEG")
                for name, data in ((f"{i}.jpg", out.getvalue()), (f"{i}.cls", str(i % 3).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return tmp_path / "set"


class InBlocks(Trainer):
    """Visits the source in the order that fits it."""

    @property
    def order(self) -> Order | BlockOrder:
        return self._order

    @order.setter
    def order(self, order: Order | BlockOrder) -> None:
        self._order = order_of(self.source, order.seed)


class Reading(InBlocks):
    """Tells the source what comes next, too."""

    def take_step(self) -> None:
        super().take_step()
        batch = self.recipe.train.batch
        self.source.ahead(self.order.indices(self.clock.images, batch))


def playing(recipe: Recipe, root: Path, threads: int, told: bool) -> Trainer:
    source = Data(source=str(root)).load()
    assert isinstance(source, Streamed)
    source.threads = threads
    source.blocks = source.blocks._replace(lengths=[4] * 12 + [3], window=3)  # several windows in an epoch
    return on(recipe, source, told)


def on(recipe: Recipe, source: Source, told: bool) -> Trainer:
    return (Reading if told else InBlocks)(recipe, source, CPU)


def final(trainer: Trainer) -> dict[str, Tensor]:
    for _ in trainer.run():
        pass
    return {name: tensor.clone() for name, tensor in trainer.state()[0].items()}


def test_threads_reading_ahead_and_resume_leave_no_trace(recipe: Recipe, root: Path) -> None:
    whole = final(playing(recipe, root, 2, told=True))
    for threads, told, cut in ((0, False, None), (2, True, 7), (2, True, 13), (1, True, 1)):
        trainer = playing(recipe, root, threads, told)
        if cut is not None:
            for _ in range(cut):
                trainer.take_step()
            tensors, meta = trainer.state()
            stored = {name: tensor.clone() for name, tensor in tensors.items()}
            trainer = playing(recipe, root, threads, told)
            trainer.load(stored, meta)
        found = final(trainer)
        assert found.keys() == whole.keys()
        assert [name for name in whole if not torch.equal(found[name], whole[name])] == []


def test_held_in_memory_it_is_the_same_run_in_the_same_order(recipe: Recipe, root: Path) -> None:
    streamed = playing(recipe, root, 1, told=True)
    held = Data(source=str(root), stream=False).load()
    trainer = on(recipe, held, told=False)
    trainer.source.blocks = streamed.source.blocks  # type: ignore[attr-defined]
    trainer.order = trainer.order  # drawn anew
    found, whole = final(trainer), final(streamed)
    assert [name for name in whole if not torch.equal(found[name], whole[name])] == []


def test_what_can_no_longer_be_read_ends_the_run_by_name(
    recipe: Recipe, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded, "PAUSES", (0.0, 0.0, 0.0))
    trainer = playing(recipe, root, 1, told=True)
    for _ in range(5):
        trainer.take_step()
    (root / "1.tar").unlink()

    def go_on() -> None:
        for _ in range(20):
            trainer.take_step()

    with pytest.raises(SourceError, match=r"1\.tar: sample \d+ at byte \d+: cannot be read"):
        go_on()
    assert trainer.step >= 5
