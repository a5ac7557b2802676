"""From a name to data that are read while they are used: which files it leads to, and the source that they make."""

from __future__ import annotations

import glob
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sparring.core.errors import RequestError
from sparring.core.protocols import Blocks, DataSpec
from sparring.data import shards
from sparring.data.encoded import MAX_BAD, Encoded, Files, Seen, changes, form_of
from sparring.data.index import Indices, Part, check_sums
from sparring.data.limits import printable
from sparring.data.listing import IMAGE_SUFFIXES, SPLIT_FOLDERS
from sparring.data.pixels import Size
from sparring.data.streamed import Streamed, check_count, in_blocks

_SPLIT = re.compile(rf"({'|'.join(sorted(SPLIT_FOLDERS, key=len, reverse=True))})(?![a-z])", re.IGNORECASE)
_CLASS_NAMES = "classnames.txt"
_MAX_NAMES_BYTES = 2**24


def files_of(path: Path, suffix: str, split: str) -> list[Path]:
    """The files of a kind that a path leads to, in order: itself, those of a folder, or those that fit a pattern.

    In a folder, sub-folders called like splits, and names that begin with one (`train-0000.tar`), say what is part of
    the split. Raises `RequestError` where there are such files, but none of the split.
    """
    if path.is_dir():
        found = sorted(_with(suffix, path.iterdir()))
        if not found:
            names = {entry.name.lower(): entry for entry in path.iterdir() if entry.name.lower() in SPLIT_FOLDERS}
            inside = {name: sorted(_with(suffix, entry.iterdir())) for name, entry in names.items() if entry.is_dir()}
            if any(inside.values()) and not inside.get(split):
                raise RequestError(f"{printable(str(path))}: has no split {split!r} with {suffix} files")
            return inside.get(split, [])
    elif glob.has_magic(str(path)) and not path.exists():
        return sorted(_with(suffix, map(Path, glob.glob(str(path)))))  # noqa: PTH207 (the pattern may begin anywhere)
    else:
        return [path] if path.suffix.lower() == suffix and path.is_file() else []
    said = {file: match[1].lower() for file in found if (match := _SPLIT.match(file.name))}
    chosen = [file for file in found if said.get(file) == split] if said else found
    if (found and not chosen) or (found and not said and split != "train"):
        raise RequestError(
            f"{printable(str(path))}: has no split {split!r}; expected {suffix} files called {split}-..."
        )
    return chosen


def load(path: Path, split: str, size: Size | None, labels: str) -> Streamed | None:
    """The source that a path or a pattern leads to, if that is one of shards; else None."""
    try:
        files = files_of(path, ".tar", split)
    except OSError:
        return None  # whoever opens it will say what is wrong
    if files and (_only_parts(path) if path.is_dir() else files[0] != path or shards.is_shard(path)):
        return load_shards(files, printable(str(path)), split, size, labels)
    return None


