"""What the command does, one function for each verb; each takes the parsed options and returns an exit code."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from sparring import __version__
from sparring.core.errors import RequestError, TrainingError
from sparring.core.files import cache_folder, write_atomically
from sparring.core.protocols import Batch, DataSpec, Source
from sparring.core.spec import to_json
from sparring.data.named import NAMES
from sparring.data.open import Data, describe, parse_size
from sparring.display import ProgressLine, count_text, score_table, time_text, value_lines
from sparring.metrics.features import load
from sparring.metrics.judge import Judge, Score
from sparring.metrics.provenance import provenance_text
from sparring.pictures.grid import sample_grid, save_images, save_png, to_uint8
from sparring.recipes.automatic import DEFAULT_BUDGET, Choice, choose, find_recipe, load_file, settle
from sparring.recipes.automatic import recipes as all_recipes
from sparring.recipes.mends import parse_mends
from sparring.rundir import Request, RunFolder, find_checkpoint, new_folder, open_generator, open_run, taken
from sparring.scoring import named, score_generator, score_source
from sparring.train.checkpoint import load_checkpoint
from sparring.train.precision import choose_arithmetic
from sparring.train.recipe import Recipe
from sparring.train.schedule import parse_budget
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator, averaged_weights, label_number
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
    device = _device(options.device)
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
    device = _device(options.device or request.environment.get("device"))
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


def sample(options: argparse.Namespace) -> int:
    """`sparring sample`: draws from a run's averaged generator."""
    run, out = Path(options.run), Path(options.out)
    if out.exists():
        raise RequestError(f"--out {out}: exists already; choose another name")
    generator, meta = _generator(run, options)
    labels = None
    if options.label is not None:
        labels = torch.full((options.n,), label_number(options.label, generator.data))
    batch = generator.sample(options.n, labels=labels, seed=options.seed, truncation=options.truncation)
    info = {
        "sparring": __version__,
        "data": generator.data.name,
        "seed": str(options.seed),
        "checkpoint_sha256": meta["sha256"],
        "images": str(meta["images"]),
        "weights": "ema",
    }
    _write_samples(out, batch, generator.data, info)
    where = f"{out} (checkpoint at {count_text(meta['images'])} images, averaged weights, seed {options.seed})"
    print(f"{options.n} samples: {where}")
    return 0


def score(options: argparse.Namespace) -> int:
    """`sparring score`: judges runs' generators or anybody's images against real data."""
    data = Data(source=options.against, split=options.split, size=parse_size(options.size) if options.size else None)
    reference = data.load()
    held_out = _held_out(options.held_out, data)
    metrics = named((name for name in options.metrics.split(",") if name), reference.spec)
    name = options.features
    network = load(name, reference, execute=True) if name else None
    judge = Judge(reference, metrics=metrics, features=network, held_out=held_out, keep=options.keep)
    found = []
    for path in options.samples:
        result, about = _score_one(Path(path), judge, reference, options)
        found.append((path, result._replace(notes=(*judge.notices, *result.notes)), about))
    if options.json:
        rows = [about | r.values | {"notes": r.notes, "provenance": r.provenance} for _, r, about in found]
        print(json.dumps(rows[0] if len(rows) == 1 else rows, indent=1))
    else:
        print(score_table([(path, result) for path, result, _ in found]))
    return 0


def _score_one(
    path: Path, judge: Judge, reference: Source, options: argparse.Namespace
) -> tuple[Score, dict[str, Any]]:
    """The score of one run or one set of samples, and what it was."""
    if (path / "recipe.json").exists():
        generator, meta = _generator(path, options)
        result = score_generator(generator, judge, reference, options.n or 10_000, options.seed)
        return result, {
            "run": str(path),
            "checkpoint_images": meta["images"],
            "checkpoint_sha256": meta["sha256"],
        }
    size = parse_size(options.size) if options.size else None
    samples = Data(source=str(path), labels="ignore", size=size).load()
    result = score_source(samples, judge, options.n or len(samples), options.seed)
    refused = samples.report.get("refused", [])
    if refused:
        first = f"{refused[0]['file']}: {refused[0]['reason']}"
        result = result._replace(notes=(*result.notes, f"files of {path} left out: {len(refused)}, the first {first}"))
    return result, {
        "samples": str(path),
        "samples_sha256": samples.spec.sha256,
        "resized": samples.report.get("resized", 0),
        "refused": refused,
    }


