"""Series as samples: cut into windows, or whole.

One long series is cut into windows, the samples, as is usual where one series is all there is (Yoon et al. 2019,
"Time-series generative adversarial networks", section 5: windows of 24). Many series are samples as they are; those of
unequal length are filled up, with a column that tells where each ends (`core.forms.Series`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparring.core.errors import RequestError
from sparring.core.files import size_text
from sparring.core.forms import Series
from sparring.core.protocols import DataSpec
from sparring.data.limits import max_bytes, printable
from sparring.data.serial import Floats, Found, is_split, listed, read_series
from sparring.data.tensors import Resident, from_arrays

WINDOW = 24
"""Rows of a window where time stamps suggest none."""
LONGEST = 1024
"""Rows of series that are samples as a whole; longer ones are cut into windows."""
MOST_WINDOWS = 100_000
"""With more the windows begin farther apart: neighbours that begin one row apart are almost the same."""


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
    found = read_series(path, "train" if is_split(path) else split, column)
    length, whole = _length(found, window, where)
    form = _form(found, ragged=whole and len({len(series) for series in found.series}) > 1)
    notes = [f"read as series: {why}"] if why else []
    if is_split(path) and split != "train":
        found = read_series(path, split, column)
        if found.names != form.columns:
            raise RequestError(
                f"{where}: the columns of split {split!r} are {listed(found.names)}, expected those of the training "
                f"split, {listed(form.columns)}"
            )
        beyond = _beyond([values[:length] if whole else values for values in found.series], form)
        if beyond:
            notes.append(f"values beyond the ranges of the training split: {beyond}; they are taken as its ends")
    notes += found.notes
    if whole:
        x, apart = as_wholes(found.series, form, length, where, notes), length
    else:
        x, apart = as_windows(found, length, stride, where, form, notes)
    if len(x) < 2:
        raise RequestError(f"{where}: {len(x)} samples of {length} rows; expected at least two")
    constant = [
        n for n, low, high in zip(form.columns, form.low, form.high, strict=True) if high <= np.nextafter(low, np.inf)
    ]
    if constant:
        notes.append(f"columns with one value only, which samples have, too: {listed(constant)}")
    source = held(path, x, form, found, notes)
    source.report |= {"overlap": -(-length // apart) - 1}
    return source


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


def as_wholes(series: Sequence[Floats], form: Series, length: int, where: str, notes: list[str]) -> NDArray[np.float32]:
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


def as_windows(
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


def held(path: Path, x: NDArray[np.float32], form: Series, found: Found, notes: list[str]) -> Resident:
    """Samples x [N, T, C] of what was found in a path, and the report of them."""
    where = printable(str(path))
    flat = from_arrays(x.reshape(len(x), -1), name=where)
    spec: DataSpec = flat.spec.replace(
        name=printable(path.stem.partition(".")[0] or path.name), shape=tuple(x.shape[1:]), form=form
    )
    lengths = sorted(map(len, found.series))
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
