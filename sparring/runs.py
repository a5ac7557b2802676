"""What plays runs: `sparring train` and `sparring resume`, from the options to the finished folder."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from sparring.core.errors import RequestError, TrainingError
from sparring.core.protocols import DataSpec, Source
from sparring.core.spec import to_json
from sparring.data.named import NAMES
from sparring.data.open import Data, parse_size
from sparring.display import ProgressLine, count_text, time_text, value_lines
from sparring.metrics.judge import Judge
from sparring.metrics.provenance import provenance_text
from sparring.recipes.automatic import Choice, choose, load_file, settle
from sparring.recipes.mends import parse_mends
from sparring.rundir import Request, RunFolder, find_checkpoint, new_folder, open_run, taken
from sparring.train.checkpoint import load_checkpoint
from sparring.train.recipe import Recipe
from sparring.train.schedule import parse_budget
from sparring.train.trainer import Trainer
from sparring.verdict import best_checkpoint, generator_of, judge_of_run, verdict

PER_CLASS = ("fid_class_", "share_class_", "accuracy_class_")
"""Values of single classes, which are for the report: a terminal has no room for them."""
NEAREST = 10
"""Samples that are shown beside the real ones nearest to them: one of each class, where there are ten."""


def train(options: argparse.Namespace) -> int:
    """`sparring train`: a new run, or with --dry-run what it would be."""
    data = _data(options)
    source = data.load()
    choice = _choice(options, data, source.spec)
    device = find_device(options.device)
    recipe, arithmetic = settle(choice.recipe, device)
    reasons = (*choice.reasons, *arithmetic)
    if options.dry_run:
        return _dry_run(recipe, source, reasons)
    out = Path(options.out) if options.out else new_folder(source.spec.name)
    if out.exists():
        raise taken(out)
    print(_found(source))
    for reason in reasons:
        print(f"  {reason}")
    held_out = recipe.source.load_held_out()
    judge = judge_of_run(recipe, source, held_out, device, options.features)
    # Before the folder: a recipe that can't be played leaves nothing behind.
    trainer = Trainer(recipe, source, device, judge, held_out)
    request = Request(recipe, options.recipe or recipe.name, reasons, _environment(device))
    folder = RunFolder.create(out, request, source.spec, source.report)
    print(f"  {_sizes(trainer)}")
    return _run(trainer, folder, judge)


def resume(options: argparse.Namespace) -> int:
    """`sparring resume`: goes on from the last checkpoint."""
    path = Path(options.run)
    trusted = (load_file(options.recipe),) if options.recipe else ()
    request, data = open_run(path, trusted)
    meta_path = find_checkpoint(path, "last")
    tensors, meta = load_checkpoint(meta_path)
    source = request.recipe.source.load()
    if source.spec.sha256 != data.sha256:
        raise RequestError(
            f"{path}: its data has changed: {request.recipe.source} had hash {data.sha256[:12]}, now "
            f"{source.spec.sha256[:12]}; restore the data, or start a new run"
        )
    device = find_device(options.device or request.environment.get("device"))
    recipe = request.recipe
    if options.budget:
        recipe = recipe.replace(train=recipe.train.replace(budget=parse_budget(options.budget)))
    held_out = recipe.source.load_held_out()
    judge = judge_of_run(recipe, source, held_out, device, options.features)
    trainer = Trainer(recipe, source, device, judge, held_out)
    trainer.load(tensors, meta)
    if options.budget:
        trainer.set_budget(recipe.train.budget)
    if trainer.done:
        raise RequestError(f"{path}: its budget of {recipe.train.budget} is spent; give a larger one with --budget")
    request = request._replace(recipe=recipe)
    folder = RunFolder.write_request(path, request, data)
    folder.rewind(meta["images"])
    print(f"{path}: goes on at {count_text(meta['images'])} images")
    return _run(trainer, folder, judge)


def _run(trainer: Trainer, folder: RunFolder, judge: Judge | None) -> int:
    """Plays a trainer out with a progress line, draws the pictures, and says what came of it."""
    line = ProgressLine()
    try:
        with _signals(trainer):
            for event in folder.record(trainer.run()):
                line.show(event, trainer.plan)
    except TrainingError:
        line.close()
        folder.draw()
        raise
    line.close()
    if not trainer.done:
        folder.draw()
        print(f"stopped at {count_text(trainer.clock.images)} images, state saved")
        print(f"to go on: sparring resume {folder.path}")
        return 130
    clock = trainer.clock
    print(f"done: {count_text(clock.images)} images, {clock.epoch:.1f} epochs in {time_text(trainer.seconds)}")
    if judge is not None:
        folder.name_best(best_checkpoint(folder.path, trainer, judge))
    model = folder.write_model()
    if judge is not None:
        _judge_finished(trainer, folder, judge)
    *drawn, report = folder.draw()
    pictures = [*sorted((folder.path / "samples").glob("*.png"))[-1:], *drawn]
    for name, path in [
        *(("picture", p) for p in pictures),
        ("report", report),
        ("model", model),
        ("run", folder.path),
    ]:
        print(f"{name:<8} {path}")
    return 0


def _judge_finished(trainer: Trainer, folder: RunFolder, judge: Judge) -> None:
    """The verdict on a finished run: stored, and said."""
    if math.prod(trainer.source.spec.shape) > 2:  # points of a plane are seen in the plane
        generator = generator_of(find_checkpoint(folder.path, "best"), trainer)
        first = trainer.source.take(torch.arange(NEAREST) % len(trainer.source)).y
        asked = first.cpu() if first is not None and generator.data.y_shape else None  # classes are taken in turn
        folder.draw_nearest(generator.sample(NEAREST, labels=asked).x, trainer.source, judge.network)
    found = verdict(folder.path, trainer, judge.network)
    folder.write_verdict(found)
    print(f"ended: {found['stopped']}")
    print(f"best at {count_text(found['images'])} images: {provenance_text(found['provenance'])}")
    values = {name: value for name, value in found["values"].items() if not name.startswith(PER_CLASS)}
    print("\n".join(f"  {text}" for text in value_lines(values)))
    for note in found["notes"]:
        print(f"  note: {note}")
    print(f"how sure: {found['sure']}")


@contextmanager
def _signals(trainer: Trainer) -> Iterator[None]:
    """Within it, Ctrl-C and SIGTERM ask the trainer to save and stop; a second one ends the process at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        trainer.stop()
        for name in before:
            signal.signal(name, signal.SIG_DFL)

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in before:
        signal.signal(name, ask)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _data(options: argparse.Namespace) -> Data:
    place = Path(options.source).expanduser()
    known = options.source in NAMES or not place.exists()
    data = Data(
        # An absolute path, so that a run can be resumed from another folder.
        source=options.source if known else str(place.resolve()),
        size=parse_size(options.size) if options.size else None,
        labels=options.labels or "use",
        hold_out=options.hold_out or 0,
    )
    for path, text in _sets(options.sets):
        if path.startswith("source."):
            data = data.with_path(path.removeprefix("source."), text)
    return data


