"""Samples in the form in which data came in: series and rows of tables as CSV, Parquet or arrays, texts as lines.

What is written is read again by `sparring.data.open.Data`.
"""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.files import failure_text, write_atomically
from sparring.core.forms import Series, Table, Text
from sparring.core.forms.table import Continuous
from sparring.core.protocols import DataSpec

Cells = dict[str, list[Any]]


def suffixes(data: DataSpec) -> tuple[str, ...]:
    """The kinds of files that samples can be written to: of series, tables and texts."""
    match data.form:
        case Series():
            return (".csv", ".tsv", ".parquet", ".npy", ".npz")
        case Table():
            return (".csv", ".tsv", ".parquet")
        case Text():
            return (".txt",)
    return ()


def write_samples(out: Path, x: Tensor, data: DataSpec) -> None:
    """Writes samples x [N, *data.shape] of data with a form to a file whose suffix says how.

    - Series as tables have the columns `series` and `step`, both counted from 0, and those of the data with their
      digits; as arrays they are float64 [N, T, C], NaN after the end of each.
    - Rows have the columns of the data; cells without a value are empty.
    - Texts stand each on a line.

    Raises `RequestError` for other suffixes, with those that fit, where pyarrow is missing for `.parquet`, and where
    the file cannot be written.
    """
    suffix = out.suffix.lower()
    if data.form is None or suffix not in suffixes(data):
        raise RequestError(f"{out}: expected a name that ends in {', '.join(suffixes(data))} for {_kind(data)}")
    found = data.form.decode(x)
    if isinstance(data.form, Text):
        content = "".join(f"{text}\n" for text in found).encode()
    elif suffix in (".npy", ".npz"):
        content = _array(found, data.shape[0], suffix)
    else:
        cells: Cells = _of_series(found, data.form) if isinstance(data.form, Series) else found
        if suffix == ".parquet":
            content = _parquet(cells, out)
        else:
            content = _table(cells, _digits(data), "\t" if suffix == ".tsv" else ",")
    try:
        write_atomically(out, content)
    except OSError as error:
        raise RequestError(f"{failure_text(error)}; choose another place") from None


def _kind(data: DataSpec) -> str:
    return {Series: "series", Table: "tables", Text: "texts"}.get(type(data.form), "such samples")


def index_names(columns: Sequence[str]) -> tuple[str, str]:
    """What the columns are called that tell series apart and count their moments: they give way to those of the data.

    >>> index_names(["step", "load"])
    ('series', 'step_')
    """
    series, step = "series", "step"
    while series in columns:
        series += "_"
    while step in columns:
        step += "_"
    return series, step


def _of_series(found: Sequence[NDArray[np.float64]], form: Series) -> Cells:
    """Series below each other."""
    names = index_names(form.columns)
    lengths = [len(values) for values in found]
    values = np.concatenate(found)
    columns = {name: values[:, c].tolist() for c, name in enumerate(form.columns)}
    return {
        names[0]: np.repeat(np.arange(len(found)), lengths).tolist(),
        names[1]: np.concatenate([np.arange(length) for length in lengths]).tolist(),
        **columns,
    }


def _digits(data: DataSpec) -> dict[str, int]:
    """The digits after the point of columns of which they are known."""
    if isinstance(data.form, Series):
        return {name: d for name, d in zip(data.form.columns, data.form.decimals, strict=False) if d >= 0}
    if isinstance(data.form, Table):
        columns = [column for column in data.form.columns if isinstance(column, Continuous)]
        return {c.name: c.digits for c in columns if c.digits >= 0}
    return {}


def _table(cells: Cells, digits: dict[str, int], delimiter: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(cells)
    writer.writerows(zip(*(_texts(column, digits.get(name)) for name, column in cells.items()), strict=True))
    return out.getvalue().encode()


def _texts(column: Iterable[Any], digits: int | None) -> list[str]:
    """Cells as text: floats of unknown digits as exactly as float32 is."""
    found = []
    for cell in column:
        if cell is None:
            found.append("")
        elif isinstance(cell, float):
            number = cell + 0.0  # no -0.0
            found.append(f"{number:.9g}" if digits is None else f"{number:.{digits}f}")
        else:
            found.append(str(cell))
    return found


def _array(found: Sequence[NDArray[np.float64]], length: int, suffix: str) -> bytes:
    x = np.full((len(found), length, found[0].shape[1]), np.nan)
    for row, values in zip(x, found, strict=True):
        row[: len(values)] = values
    out = io.BytesIO()
    if suffix == ".npy":
        np.save(out, x, allow_pickle=False)
    else:
        np.savez_compressed(out, x=x)
    return out.getvalue()


def _parquet(cells: Cells, out: Path) -> bytes:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise RequestError(f"{out}: writing Parquet needs pyarrow: pip install 'sparring[parquet]'") from None
    buffer = io.BytesIO()
    try:
        parquet.write_table(arrow.table(cells), buffer)
    except arrow.ArrowException as error:  # a column of numbers and texts
        raise RequestError(f"{out}: cannot be written as Parquet ({str(error)[:200]}); write .csv") from None
    return buffer.getvalue()
