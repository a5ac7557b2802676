"""The source that indexed files make, their classes, and the report of them."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sparring.core.errors import RequestError
from sparring.core.protocols import Blocks, DataSpec
from sparring.data.encoded import Encoded, Files, Seen, changes, form_of
from sparring.data.images import MAX_BAD, NOTED_BAD
from sparring.data.index import Part
from sparring.data.limits import printable
from sparring.data.pixels import Size
from sparring.data.streamed import NOTED, Reader, Streamed, check_count


class Origin(NamedTuple):
    """Where a source comes from."""

    kind: str
    where: str
    name: str
    parts: Sequence[Part]
    started: float


class Classes(NamedTuple):
    names: tuple[str, ...]
    numbers: dict[str, int]
    """By the label as it is written in the files; empty where there are none, or they are set aside."""
    counts: dict[str, int]
    """By name."""
    note: str


def images_source(
    origin: Origin,
    files: Callable[[dict[str, int]], Files],
    blocks: Blocks,
    classes: Classes,
    split: str,
    size: Size | None,
) -> Streamed:
    """The source that indexed image files make; `files` are given the numbers of the labels.

    Raises `RequestError` for less than two images, more than 5 % bad ones, mixed sizes without `size`, and 16-bit
    images among 8-bit ones.
    """
    where, parts = origin.where, origin.parts
    count = sum(part.num for part in parts)
    refused = [tuple(entry) for part in parts for entry in part.about["refused"]]
    num_refused = sum(part.about["num_refused"] for part in parts)
    if num_refused > MAX_BAD * (count + num_refused):
        raise RequestError(
            f"{where}: {num_refused} of {count + num_refused} images are bad, more than {MAX_BAD:.0%}; the first is "
            f"{refused[0][0]!r}: {refused[0][1]}; remove or replace them"
        )
    check_count(count, where)
    seen = Seen.nothing().merge(Seen(*map(Counter, part.about["seen"].values())) for part in parts)
    form = form_of(seen, size, where)
    shape = (form.channels, *form.size)
    levels = 65536 if form.deep else 256
    ignored = sum((Counter(part.about["ignored"]) for part in parts), Counter[str]())
    notes = []
    if num_refused > NOTED_BAD * (count + num_refused):
        share = f"{num_refused / (count + num_refused):.1%}".replace("%", " %")
        total = count + num_refused
        notes.append(f"{num_refused} of {total} images are bad ({share}) and left out: look at them first")
    if ignored:
        kinds = ", ".join(f"{number} {name}" for name, number in ignored.most_common(5))
        notes.append(f"files that make no sample were ignored: {kinds}")
    if num_refused > len(refused):
        notes.append(f"{num_refused} images are refused, of which the first {len(refused)} are named")
    spec = _spec(origin, shape, levels, classes, form.resize)
    report = _report(origin, spec, classes, blocks, split) | changes(seen, form)
    report |= {"ignored": ignored.total(), "refused": [{"file": name, "reason": reason} for name, reason in refused]}
    report["notes"] += notes
    return Streamed(Encoded(files(classes.numbers), form), spec, report, blocks)


def vectors_source(
    origin: Origin,
    reader: Callable[[dict[str, int]], Reader],
    blocks: Blocks,
    classes: Classes,
    split: str,
    width: int,
    levels: int,
) -> Streamed:
    """The source that indexed rows of numbers make."""
    check_count(sum(part.num for part in origin.parts), origin.where)
    spec = _spec(origin, (width,), levels, classes, False)
    report = _report(origin, spec, classes, blocks, split)
    return Streamed(reader(classes.numbers), spec, report, blocks)


def _spec(origin: Origin, shape: tuple[int, ...], levels: int, classes: Classes, resize: bool) -> DataSpec:
    about = [shape, levels, resize, classes.names]
    hashes = [part.sha256 for part in origin.parts]
    return DataSpec(
        name=printable(origin.name),
        shape=shape,
        levels=levels,
        num_classes=len(classes.names),
        class_names=classes.names,
        sha256=hashlib.sha256(json.dumps([*about, *hashes]).encode()).hexdigest(),
    )


def _report(origin: Origin, spec: DataSpec, classes: Classes, blocks: Blocks, split: str) -> dict[str, Any]:
    """The keys of `data.json`, for samples of which nothing was changed or refused."""
    parts = origin.parts
    notes = [*_changed(parts), *([classes.note] if classes.note else [])]
    files = "1 file" if len(parts) == 1 else f"{len(parts)} files"
    notes.append(f"{NOTED}, from {files}; {blocks.window} blocks at a time are mixed")
    return {
        "source": spec.name,
        "split": split,
        "kind": origin.kind,
        "count": sum(part.num for part in parts),
        "shape": list(spec.shape),
        "levels": spec.levels,
        "classes": classes.counts,
        "sizes": {},
        "channels": spec.shape[0] if spec.is_image else 0,
        "converted": {},
        "resized": 0,
        "cropped": 0,
        "duplicates": None,
        "ignored": 0,
        "refused": [],
        "notes": notes,
        "sha256": spec.sha256,
        "seconds": round(time.perf_counter() - origin.started, 3),
    }


def classes_of(
    parts: Sequence[Part], given: tuple[str, ...], where: str, labels: str, *, numbered: bool = True
) -> Classes:
    """The classes that the labels of all files make: numbers from 0, or names in sorted order, unless names are given.
    Where labels are not `numbered`, as class folders are not, those that look like numbers are names, too.

    Raises `RequestError` for samples without a label among others, for negative numbers, and for numbers or names that
    those given do not have.
    """
    counts = sum((Counter(part.about["labels"]) for part in parts), Counter[str]())
    if not counts or labels == "ignore":
        aside = f"labels ignored as asked: {len(counts)} classes set aside, training is unconditional"
        return Classes((), {}, {}, aside if counts else "no labels: training is unconditional")
    missing = sum(part.about["unlabelled"] for part in parts)
    if missing:
        raise RequestError(
            f"{where}: labels missing for {missing} of {missing + counts.total()} images; label all of them, or "
            "leave labels out with --labels ignore"
        )
    if numbered and all(re.fullmatch(r"-?\d{1,18}", text) for text in counts):
        highest = max(int(text) for text in counts)
        if min(int(text) for text in counts) < 0:
            raise RequestError(
                f"{where}: a label is negative; expected 0, 1, 2, ..., or leave labels out with --labels ignore"
            )
        if highest >= (len(given) or counts.total()):
            has = f"{len(given)} names of classes" if given else f"{counts.total()} samples"
            raise RequestError(f"{where}: label {highest} for {has}; number the classes from 0 without gaps")
        names = given or tuple(str(i) for i in range(highest + 1))
        numbers = {text: int(text) for text in counts}
    else:
        names = given or tuple(sorted(counts))
        numbers = {name: i for i, name in enumerate(names)}
        unknown = sorted(counts.keys() - numbers.keys())
        if unknown:
            raise RequestError(f"{where}: label {printable(unknown[0])!r} is not among the names of classes")
        numbers = {text: numbers[text] for text in counts}
    found = dict.fromkeys(names, 0)
    for text, number in numbers.items():
        found[names[number]] += counts[text]
    names = tuple(map(printable, names))
    if len(set(names)) < len(names):
        raise RequestError(f"{where}: two classes have the same name; give each class its own")
    empty = [name for name, count in zip(names, found.values(), strict=True) if not count]
    note = f"{len(empty)} of {len(names)} classes have no sample, the first is {empty[0]!r}" if empty else ""
    return Classes(names, numbers, dict(zip(names, found.values(), strict=True)), note)


def _changed(parts: Sequence[Part]) -> list[str]:
    changed = [printable(part.path.name) for part in parts if part.changed]
    return [f"{len(changed)} files changed since they were used before, the first is {changed[0]}"] if changed else []
