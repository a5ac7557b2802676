"""From a name to data that are read while they are used: which files it leads to, and the source that they make."""

from __future__ import annotations

import glob
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparring.core.errors import RequestError
from sparring.data import loose, parquet, shards
from sparring.data.assembled import Origin, classes_of, images_source, vectors_source
from sparring.data.index import Indices, check_sums
from sparring.data.limits import printable
from sparring.data.listing import IMAGE_SUFFIXES, SPLIT_FOLDERS
from sparring.data.pixels import Size
from sparring.data.streamed import Streamed, in_blocks

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
    """The source that a path or a pattern leads to, if that is one of shards or of Parquet files; else None."""
    place = path
    try:
        if path.is_dir() and not _only_parts(path):
            place = path / "data"  # where Hugging Face's sets have their files
            if not place.is_dir() or not _only_parts(place):
                return None
        files, tables = files_of(place, ".tar", split), files_of(place, ".parquet", split)
    except OSError:
        return None  # whoever opens it will say what is wrong
    if tables:
        return load_tables(tables, printable(str(path)), split, size, labels)
    if files and (files[0] != path or shards.is_shard(path)):
        return load_shards(files, printable(str(path)), split, size, labels)
    return None


def load_folder(path: Path, split: str, size: Size | None, labels: str, *, asked: bool) -> Streamed | None:
    """A folder of images read while it is used, if that was asked for, or if it is too large to be held; else None."""
    started, where = time.perf_counter(), printable(str(path))
    folder = loose.Folder(path, split, labels)
    taken = folder.takes(size)
    if not (asked or loose.too_large(taken)):
        return None
    indices = folder.indices()
    part = indices.part(path)
    source = images_source(
        Origin("folder of images", where, path.name or where, [part], started),
        lambda numbers: loose.FolderFiles(folder, indices, [part], numbers),
        in_blocks([part.num]),
        classes_of([part], (), where, labels, numbered=False),
        split,
        size,
    )
    source.report["notes"] = [*folder.notes, *source.report["notes"]]
    if not asked:
        source.report["notes"].append(
            f"held in memory they would take about {taken >> 20} MiB, more than {loose.SHARE:.0%} of what is free; "
            "source.stream=false holds them all the same"
        )
    return source


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
        classes_of(parts, _class_names(files[0].parent), where, labels),
        split,
        size,
    )


def load_tables(files: Sequence[Path], where: str, split: str, size: Size | None, labels: str) -> Streamed:
    """Parquet files of images or of rows of numbers.

    Raises `RequestError` as `load_shards` does, without pyarrow, and for numbers that are not in [-1, 1].
    """
    started = time.perf_counter()
    indices = Indices("table", parquet.index_table)
    parts = [indices.part(file) for file in files]
    check_sums(parts)
    columns = parquet.columns_of(parts, where)
    if columns.numbers and size is not None:
        raise RequestError(
            f"{where}: --size is for images; these samples are vectors of {len(columns.numbers)} numbers"
        )
    some = [part for part in parts if part.num]
    origin = Origin("Parquet", where, files[0].stem if len(files) == 1 else files[0].parent.name, parts, started)
    classes = classes_of(parts, columns.names or _class_names(files[0].parent), where, labels)
    blocks = parquet.blocks_of(parts)
    if columns.image:
        return images_source(
            origin, lambda numbers: parquet.TableFiles(indices, some, numbers, columns), blocks, classes, split, size
        )
    levels = 256 if columns.is_bytes else 0
    return vectors_source(
        origin,
        lambda numbers: parquet.TableRows(indices, some, numbers, columns),
        blocks,
        classes,
        split,
        len(columns.numbers),
        levels,
    )


def _class_names(folder: Path) -> tuple[str, ...]:
    try:
        with (folder / _CLASS_NAMES).open("rb") as file:
            text = file.read(_MAX_NAMES_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(line.strip() for line in text.rstrip().splitlines())  # an empty line has a number, too


def _only_parts(folder: Path) -> bool:
    """Whether a folder holds neither images nor folders of them, beside which an archive would be something else."""
    return not any(
        entry.name.lower() not in SPLIT_FOLDERS if entry.is_dir() else entry.suffix.lower() in IMAGE_SUFFIXES
        for entry in folder.iterdir()
        if not entry.name.startswith(".")
    )


def _with(suffix: str, entries: Any) -> list[Path]:
    return [entry for entry in entries if entry.suffix.lower() == suffix and entry.is_file()]
