"""Whether memory, open files and threads stay flat through a long run: the digits, fully connected, to a run folder.

    python bench/memory.py --out docs/figures/memory.json [--steps 100000] [--quick]

The run is what `sparring train digits --recipe mlp` does: looks, reports, scores, pictures, advice and checkpoints, all
written to a folder. It is asked at every thousandth of its steps, right after a report. Growth is the median of the
last tenth over the median of the second tenth: the first tenth is the warm-up, in which libraries are loaded, pools
are filled, and the last kinds of event happen for the first time. `heap` is what is allocated and not freed
(glibc's mallinfo2, which counts what the resident memory hides in pages that the allocator keeps). A quarter of an
hour on one thread; `--quick` makes 3,000 steps.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import sys
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sparring.data.open import Data
from sparring.opening import Request
from sparring.recipes.automatic import settle
from sparring.recipes.images import mlp
from sparring.rundir import RunFolder
from sparring.train.events import Event, Stepped
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget
from sparring.train.stopping import Patience
from sparring.train.trainer import Trainer
from sparring.verdict import judge_of_run

DEVICE = torch.device("cpu")


class Held(NamedTuple):
    """What this process holds: bytes resident and on the heap, blocks of Python's, and tensors, files and threads."""

    resident: int
    heap: int
    blocks: int
    tensors: int
    files: int
    threads: int


_MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and newer (mallinfo(3))."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO)


def held() -> Held:
    """Of this process, now; Linux only."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    found = mallinfo()
    tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208, which would open one file more
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    return Held(resident, found.uordblks + found.hblkhd, sys.getallocatedblocks(), tensors, files, threads)


def small(steps: int) -> Recipe:
    """The digits with fully connected players; never stopped before its steps are made."""
    data = Data(source="digits")
    budget = Budget(amount=64.0 * steps, unit="images")
    recipe = mlp(data, data.load().spec, budget)
    scoring = recipe.scoring.replace(samples=1000, times=100, patience=Patience(scores=0))
    train = recipe.train.replace(grids=100, save_seconds=10.0)
    return settle(recipe.replace(train=train, scoring=scoring), DEVICE).recipe


def events(recipe: Recipe, folder: Path) -> Iterator[Event]:
    """The run's events, each stored in a new folder first."""
    source = recipe.source.load()
    trainer = Trainer(recipe, source, DEVICE, judge_of_run(recipe, source, None, DEVICE, None))
    run = RunFolder.create(folder, Request(recipe, "mlp", (), {}), source.spec, source.report)
    yield from run.record(trainer.run())


def course(recipe: Recipe, folder: Path, every: int) -> Iterator[tuple[int, Held]]:
    """Steps made, and what is held after a report every so many steps."""
    for event in events(recipe, folder):
        if isinstance(event, Stepped) and event.clock.step % every == 0:
            step = event.clock.step
            del event
            gc.collect()
            yield step, held()


def growth(values: list[int]) -> float:
    """The median of the last tenth over the median of the second tenth, less 1."""
    tenth = max(1, len(values) // 10)
    return statistics.median(values[-tenth:]) / statistics.median(values[tenth : 2 * tenth]) - 1


def summary(found: list[tuple[int, Held]]) -> dict[str, Any]:
    """Growth of each kind, and the extremes after the first tenth."""
    after = [each for _, each in found[len(found) // 10 :]]
    columns = {name: [getattr(each, name) for _, each in found] for name in Held._fields}
    return {
        name: {
            "growth": round(growth(values), 5),
            "least": min(getattr(each, name) for each in after),
            "most": max(getattr(each, name) for each in after),
        }
        for name, values in columns.items()
    }


def main() -> None:
    """Runs, prints the growth, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="3,000 steps")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    steps = 3000 if options.quick else options.steps
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        recipe = small(steps)
        every = max(1, round(steps / 1000 / recipe.train.report_every)) * recipe.train.report_every
        kept = array("q")  # of plain numbers: a list of tuples would be a growth of its own
        for step, each in course(recipe, Path(folder) / "run", every):
            kept.extend((step, *each))
    width = 1 + len(Held._fields)
    found = [(kept[at], Held(*kept[at + 1 : at + width])) for at in range(0, len(kept), width)]
    told = summary(found)
    for name, values in told.items():
        print(f"{name:<9} {values['growth']:+.2%}  {values['least']:,} to {values['most']:,}")
    if options.out:
        thin = found[:: max(1, len(found) // 100)]
        curve = [{"step": step} | each._asdict() for step, each in thin]
        figures = {"steps": steps, "torch": torch.__version__, "summary": told, "curve": curve}
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