def _held_out(name: str | None, data: Data) -> Source | None:
    """`test` names the reference's own test split, anything else is a source."""
    if name is None:
        return None
    held = data.replace(split="test") if name == "test" else Data(source=name, size=data.size)
    return held.load()


def recipes(options: argparse.Namespace) -> int:
    """`sparring recipes`: what there is, or one in full."""
    if options.name:
        data = Data(source="digits")
        recipe = find_recipe(options.name)(data, data.load().spec, DEFAULT_BUDGET)
        print(json.dumps(to_json(recipe), indent=1))
        return 0
    for name, function in all_recipes().items():
        print(f"{name:<8} {(function.__doc__ or '').splitlines()[0]}")
    print("\nA recipe of your own: sparring train SOURCE --recipe mygan.py:mygan")
    return 0


def data(options: argparse.Namespace) -> int:
    """`sparring data`: what a source holds."""
    size = parse_size(options.size) if options.size else None
    source = Data(source=options.source, split=options.split, size=size).load()
    print(json.dumps(source.report, indent=1, ensure_ascii=False) if options.json else describe(source))
    return 0


def doctor(options: argparse.Namespace) -> int:
    """`sparring doctor`: what this machine offers; 2 when something is missing that training needs."""
    device = _device(None)
    arithmetic = choose_arithmetic(device)
    rows = [
        ("sparring", __version__),
        ("torch", torch.__version__),
        ("device", f"{device}, {torch.get_num_threads()} threads"),
        ("arithmetic", f"{arithmetic.precision}, matmul {arithmetic.matmul}: {arithmetic.reason}"),
        ("disk", f"{shutil.disk_usage('.').free / 2**30:.1f} GiB free here"),
        ("SPARRING_DATA", os.environ.get("SPARRING_DATA") or "not set: known sets are looked for in the cache"),
        ("cache", str(cache_folder())),
    ]
    for name, text in rows:
        print(f"{name:<14} {text}")
    if not os.access(".", os.W_OK):
        raise RequestError(f"{Path.cwd()}: cannot be written to; runs are stored in ./runs, change folder or use --out")
    return 0


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


def _device(name: str | None) -> torch.device:
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


def _generator(run: Path, options: argparse.Namespace) -> tuple[TrainedGenerator, dict[str, Any]]:
    trusted = (load_file(options.recipe),) if options.recipe else ()
    generator, prior, spec = open_generator(run, trusted)
    tensors, meta = load_checkpoint(find_checkpoint(run, options.checkpoint))
    return TrainedGenerator(generator, spec, prior, averaged_weights(tensors)), meta


def _write_samples(out: Path, batch: Batch, data: DataSpec, info: dict[str, str]) -> None:
    if out.suffix == ".png":
        columns = max(1, round(len(batch.x) ** 0.5))
        save_png(sample_grid(batch.x, columns, levels=data.levels), out, info)
        return
    if out.suffix == ".npz":
        arrays = {"images": to_uint8(batch.x, data.levels) if data.is_image else batch.x.numpy()}
        if batch.y is not None:
            arrays["labels"] = batch.y.numpy()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_atomically(out, buffer.getvalue())
        return
    if not data.is_image:
        raise RequestError(f"--out {out}: samples are vectors of {data.shape[0]}; write them to a .npz file")
    labels = None if batch.y is None else batch.y.tolist()
    save_images(out, to_uint8(batch.x, data.levels), labels=labels, info=info)


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