def _choice(options: argparse.Namespace, data: Data, spec: DataSpec) -> Choice:
    budget = parse_budget(options.budget) if options.budget else None
    recipe, reasons = choose(data, spec, recipe=options.recipe, budget=budget, seed=options.seed)
    if options.features:
        recipe = recipe.replace(scoring=recipe.scoring.replace(features=options.features))
    if options.mend:
        recipe = recipe.replace(train=recipe.train.replace(mend=parse_mends(options.mend)))
    for path, text in _sets(options.sets):
        if not path.startswith("source."):
            recipe = recipe.with_path(path, text)
    return Choice(recipe, reasons)


def _sets(texts: list[str]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    for path, equals, _ in pairs:
        if not equals or not path:
            raise RequestError(f"--set {path!r}: expected PATH=VALUE, such as train.batch=128")
    return [(path, value) for path, _, value in pairs]


def find_device(name: str | None) -> torch.device:
    """A device by name, or the best there is. Raises `RequestError` for one that is not available here."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, False):
        raise RequestError(
            f"--device {name}: not available here; choose from {', '.join(k for k, v in available.items() if v)}"
        )
    return torch.device(name)


def _environment(device: torch.device) -> dict[str, Any]:
    return {
        "device": device.type,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "python": sys.version.split()[0],
    }


def _found(source: Source) -> str:
    spec, report = source.spec, source.report
    shape = "×".join(map(str, spec.shape))
    text = f"{spec.name}: {len(source)} samples of {shape}"
    if report.get("refused"):
        text += f", {len(report['refused'])} files refused (see data.json)"
    return "\n".join([text, *(f"  note: {note}" for note in report.get("notes", ()))])


def _sizes(trainer: Trainer) -> str:
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in trainer.nets.items()}
    return ", ".join(f"{name} {count_text(count)} parameters" for name, count in reversed(counts.items()))


def _dry_run(recipe: Recipe, source: Source, reasons: tuple[str, ...]) -> int:
    print(_found(source))
    for reason in reasons:
        print(f"  {reason}")
    print(f"  {_sizes(Trainer(recipe, source, torch.device('cpu')))}")
    print(json.dumps(to_json(recipe), indent=1))
    return 0