def load_shards(files: Sequence[Path], where: str, split: str, size: Size | None, labels: str) -> Streamed:
    """Shards of images in the layout of WebDataset. Names of classes may be in `classnames.txt` beside them, a line
    each, by number.

    Raises `RequestError` as `load_images` does, for labels that only some samples have, and for shards whose hash is
    not the one that `SHA256SUMS` beside them says.
    """
    started = time.perf_counter()
    indices = Indices("shard", shards.index_shard)
    parts = [indices.part(file) for file in files]
    check_sums(parts)
    parts = [part for part in parts if part.num or part.about["num_refused"]]
    return images_source(
        Origin("shards of images", where, files[0].parent.name, parts, started),
        lambda numbers: shards.Shards(indices, [part for part in parts if part.num], numbers),
        in_blocks([part.num for part in parts]),
        classes_of(parts, files[0].parent, where, labels),
        split,
        size,
    )


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
    """The source that indexed image files make; `files` are given the numbers of the labels."""
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
    about = [shape, levels, form.resize, classes.names, sorted(classes.numbers.items())]
    sha256 = hashlib.sha256(json.dumps([*about, *(part.sha256 for part in parts)]).encode()).hexdigest()
    ignored = sum((Counter(part.about["ignored"]) for part in parts), Counter[str]())
    notes = [*_changed(parts), classes.note] if classes.note else _changed(parts)
    if ignored:
        kinds = ", ".join(f"{number} {name}" for name, number in ignored.most_common(5))
        notes.append(f"files that are neither images nor labels were ignored: {kinds}")
    if num_refused > len(refused):
        notes.append(f"{num_refused} images are refused, of which the first {len(refused)} are named")
    spec = DataSpec(
        name=printable(origin.name),
        shape=shape,
        levels=levels,
        num_classes=len(classes.names),
        class_names=classes.names,
        sha256=sha256,
    )
    report = {
        "source": spec.name,
        "split": split,
        "kind": origin.kind,
        "count": count,
        "shape": list(shape),
        "levels": levels,
        "classes": classes.counts,
        **changes(seen, form),
        "channels": form.channels,
        "duplicates": None,
        "ignored": ignored.total(),
        "refused": [{"file": name, "reason": reason} for name, reason in refused],
        "notes": [*notes, f"read from {len(parts)} files while it is used, {blocks.window} blocks at a time are mixed"],
        "sha256": sha256,
        "seconds": round(time.perf_counter() - origin.started, 3),
    }
    order = ("source", "split", "kind", "count", "shape", "levels", "classes", "sizes", "channels", "converted")
    report = {key: report[key] for key in order} | report
    return Streamed(Encoded(files(classes.numbers), form), spec, report, blocks)


def classes_of(parts: Sequence[Part], folder: Path, where: str, labels: str) -> Classes:
    """The classes that the labels of all files make: numbers from 0, or names in sorted order.

    Raises `RequestError` for samples without a label among others, for negative numbers, and for numbers or names that
    `classnames.txt` does not have.
    """
    counts = sum((Counter(part.about["labels"]) for part in parts), Counter[str]())
    if not counts or labels == "ignore":
        aside = f"labels ignored as asked: {len(counts)} classes set aside, training is unconditional"
        return Classes((), {}, {}, aside if counts else "no labels: training is unconditional")
    missing = sum(part.about["unlabelled"] for part in parts)
    if missing:
        raise RequestError(
            f"{where}: labels missing for {missing} of {missing + counts.total()} images; give each a KEY.cls, or set "
            "labels=ignore"
        )
    given = _class_names(folder)
    if all(re.fullmatch(r"-?\d{1,18}", text) for text in counts):
        highest = max(int(text) for text in counts)
        if min(int(text) for text in counts) < 0:
            raise RequestError(f"{where}: a label is negative; expected 0, 1, 2, ...")
        if highest >= (len(given) or counts.total()):
            has = f"{len(given)} names in {_CLASS_NAMES}" if given else f"{counts.total()} samples"
            raise RequestError(f"{where}: label {highest} for {has}; number the classes from 0 without gaps")
        names = given or tuple(str(i) for i in range(highest + 1))
        numbers = {text: int(text) for text in counts}
    else:
        names = given or tuple(sorted(counts))
        numbers = {name: i for i, name in enumerate(names)}
        unknown = sorted(counts.keys() - numbers.keys())
        if unknown:
            raise RequestError(f"{where}: label {printable(unknown[0])!r} is not among the names in {_CLASS_NAMES}")
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


def _class_names(folder: Path) -> tuple[str, ...]:
    try:
        with (folder / _CLASS_NAMES).open("rb") as file:
            text = file.read(_MAX_NAMES_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _changed(parts: Sequence[Part]) -> list[str]:
    changed = [printable(part.path.name) for part in parts if part.changed]
    return [f"{len(changed)} files changed since they were used before, the first is {changed[0]}"] if changed else []


def _only_parts(folder: Path) -> bool:
    """Whether a folder holds neither images nor folders of them, beside which an archive would be something else."""
    return not any(
        entry.name.lower() not in SPLIT_FOLDERS if entry.is_dir() else entry.suffix.lower() in IMAGE_SUFFIXES
        for entry in folder.iterdir()
        if not entry.name.startswith(".")
    )


def _with(suffix: str, entries: Any) -> list[Path]:
    return [entry for entry in entries if entry.suffix.lower() == suffix and entry.is_file()]
