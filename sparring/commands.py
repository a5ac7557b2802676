"""What the command does, one function for each verb; each takes the parsed options and returns an exit code."""

from __future__ import annotations

import argparse
import io
import json
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
from sparring.core.errors import RequestError, nearest
from sparring.core.files import cache_folder, write_atomically
from sparring.core.protocols import Batch, DataSpec, Source
from sparring.core.seeds import derive
from sparring.core.spec import to_json
from sparring.data.named import NAMES
from sparring.data.open import Data, describe, parse_size
from sparring.display import ProgressLine, count_text, score_text, time_text
from sparring.metrics.frechet import FID
from sparring.metrics.judge import Judge, Score
from sparring.metrics.kernel import KID
from sparring.metrics.metric import Metric
from sparring.metrics.modes import Classes
from sparring.pictures.grid import sample_grid, save_images, save_png, to_uint8
from sparring.recipes.automatic import DEFAULT_BUDGET, Choice, choose, find_recipe, load_file, settle
from sparring.recipes.automatic import recipes as all_recipes
from sparring.rundir import Request, RunFolder, find_checkpoint, new_folder, open_generator, open_run, read_rows
from sparring.train.checkpoint import load_checkpoint
from sparring.train.precision import choose_arithmetic
from sparring.train.recipe import Recipe
from sparring.train.schedule import parse_budget
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator, averaged_weights, label_number

METRICS: dict[str, type[Metric]] = {"fid": FID, "kid": KID, "classes": Classes}


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
    origin = options.recipe or recipe.name
    request = Request(recipe, origin, reasons, _environment(device))
    folder = RunFolder.create(out, request, source.spec, source.report)
    print(_found(source))
    for reason in reasons:
        print(f"  {reason}")
    trainer = Trainer(recipe, source, device, _judge(recipe, source, device))
    print(f"  {_sizes(trainer)}")
    return _run(trainer, folder)


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
    trainer = Trainer(recipe, source, device, _judge(recipe, source, device))
    trainer.load(tensors, meta)
    if options.budget:
        trainer.set_budget(recipe.train.budget)
    if trainer.done:
        raise RequestError(f"{path}: its budget of {recipe.train.budget} is spent; give a larger one with --budget")
    request = request._replace(recipe=recipe)
    folder = RunFolder.write_request(path, request, data)
    folder.rewind(meta["images"])
    print(f"{path}: goes on at {count_text(meta['images'])} images")
    return _run(trainer, folder)


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
    """`sparring score`: judges a run's generator or a folder of images against real data."""
    reference = Data(source=options.against, split=options.split).load()
    path = Path(options.samples)
    metrics = tuple(_metric(name) for name in options.metrics.split(",") if name)
    if not metrics:
        raise RequestError(f"--metrics: expected some of {', '.join(METRICS)}")
    judge = Judge(reference, metrics=metrics, features=options.features)
    if (path / "recipe.json").exists():
        generator, meta = _generator(path, options)
        count = options.n or 10_000
        labels = _labels_like(reference, generator.data, count, options.seed)
        result = judge.score(
            lambda start, size: generator.numbered(start, size, options.seed, labels=labels),
            num_samples=count,
            seed=options.seed,
            weights="ema",
        )
        about: dict[str, Any] = {"run": str(path), "checkpoint_images": meta["images"]}
        about |= {"checkpoint_sha256": meta["sha256"]}
    else:
        result, about = _score_images(path, judge, options), {"samples": str(path)}
    if options.json:
        print(json.dumps(about | result.values | {"notes": result.notes, "provenance": result.provenance}, indent=1))
        return 0
    where = result.provenance
    print(
        f"{path}: {where['num_samples']} samples against {where['reference']['count']} of "
        f"{where['reference']['name']} ({where['reference']['split']}), {where['features']} features"
    )
    for name, value in result.values.items():
        print(f"  {name:<16} {value:.4g}")
    for note in result.notes:
        print(f"  note: {note}")
    return 0


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


