"""Series: CSV, TSV and Parquet files of columns measured row after row, folders of them, and arrays saved by numpy.

One long series is cut into windows, the samples, as is usual where one series is all there is (Yoon et al. 2019,
"Time-series generative adversarial networks", section 5: windows of 24). Many series are samples as they are; those of
unequal length are filled up, with a column that tells where each ends (`core.forms.Series`).
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sparring.core.errors import RequestError, nearest
from sparring.core.files import size_text
from sparring.core.forms import Series
from sparring.core.protocols import DataSpec
from sparring.data import arrays, csvs, moments
from sparring.data.csvs import Columns
from sparring.data.limits import max_bytes, printable
from sparring.data.listing import IMAGE_SUFFIXES, SPLIT_FOLDERS
from sparring.data.tensors import Resident, from_arrays

ARRAYS = (".npy", ".npz")
SUFFIXES = (*csvs.SUFFIXES, ".parquet", *ARRAYS)
WINDOW = 24
"""Rows of a window where time stamps suggest none."""
LONGEST = 1024
"""Rows of series that are samples as a whole; longer ones are cut into windows."""
MOST_WINDOWS = 100_000
"""With more the windows begin farther apart: neighbours that begin one row apart are almost the same."""
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
        return f"{_quoted(name)} holds time stamps in order" if _all_ordered(when, groups) else ""
    found = csvs.parse_numbers(cells, columns.delimiter)
    if found is None or not np.isfinite(found.values).all():
        return ""
    if moments.named_like_time(name):
        return f"{_quoted(name)} counts the time" if _all_ordered(found.values, groups) else ""
    counts = name.lower() in _COUNTERS or name.lower().endswith(("_id", " id")) or name.endswith("Id")
    if not all(others) or (counts and (np.diff(found.values) == 1).all()):
        return ""
    even = all(moments.evenly_spaced(found.values[rows]) for rows in groups.rows)
    return f"{_quoted(name)} increases by equal steps" if even else ""


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


def load_series(
    path: Path,
    split: str = "train",
    *,
    window: int | None = None,
    stride: int | None = None,
    column: str = "",
    why: str = "",
) -> Resident:
    """The series of a file or of a folder of files: x [T, C] or, where lengths differ, [T, C + 1].

    A long series is cut into windows of `window` rows that begin `stride` rows apart. `column` names the column that
    tells series apart; without it one called as in `SERIES` is sought, and each file of a folder is a series of its
    own. `.npy` and `.npz` hold [T, C] or [N, T, C]; rows of nothing but NaN at the end of a series are none.

    Sub-folders called like splits hold them; the ranges of the columns and the length are those of the training split.
    Missing values within a series are filled in by straight lines between their neighbours, and counted. Columns that
    are not numbers are left out, and named. Raises `RequestError` for what cannot be read, columns without a value,
    infinite and very large numbers, moments that are there twice, and less than two series or windows.
    """
    where = printable(str(path))
    found = _read(path, "train" if _is_split(path) else split, column, where)
    length, whole = _length(found, window, where)
    form = _form(found, ragged=whole and len({len(series) for series in found.series}) > 1)
    notes = [f"read as series: {why}"] if why else []
    if _is_split(path) and split != "train":
        found = _read(path, split, column, where)
        if found.names != form.columns:
            raise RequestError(
                f"{where}: the columns of split {split!r} are {_listed(found.names)}, expected those of the training "
                f"split, {_listed(form.columns)}"
            )
        beyond = _beyond([values[:length] if whole else values for values in found.series], form)
        if beyond:
            notes.append(f"values beyond the ranges of the training split: {beyond}; they are taken as its ends")
    notes += found.notes
    if whole:
        x, apart = _whole(found.series, form, length, where, notes), length
    else:
        x, apart = _windows(found, length, stride, where, form, notes)
    if len(x) < 2:
        raise RequestError(f"{where}: {len(x)} samples of {length} rows; expected at least two")
    source = _source(path, x, form, found, notes)
    source.report |= {"overlap": -(-length // apart) - 1}
    return source


def _is_split(path: Path) -> bool:
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


def _groups(columns: Columns, asked: str, file_of: Sequence[int] | None = None) -> _Groups:
    """The rows of each series, in the order in which series begin; files are told apart, too."""
    names, count = columns.names, len(columns.cells[0])
    if asked and asked not in names:
        raise RequestError(f"source.series: there is no column {_quoted(asked)}; {nearest(asked, names)}")
    found = asked
    for name in () if asked else names:
        if name.lower() in SERIES:
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


def _read(path: Path, split: str, column: str, where: str) -> Found:
    if path.name.lower().endswith(ARRAYS):
        return _from_array(path, split, where)
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
                f"{where}: {printable(file.name)} has the columns {_listed(table.names)}, expected those of "
                f"{printable(files[0].name)}, {_listed(first.names)}"
            )
    cells = [list(chain.from_iterable(t.cells[t.names.index(name)] for t in tables)) for name in first.names]
    file_of = [number for number, table in enumerate(tables) for _ in table.cells[0]]
    merged = first._replace(cells=cells, notes=sorted({note for table in tables for note in table.notes}))
    return _from_columns(merged, file_of, [file.name for file in files], column, where)


def _from_columns(columns: Columns, file_of: Sequence[int], files: Sequence[str], column: str, where: str) -> Found:
    notes = list(columns.notes)
    groups = _groups(columns, column, file_of)
    by_name = dict(zip(columns.names, columns.cells, strict=True))
    by_name.pop(groups.name, None)
    time = _time(by_name, columns.delimiter, groups)
    if time is not None:
        by_name.pop(time.name)
        notes.append(f"{_quoted(time.name)} tells when, and is no part of the samples")
    parsed = {name: _numbers(cells, columns.delimiter, name, where) for name, cells in by_name.items()}
    kept = {name: found for name, found in parsed.items() if found is not None}
    left = [name for name, found in parsed.items() if found is None]
    if left:
        notes.append(f"columns left out that are not numbers: {_listed(left)}")
    if not kept:
        raise RequestError(f"{where}: no column of numbers among {_listed(columns.names)}; expected at least one")
    notes += [f"{_quoted(name)}: {found.note}" for name, found in kept.items() if found.note]
    rows = groups.rows if time is None else _in_order(time, groups, left, where, notes)
    if groups.name:
        notes.append(f"{len(rows)} series told apart by column {_quoted(groups.name)}")
    values = np.stack([found.values for found in kept.values()], 1)
    titles = [
        " ".join(part for part in (printable(files[file_of[of[0]]]) if len(files) > 1 else "", printable(key)) if part)
        for of, key in zip(rows, groups.keys, strict=True)
    ]
    series, filled, refused = _filled([values[of] for of in rows], tuple(kept), titles, where)
    return Found(
        series=series,
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


def _time(cells: dict[str, list[str]], delimiter: str, groups: _Groups) -> _Time | None:
    """The first column of time stamps; else the first of several of numbers, if called like time or counting rows."""
    for name, column in cells.items():
        when = moments.stamps(column)
        if when is not None:
            return _Time(name, when, True)
    parsed = {name: csvs.parse_numbers(column, delimiter) for name, column in cells.items()}
    found = {name: numbers.values for name, numbers in parsed.items() if numbers is not None}
    name = next(iter(found), "")
    if len(found) < 2 or not np.isfinite(found[name]).all():
        return None
    counts = all(moments.evenly_spaced(found[name][rows]) for rows in groups.rows)
    return _Time(name, found[name], False) if counts or moments.named_like_time(name) else None


def _numbers(cells: list[str], delimiter: str, name: str, where: str) -> csvs.Numbers | None:
    """A column of numbers, None where it is none; raises `RequestError` for those of which no range can be told."""
    if all(map(csvs.is_missing, cells)):
        raise RequestError(f"{where}: column {_quoted(name)} has no value at all; remove it from the file")
    found = csvs.parse_numbers(cells, delimiter)
    if found is not None:
        bad = np.flatnonzero(np.abs(found.values) > _LARGEST)
        if len(bad):
            raise RequestError(
                f"{where}: column {_quoted(name)} holds {printable(cells[bad[0]][:40])} in row {bad[0] + 1}; expected "
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
            f"{where}: {repeated} of {len(time.when)} rows have the same {_quoted(time.name)} as another; name the "
            f"column that tells series apart with source.series{mend}"
        )
    if turned:
        notes.append("the last moment came first: rows were turned round")
    if mixed:
        notes.append(f"rows were put into the order of {_quoted(time.name)}")
    if repeated:
        notes.append(f"{repeated} rows have the same {_quoted(time.name)} as the one before")
    if uneven:
        notes.append(f"some steps of {_quoted(time.name)} are longer than others: rows are taken as they follow")
    return rows


def _filled(
    series: Sequence[Floats], names: Sequence[str], titles: Sequence[str], where: str
) -> tuple[list[Floats], dict[str, int], list[dict[str, str]]]:
    """Series without gaps; those without any value in a column are refused."""
    whole: list[Floats] = []
    filled: dict[str, int] = {}
    refused: list[dict[str, str]] = []
    for values, title in zip(series, titles, strict=True):
        gone = np.isnan(values)
        if gone.all(0).any():
            empty = names[int(gone.all(0).argmax())]
            refused.append({"file": title, "reason": f"no value at all in column {_quoted(empty)}"})
            continue
        for c in map(int, np.flatnonzero(gone.any(0))):
            there = np.flatnonzero(~gone[:, c])
            values[:, c] = np.interp(np.arange(len(values)), there, values[there, c])
            filled[names[c]] = filled.get(names[c], 0) + int(gone[:, c].sum())
        whole.append(values)
    if not whole:
        raise RequestError(f"{where}: {refused[0]['file']}: {refused[0]['reason']}, and so with all series")
    return whole, filled, refused


def _from_array(path: Path, split: str, where: str) -> Found:
    """Series of an array [T, C] or [N, T, C]; rows of nothing but NaN at the end are none."""
    notes: list[str] = []
    try:
        packed = path.name.lower().endswith(".npz")
        loaded = arrays._npz(path, where, split, notes)[0] if packed else arrays._npy(path, where, split)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError) as error:
        if isinstance(error, RequestError):
            raise
        reason = printable(str(error).split(". ")[0][:200])
        raise RequestError(f"{where}: not a readable array ({reason}); save it again with numpy") from None
    if loaded.ndim not in (2, 3) or 0 in loaded.shape:
        raise RequestError(f"{where}: an array of shape {list(loaded.shape)}; expected series [T, C] or [N, T, C]")
    values = loaded.astype(np.float64)
    names = tuple(f"column {c + 1}" for c in range(values.shape[-1]))
    if not (np.abs(values[~np.isnan(values)]) <= _LARGEST).all():
        raise RequestError(f"{where}: holds infinite numbers, or some beyond {_LARGEST:g}; NaN stands for unknown ones")
    series = []
    for one in values[None] if values.ndim == 2 else values:
        there = np.flatnonzero(~np.isnan(one).all(1))
        series.append(one[: there[-1] + 1] if len(there) else one)
    titles = [f"series {n}" for n in range(len(series))]
    whole, filled, refused = _filled(series, names, titles, where)
    digits = 0 if loaded.dtype.kind in "bui" else -1
    return Found(whole, names, (digits,) * len(names), filled, None, values.ndim == 3, refused, notes)


def _length(found: Found, window: int | None, where: str) -> tuple[int, bool]:
    """Rows of a sample, and whether samples are whole series."""
    longest = max(map(len, found.series))
    if window is None and found.many and longest <= LONGEST:
        return longest, True
    if window is not None:
        if not 2 <= window < longest + (len(found.series) > 1):
            raise RequestError(
                f"{where}: source.window={window} makes less than 2 windows of {longest} rows; expected 2 to "
                f"{max(2, longest - 1)}"
            )
        return window, False
    if longest < 3:
        raise RequestError(f"{where}: {longest} rows make less than 2 windows; expected a series of at least 3 rows")
    rows = found.period.rows if found.period is not None and longest >= 4 * found.period.rows else WINDOW
    return (rows if longest >= 4 * rows else max(2, longest // 4)), False


def _form(found: Found, ragged: bool) -> Series:
    low = np.min([values.min(0) for values in found.series], 0)
    high = np.max([values.max(0) for values in found.series], 0)
    high = np.where(high > low, high, np.nextafter(low, np.inf))  # a constant is -1, and comes back as itself
    return Series(
        columns=found.names,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        decimals=found.decimals,
        ragged=ragged,
    )


def _scaled(values: Floats, form: Series) -> NDArray[np.float32]:
    low, high = np.array(form.low), np.array(form.high)
    scaled = 2 * ((values - low) / (high - low)) - 1
    return np.asarray(scaled.clip(-1, 1), np.float32)


def _beyond(series: Sequence[Floats], form: Series) -> int:
    """How many values are outside of the ranges of their columns."""
    return sum(int(((values < form.low) | (values > form.high)).sum()) for values in series)


def _whole(series: Sequence[Floats], form: Series, length: int, where: str, notes: list[str]) -> NDArray[np.float32]:
    """Each series as a sample, filled up with zeros where it is shorter."""
    long, short = (sum(of) for of in zip(*((len(v) > length, len(v) < length) for v in series), strict=True))
    if long:
        notes.append(f"{long} series cut to {length} rows, the longest of the training split")
    if short and not form.ragged:
        notes.append(f"{short} series left out that have less than {length} rows")
        series = [values for values in series if len(values) >= length]
    width = len(form.columns) + form.ragged
    _check_room(len(series) * length * width, where)
    x = np.zeros((len(series), length, width), np.float32)
    if form.ragged:
        x[:, :, -1] = -1
    for row, values in zip(x, series, strict=True):
        row[: len(values), : len(form.columns)] = _scaled(values[:length], form)
        if form.ragged:
            row[: len(values), -1] = 1
    return x


def _windows(
    found: Found, length: int, stride: int | None, where: str, form: Series, notes: list[str]
) -> tuple[NDArray[np.float32], int]:
    """Windows [N, length, C] of all series, and how far apart they begin."""
    series = [values for values in found.series if len(values) >= length]
    if len(series) < len(found.series):
        notes.append(f"{len(found.series) - len(series)} series left out that have less than {length} rows")
    if stride is None:
        most = sum(len(values) - length + 1 for values in series)
        stride = min(length, max(1, -(-most // MOST_WINDOWS)))
    counts = [(len(values) - length) // stride + 1 for values in series]
    _check_room(sum(counts) * length * len(form.columns), where)
    parts = [
        np.lib.stride_tricks.sliding_window_view(_scaled(values, form), length, axis=0)[::stride].transpose(0, 2, 1)
        for values in series
    ]
    why = ""
    if found.period is not None and length == found.period.rows:
        why = f", {found.period.name}"
    notes.append(f"cut into windows of {length} rows{why}, which begin {stride} apart (source.window, source.stride)")
    return np.concatenate(parts) if parts else np.zeros((0, length, len(form.columns)), np.float32), stride


def _check_room(values: int, where: str) -> None:
    if 4 * values > max_bytes():
        raise RequestError(
            f"{where}: samples would take {size_text(4 * values)}, expected at most {size_text(max_bytes())}, half of "
            "the memory; a larger source.stride makes fewer"
        )


def _source(path: Path, x: NDArray[np.float32], form: Series, found: Found, notes: list[str]) -> Resident:
    where = printable(str(path))
    flat = from_arrays(x.reshape(len(x), -1), name=where)
    spec: DataSpec = flat.spec.replace(
        name=printable(path.stem.partition(".")[0] or path.name), shape=tuple(x.shape[1:]), form=form
    )
    lengths = sorted(map(len, found.series))
    constant = [
        n for n, low, high in zip(form.columns, form.low, form.high, strict=True) if high <= np.nextafter(low, np.inf)
    ]
    if constant:
        notes.append(f"columns with one value only, which samples have, too: {_listed(constant)}")
    if found.filled:
        counts = ", ".join(f"{printable(name)}: {count}" for name, count in found.filled.items())
        notes.append(f"missing values filled in by straight lines: {counts}")
    report: dict[str, Any] = flat.report | {
        "kind": "series",
        "shape": list(spec.shape),
        "refused": found.refused,
        "notes": notes,
        "columns": [
            {"name": name, "type": "number", "what": f"{low:.6g} to {high:.6g}", "missing": found.filled.get(name, 0)}
            for name, low, high in zip(form.columns, form.low, form.high, strict=True)
        ],
        "lengths": {
            "series": len(lengths),
            "least": lengths[0],
            "median": lengths[len(lengths) // 2],
            "most": lengths[-1],
        },
    }
    return Resident(torch.from_numpy(x), None, spec, report)


def _quoted(name: str) -> str:
    return repr(printable(name[:60]))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name[:60]) for name in names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
