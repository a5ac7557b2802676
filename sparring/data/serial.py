"""What files hold as series: which of their rows are of one series, in which order, and which columns are numbers.

CSV, TSV and Parquet files, folders of them, and arrays saved by numpy. `sequences` makes samples of them.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError, nearest
from sparring.data import arrays, csvs, moments
from sparring.data.csvs import Columns
from sparring.data.limits import printable
from sparring.data.listing import IMAGE_SUFFIXES, SPLIT_FOLDERS
from sparring.data.outputs import index_names

ARRAYS = (".npy", ".npz")
SERIES = (
    "series",
    "series_id",
    "series id",
    "sequence",
    "sequence_id",
    "trajectory",
    "episode",
    "unit",
    "subject",
    "id",
)
"""What a column that tells series apart is called; only those that hold one value for several rows are believed."""
_COUNTERS = ("column 1", "id", "index", "idx", "row", "no", "nr", "number", "unnamed: 0")
_OTHERS = (*IMAGE_SUFFIXES, ".tar", ".parquet", ".npy", ".npz", ".zip")
_LARGEST = 1e100  # beyond it the range of a column may be no number
_MOST_NAMED = 20
Floats = NDArray[np.float64]


class Found(NamedTuple):
    """Series as they were read."""

    series: list[Floats]
    """Each [t, C], without gaps."""
    titles: list[str]
    """What each is called in a line."""
    names: tuple[str, ...]
    decimals: tuple[int, ...]
    filled: dict[str, int]
    """How many values were missing, by column."""
    period: moments.Period | None
    """What time stamps suggest as the length of a window."""
    many: bool
    """Whether the source tells series apart, so that each is a sample."""
    refused: list[dict[str, str]]
    """Series that were left out."""
    notes: list[str]


def why_series(columns: Columns) -> str:
    """Why a table of cells is taken for series, or "" where nothing says so: rows that follow each other in time.

    A first column that merely counts the rows, called `id` or without a name, says nothing; other numbers at equal
    distances do where all columns are numbers.
    """
    groups = _groups(columns, "")
    times = [name for name in columns.names if name != groups.name][:1]
    if not times or len(columns.names) < 2:
        return ""
    name, cells = times[0], columns.cells[columns.names.index(times[0])]
    others = [csvs.numbers(columns, other) for other in columns.names if other not in (name, groups.name)]
    if not any(others):
        return ""
    when = moments.stamps(cells)
    if when is not None:
        return f"{quoted(name)} holds time stamps in order" if _all_ordered(when, groups) else ""
    found = csvs.parse_numbers(cells, columns.delimiter)
    if found is None or not np.isfinite(found.values).all():
        return ""
    if moments.named_like_time(name):
        return f"{quoted(name)} counts the time" if _all_ordered(found.values, groups) else ""
    counts = name.lower() in _COUNTERS or name.lower().endswith(("_id", " id")) or name.endswith("Id")
    if not all(others) or (counts and (np.diff(found.values) == 1).all()):
        return ""
    even = all(moments.evenly_spaced(found.values[rows]) for rows in groups.rows)
    return f"{quoted(name)} increases by equal steps" if even else ""


def why_folder(path: Path) -> str:
    """Why a folder is taken for one of series, or "": it holds several CSV files, and nothing that is read otherwise.

    Raises `RequestError` for one that holds one such file, or the splits of a table.
    """
    files = files_in(path)
    if not files:
        return ""
    others = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    if any(e.name.lower() not in SPLIT_FOLDERS if e.is_dir() else e.suffix.lower() in _OTHERS for e in others):
        return ""
    if len(files) == 1 or any(file.name.lower().partition(".")[0] in SPLIT_FOLDERS for file in files):
        found = ", ".join(printable(file.name) for file in files[:_MOST_NAMED])
        raise RequestError(
            f"{printable(str(path))}: a folder with {found}; expected many series, or the name of a file"
        )
    return f"a folder of {len(files)} files"


def read_columns(path: Path) -> Columns:
    """The cells of a CSV, TSV or Parquet file."""
    if path.name.lower().endswith(".parquet"):
        from sparring.data.columnar import read_parquet

        return read_parquet(path)
    return csvs.read_csv(path)


def is_split(path: Path) -> bool:
    """Whether a folder has sub-folders of its splits."""
    return path.is_dir() and any(entry.is_dir() and entry.name.lower() in SPLIT_FOLDERS for entry in path.iterdir())


def files_in(path: Path, split: str = "train") -> list[Path]:
    """The files of a folder that may hold series or a table, in order; those of its split, where it has splits."""
    try:
        entries = sorted(path.iterdir())
        splits = [entry for entry in entries if entry.is_dir() and entry.name.lower() in SPLIT_FOLDERS]
        if splits:
            entries = [file for entry in splits if entry.name.lower() == split for file in entry.iterdir()]
    except OSError as error:
        raise RequestError(f"{printable(str(path))}: cannot be read ({error.strerror})") from None
    return sorted(e for e in entries if e.name.lower().endswith(csvs.SUFFIXES) and e.is_file())


class _Groups(NamedTuple):
    """Which rows are of one series."""

    name: str
    """The column that says so; '' where there is none."""
    rows: list[NDArray[np.int64]]
    keys: list[str]


def _groups(columns: Columns, asked: str, file_of: Sequence[int] | None = None, values: Sequence[str] = ()) -> _Groups:
    """The rows of each series, in the order in which series begin; files are told apart, too. Columns of `values` tell
    nothing apart."""
    names, count = columns.names, len(columns.cells[0])
    if asked and asked not in names:
        raise RequestError(f"source.series: there is no column {quoted(asked)}; {nearest(asked, names)}")
    found = asked
    for name in () if asked else names:
        if name.lower() in SERIES and name not in values:
            distinct = len(set(columns.cells[names.index(name)]))
            if 2 <= distinct <= count // 2:
                found = name
                break
    cells = columns.cells[names.index(found)] if found else repeat("", count)
    rows: dict[tuple[int, str], list[int]] = {}
    for row, key in enumerate(zip(file_of or repeat(0, count), cells, strict=False)):
        rows.setdefault(key, []).append(row)
    return _Groups(found, [np.array(of, np.int64) for of in rows.values()], [key for _, key in rows])


def _all_ordered(when: Floats, groups: _Groups) -> bool:
    return all(moments.is_ordered(when[rows]) for rows in groups.rows)


def read_series(path: Path, split: str, column: str = "", values: Sequence[str] = ()) -> Found:
    """The series of a split of a path; raises `RequestError` as `load_series` does.

    `values` names the columns that the samples are made of, in order, where that is known: no other is, and
    `RequestError` is raised where one is not there or holds no numbers. Columns of arrays, which have no names, are
    taken in their order.
    """
    where = printable(str(path))
    if path.name.lower().endswith(ARRAYS):
        return _from_array(path, split, where, values)
    files = files_in(path, split) if path.is_dir() else [path]
    if not path.is_dir() and split != "train":
        raise RequestError(f"{where}: one file has no split {split!r}; name the file that holds it")
    if not files:
        raise RequestError(f"{where}: no files of series; expected {' '.join(csvs.SUFFIXES)}")
    tables = [read_columns(file) for file in files]
    first = tables[0]
    for file, table in zip(files, tables, strict=True):
        if set(table.names) != set(first.names):
            raise RequestError(
                f"{where}: {printable(file.name)} has the columns {listed(table.names)}, expected those of "
                f"{printable(files[0].name)}, {listed(first.names)}"
            )
    cells = [list(chain.from_iterable(t.cells[t.names.index(name)] for t in tables)) for name in first.names]
    file_of = [number for number, table in enumerate(tables) for _ in table.cells[0]]
    merged = first._replace(cells=cells, notes=sorted({note for table in tables for note in table.notes}))
    absent = [name for name in values if name not in merged.names]
    if absent:
        raise RequestError(f"{where}: there is no column {quoted(absent[0])}; {nearest(absent[0], merged.names)}")
    written = index_names(values)[0]
    if values and not column and written in merged.names:
        column = written
    return _from_columns(merged, file_of, [file.name for file in files], column, where, values)


def _from_columns(
    columns: Columns, file_of: Sequence[int], files: Sequence[str], column: str, where: str, values: Sequence[str]
) -> Found:
    notes = list(columns.notes)
    groups = _groups(columns, column, file_of, values)
    by_name = dict(zip(columns.names, columns.cells, strict=True))
    by_name.pop(groups.name, None)
    time = _time({n: c for n, c in by_name.items() if n not in values}, columns.delimiter, groups, 1 if values else 2)
    if time is not None:
        by_name.pop(time.name)
    if values:
        others = [name for name in by_name if name not in values]
        if others:
            notes.append(f"columns left out that the reference does not have: {listed(others)}")
        by_name = {name: by_name[name] for name in values}
    elif time is not None:
        notes.append(f"{quoted(time.name)} tells when, and is no part of the samples")
    parsed = {name: _numbers(cells, columns.delimiter, name, where) for name, cells in by_name.items()}
    kept = {name: found for name, found in parsed.items() if found is not None}
    left = [name for name, found in parsed.items() if found is None]
    if left and values:
        raise RequestError(f"{where}: column {quoted(left[0])} holds other cells than numbers; expected only such")
    if left:
        notes.append(f"columns left out that are not numbers: {listed(left)}")
    if not kept:
        raise RequestError(f"{where}: no column of numbers among {listed(columns.names)}; expected at least one")
    notes += [f"{quoted(name)}: {found.note}" for name, found in kept.items() if found.note]
    rows = groups.rows if time is None else _in_order(time, groups, left, where, notes)
    if groups.name and not values:
        notes.append(f"{len(rows)} series told apart by column {quoted(groups.name)}")
    numbers = np.stack([found.values for found in kept.values()], 1)
    titles = [
        " ".join(part for part in (printable(files[file_of[of[0]]]) if len(files) > 1 else "", printable(key)) if part)
        for of, key in zip(rows, groups.keys, strict=True)
    ]
    series, titles, filled, refused = _filled([numbers[of] for of in rows], tuple(kept), titles, where)
    return Found(
        series=series,
        titles=titles,
        names=tuple(kept),
        decimals=tuple(found.decimals for found in kept.values()),
        filled=filled,
        period=moments.period_of(time.when[rows[0]]) if time is not None and time.is_stamped else None,
        many=len(rows) > 1,
        refused=refused,
        notes=notes,
    )


class _Time(NamedTuple):
    """The column that says when a row was measured."""

    name: str
    when: Floats
    is_stamped: bool


def _time(cells: dict[str, list[str]], delimiter: str, groups: _Groups, least: int) -> _Time | None:
    """The first column of time stamps; else the first of at least so many of numbers, if called like time or counting
    rows."""
    for name, column in cells.items():
        when = moments.stamps(column)
        if when is not None:
            return _Time(name, when, True)
    parsed = {name: csvs.parse_numbers(column, delimiter) for name, column in cells.items()}
    found = {name: numbers.values for name, numbers in parsed.items() if numbers is not None}
    name = next(iter(found), "")
    if len(found) < least or not np.isfinite(found[name]).all():
        return None
    counts = all(moments.evenly_spaced(found[name][rows]) for rows in groups.rows)
    return _Time(name, found[name], False) if counts or moments.named_like_time(name) else None


def _numbers(cells: list[str], delimiter: str, name: str, where: str) -> csvs.Numbers | None:
    """A column of numbers, None where it is none; raises `RequestError` for those of which no range can be told."""
    if all(map(csvs.is_missing, cells)):
        raise RequestError(f"{where}: column {quoted(name)} has no value at all; remove it from the file")
    found = csvs.parse_numbers(cells, delimiter)
    if found is not None:
        bad = np.flatnonzero(np.abs(found.values) > _LARGEST)
        if len(bad):
            raise RequestError(
                f"{where}: column {quoted(name)} holds {printable(cells[bad[0]][:40])} in row {bad[0] + 1}; expected "
                f"finite numbers up to {_LARGEST:g}; leave the cell empty where the value is not known"
            )
    return found


def _in_order(
    time: _Time, groups: _Groups, left: Sequence[str], where: str, notes: list[str]
) -> list[NDArray[np.int64]]:
    """The rows of each series as they follow each other in time."""
    rows, turned, mixed, repeated, uneven = [], 0, 0, 0, 0
    for of in groups.rows:
        steps = np.diff(time.when[of])
        if (steps < 0).any():
            turned, mixed = turned + bool((steps <= 0).all()), mixed + bool((steps > 0).any())
            of = of[::-1] if (steps <= 0).all() else of[np.argsort(time.when[of], kind="stable")]
        rows.append(of)
        repeated += int((np.diff(time.when[of]) == 0).sum())
        uneven += moments.has_gaps(time.when[of])
    if repeated > 0.1 * len(time.when):
        mend = f", such as source.series={printable(left[0])}" if left else ""
        raise RequestError(
            f"{where}: {repeated} of {len(time.when)} rows have the same {quoted(time.name)} as another; name the "
            f"column that tells series apart with source.series{mend}"
        )
    if turned:
        notes.append("the last moment came first: rows were turned round")
    if mixed:
        notes.append(f"rows were put into the order of {quoted(time.name)}")
    if repeated:
        notes.append(f"{repeated} rows have the same {quoted(time.name)} as the one before")
    if uneven:
        notes.append(f"some steps of {quoted(time.name)} are longer than others: rows are taken as they follow")
    return rows


def _filled(
    series: Sequence[Floats], names: Sequence[str], titles: Sequence[str], where: str
) -> tuple[list[Floats], list[str], dict[str, int], list[dict[str, str]]]:
    """Series without gaps, and their titles; those without any value in a column are refused."""
    whole: list[Floats] = []
    kept: list[str] = []
    filled: dict[str, int] = {}
    refused: list[dict[str, str]] = []
    for values, title in zip(series, titles, strict=True):
        gone = np.isnan(values)
        if gone.all(0).any():
            empty = names[int(gone.all(0).argmax())]
            refused.append({"file": title, "reason": f"no value at all in column {quoted(empty)}"})
            continue
        for c in map(int, np.flatnonzero(gone.any(0))):
            there = np.flatnonzero(~gone[:, c])
            values[:, c] = np.interp(np.arange(len(values)), there, values[there, c])
            filled[names[c]] = filled.get(names[c], 0) + int(gone[:, c].sum())
        whole.append(values)
        kept.append(title)
    if not whole:
        raise RequestError(f"{where}: {refused[0]['file']}: {refused[0]['reason']}, and so with all series")
    return whole, kept, filled, refused


def _from_array(path: Path, split: str, where: str, expected: Sequence[str]) -> Found:
    """Series of an array [T, C] or [N, T, C]; rows of nothing but NaN at the end are none."""
    notes: list[str] = []
    try:
        packed = path.name.lower().endswith(".npz")
        loaded = arrays.read_npz(path, where, split, notes)[0] if packed else arrays.read_npy(path, where, split)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError) as error:
        if isinstance(error, RequestError):
            raise
        reason = printable(str(error).split(". ")[0][:200])
        raise RequestError(f"{where}: not a readable array ({reason}); save it again with numpy") from None
    if loaded.ndim not in (2, 3) or 0 in loaded.shape:
        raise RequestError(f"{where}: an array of shape {list(loaded.shape)}; expected series [T, C] or [N, T, C]")
    values = loaded.astype(np.float64)
    names = tuple(expected) or tuple(f"column {c + 1}" for c in range(values.shape[-1]))
    if len(names) != values.shape[-1]:
        raise RequestError(
            f"{where}: an array of shape {list(loaded.shape)}; expected {len(names)} columns in its last axis: "
            f"{listed(names)}"
        )
    if not (np.abs(values[~np.isnan(values)]) <= _LARGEST).all():
        raise RequestError(f"{where}: holds infinite numbers, or some beyond {_LARGEST:g}; NaN stands for unknown ones")
    series = []
    for one in values[None] if values.ndim == 2 else values:
        there = np.flatnonzero(~np.isnan(one).all(1))
        series.append(one[: there[-1] + 1] if len(there) else one)
    titles = [f"series {n}" for n in range(len(series))]
    whole, titles, filled, refused = _filled(series, names, titles, where)
    digits = 0 if loaded.dtype.kind in "bui" else -1
    return Found(whole, titles, names, (digits,) * len(names), filled, None, values.ndim == 3, refused, notes)


def quoted(name: str) -> str:
    """A column as it is named in a line."""
    return repr(printable(name[:60]))


def listed(names: Sequence[str]) -> str:
    """Columns as they are named in a line."""
    shown = ", ".join(printable(name[:60]) for name in names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
