"""What the command does, one function for each verb; each takes the parsed options and returns an exit code.

`train` and `resume` are in `sparring.runs`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparring import __version__
from sparring.core.errors import RequestError
from sparring.core.files import cache_folder, user_path, write_atomically
from sparring.core.forms import Table
from sparring.core.protocols import Batch, DataSpec, Source
from sparring.core.spec import to_json
from sparring.data.alike import load_alike
from sparring.data.open import Data, describe, parse_size
from sparring.data.outputs import write_samples
from sparring.display import count_text, score_table
from sparring.metrics.features import load
from sparring.metrics.judge import Judge, Score
from sparring.opening import no_larger_than_weights, open_checkpoint, open_generator
from sparring.pictures.forms import draw_samples
from sparring.pictures.grid import sample_grid, save_images, save_png, to_uint8
from sparring.recipes.automatic import DEFAULT_BUDGET, find_recipe, load_file
from sparring.recipes.automatic import recipes as all_recipes
from sparring.runs import find_device
from sparring.runs import resume as resume
from sparring.runs import train as train
from sparring.scoring import named, score_generator, score_source, usual
from sparring.train.precision import choose_arithmetic
from sparring.trained import TrainedGenerator, averaged_weights, expected_weights, label_number


def sample(options: argparse.Namespace) -> int:
    """`sparring sample`: draws from a run's averaged generator."""
    run, out = Path(options.run), Path(options.out)
    if out.exists():
        raise RequestError(f"--out {out}: exists already; choose another name")
    generator, meta = _generator(run, options)
    labels = None
    if options.label is not None:
        labels = _asked(options.label, generator.data, max(0, options.n))
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


def _asked(text: str, data: DataSpec, count: int) -> Tensor:
    """The conditions of `count` samples: a class, or a category of a table's column as COLUMN=VALUE."""
    if isinstance(data.form, Table):
        column, equals, value = text.partition("=")
        if not equals:
            raise RequestError(f"--label {text!r:.60}: expected COLUMN=VALUE, a category of a column of {data.name}")
        return data.form.condition(column, value).expand(count, -1)
    return torch.tensor(label_number(text, data)).expand(count)


def score(options: argparse.Namespace) -> int:
    """`sparring score`: judges runs' generators or anybody's images against real data."""
    data = Data(
        source=options.against,
        split=options.split,
        kind=options.kind or "auto",
        size=parse_size(options.size) if options.size else None,
    )
    reference = data.load()
    held_out = _held_out(options.held_out, data, reference)
    asked = usual(reference.spec) if options.metrics is None else filter(None, options.metrics.split(","))
    metrics = named(asked, reference.spec)
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
    samples = _alike(Data(source=str(path), labels="ignore", size=size), reference)
    result = score_source(samples, judge, options.n or len(samples), options.seed)
    refused = samples.report.get("refused", [])
    if reference.spec.form is not None:
        result = result._replace(notes=(*result.notes, *(f"{path}: {note}" for note in samples.report["notes"])))
    if refused:
        count = samples.report.get("num_refused", len(refused))
        what = "files" if reference.spec.form is None else "samples"
        first = f"{refused[0]['file']}: {refused[0]['reason']}"
        result = result._replace(notes=(*result.notes, f"{what} of {path} left out: {count}, the first {first}"))
    return result, {
        "samples": str(path),
        "samples_sha256": samples.spec.sha256,
        "resized": samples.report.get("resized", 0),
        "refused": refused,
    }


def _held_out(name: str | None, data: Data, reference: Source) -> Source | None:
    """`test` names the reference's own test split, anything else is a source."""
    if name is None:
        return None
    return data.replace(split="test").load() if name == "test" else _alike(Data(source=name, size=data.size), reference)


def _alike(data: Data, reference: Source) -> Source:
    """Samples to be held against a reference: read by its form where it has one."""
    if reference.spec.form is None or data.source.startswith("hf:"):
        return data.load()
    return load_alike(user_path(data.source), reference)


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
    source = Data(source=options.source, split=options.split, kind=options.kind or "auto", size=size).load()
    print(json.dumps(source.report, indent=1, ensure_ascii=False) if options.json else describe(source))
    return 0


def doctor(options: argparse.Namespace) -> int:
    """`sparring doctor`: what this machine offers; 2 when something is missing that training needs."""
    device = find_device(None)
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


def _generator(run: Path, options: argparse.Namespace) -> tuple[TrainedGenerator, dict[str, Any]]:
    trusted = (load_file(options.recipe),) if options.recipe else ()
    generator, prior, spec = open_generator(run, trusted)
    with no_larger_than_weights(run):
        expected = expected_weights(generator, spec, prior)
    opened = open_checkpoint(run, options.checkpoint, expected)
    for note in opened.notes:
        sys.stderr.write(f"note: {note}\n")
    return TrainedGenerator(generator, spec, prior, averaged_weights(opened.tensors)), opened.meta


def _write_samples(out: Path, batch: Batch, data: DataSpec, info: dict[str, str]) -> None:
    if data.form is not None:
        if out.suffix == ".png":
            save_png(draw_samples(batch.x, data), out, info)
        else:
            write_samples(out, batch.x, data)
        return
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