def _run(trainer: Trainer, folder: RunFolder) -> int:
    """Plays a trainer out with a progress line, draws the pictures, and says what came of it."""
    line = ProgressLine()
    with _signals(trainer):
        for event in folder.record(trainer.run()):
            line.show(event, trainer.plan)
    line.close()
    drawn = folder.draw()
    if not trainer.done:
        print(f"stopped at {count_text(trainer.clock.images)} images, state saved")
        print(f"to go on: sparring resume {folder.path}")
        return 130
    model = folder.write_model()
    clock = trainer.clock
    print(f"done: {count_text(clock.images)} images, {clock.epoch:.1f} epochs in {time_text(trainer.seconds)}")
    scores = [row for row in read_rows(folder.path / "scores.jsonl") if row["best"]]
    if scores:
        best = scores[-1]
        where = best["provenance"]
        print(
            f"best at {count_text(best['images'])} images: {score_text(_floats(best))} ({where['num_samples']} samples "
            f"against {where['reference']['count']} of {where['reference']['name']} in {where['features']} features)"
        )
        for name, value in _floats(best).items():
            print(f"  {name:<16} {value:.4g}")
    pictures = [*sorted((folder.path / "samples").glob("*.png"))[-1:], *drawn]
    for name, path in [*(("picture", p) for p in pictures), ("model", model), ("run", folder.path)]:
        print(f"{name:<8} {path}")
    return 0


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
    )
    for path, text in _sets(options.sets):
        if path.startswith("source."):
            data = data.with_path(path.removeprefix("source."), text)
    return data


def _choice(options: argparse.Namespace, data: Data, spec: DataSpec) -> Choice:
    budget = parse_budget(options.budget) if options.budget else None
    recipe, reasons = choose(data, spec, recipe=options.recipe, budget=budget, seed=options.seed)
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


def _judge(recipe: Recipe, source: Source, device: torch.device) -> Judge | None:
    scoring = recipe.scoring
    if not (scoring.metrics and scoring.times):
        return None
    features = None if scoring.features == "auto" else scoring.features
    metrics = tuple(metric for metric in scoring.metrics if isinstance(metric, Metric))
    return Judge(source, metrics=metrics, features=features, device=device)


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise RequestError(f"--metrics {name!r}: {nearest(name, METRICS)}")
    return METRICS[name]()


def _generator(run: Path, options: argparse.Namespace) -> tuple[TrainedGenerator, dict[str, Any]]:
    trusted = (load_file(options.recipe),) if options.recipe else ()
    generator, prior, spec = open_generator(run, trusted)
    tensors, meta = load_checkpoint(find_checkpoint(run, options.checkpoint))
    return TrainedGenerator(generator, spec, prior, averaged_weights(tensors)), meta


def _labels_like(reference: Source, data: DataSpec, count: int, seed: int) -> torch.Tensor | None:
    """Labels to ask for, with the reference's own frequencies; None where the two do not share classes."""
    if not data.num_classes or reference.spec.num_classes != data.num_classes:
        return None
    random = torch.Generator().manual_seed(derive(seed, "score labels"))
    return reference.take(torch.randint(len(reference), (count,), generator=random)).y


def _score_images(path: Path, judge: Judge, options: argparse.Namespace) -> Score:
    images = Data(source=str(path)).load()
    count = min(options.n or len(images), len(images))
    if options.n and options.n > len(images):
        raise RequestError(f"-n {options.n}: {path} holds only {len(images)} samples")

    def take(start: int, number: int) -> Batch:
        batch = images.take(torch.arange(start, start + number))
        # Labels in a folder are names of its own, not requests that the classifier's classes could answer.
        return Batch(batch.x, None)

    return judge.score(take, num_samples=count, seed=options.seed, weights="given")


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


def _floats(row: dict[str, Any]) -> dict[str, float]:
    skip = ("images", "step", "epoch")
    return {k: v for k, v in row.items() if isinstance(v, int | float) and not isinstance(v, bool) and k not in skip}
