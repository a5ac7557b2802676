"""Parquet files as columns of cells, and what of their columns tells whether they hold series or a table.

Needs pyarrow (`pip install 'sparring[parquet]'`), which is asked for as `sparring.data.parquet` does.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal

from sparring.core.errors import RequestError
from sparring.data import moments, parquet, serial
from sparring.data.csvs import LONGEST_NAME, MOST_COLUMNS, Columns
from sparring.data.limits import max_bytes, printable

_CELL_BYTES = 128  # about what a cell takes as text
_ROWS = 4096


def kind_of(path: Path) -> tuple[Literal["auto", "table", "series"], str]:
    """What a Parquet file holds, and why if that is series: those have moments in the first column, in order; a table
    has columns of numbers beside others, and none that is called like a label. "auto" are images and vectors.

    A file that cannot be read, or not without pyarrow, is "auto", too: whoever reads it says what is wrong.
    """
    try:
        schema = _opened(path).schema_arrow
    except (RequestError, OSError):
        return "auto", ""
    types = importlib.import_module("pyarrow.types")
    fields = [field for field in schema if not field.name.startswith("__index_level_")]
    if not fields or any(types.is_nested(field.type) or types.is_binary(field.type) for field in fields):
        return "auto", ""
    if any(types.is_temporal(field.type) or moments.named_like_time(field.name) for field in fields[:2]):
        why = serial.why_series(read_parquet(path))
        if why:
            return "series", why
    are_numbers = [types.is_integer(field.type) or types.is_floating(field.type) for field in fields]
    is_mixed = any(are_numbers) and not all(are_numbers) and all(field.name not in parquet.LABELS for field in fields)
    return ("table" if is_mixed else "auto"), ""


def read_parquet(path: Path) -> Columns:
    """All columns of a Parquet file that hold numbers, texts, booleans or moments, as cells of text.

    Raises `RequestError` for what is no Parquet, and for more columns or cells than can be held.
    """
    where = printable(str(path))
    arrow, types = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.types")
    file = _opened(path)
    names = [f.name for f in file.schema_arrow if not types.is_nested(f.type) and not types.is_binary(f.type)]
    if len(set(names)) < len(names):
        raise RequestError(f"{where}: two columns have the same name; give each its own")
    if not names or len(names) > MOST_COLUMNS or max(map(len, names)) > LONGEST_NAME:
        raise RequestError(
            f"{where}: {len(names):,} columns of cells; expected 1 to {MOST_COLUMNS:,}, with names of at most "
            f"{LONGEST_NAME} characters"
        )
    most = max_bytes() // _CELL_BYTES
    cells: list[list[str]] = [[] for _ in names]
    try:
        if file.metadata.num_rows * len(names) > most:
            raise RequestError(f"{where}: more than {most:,} cells; expected a file that fits into half of the memory")
        for batch in file.iter_batches(_ROWS, columns=names, use_threads=False):
            for name, column in zip(names, cells, strict=True):
                column += map(_text, batch.column(name).to_pylist())
            if len(cells[0]) * len(names) > most:
                raise RequestError(f"{where}: more than {most:,} cells; expected a file that says how many it holds")
    except (arrow.ArrowException, ValueError, OSError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(f"{where}: cannot be read as Parquet ({printable(str(error)[:200])})") from None
    if not cells[0]:
        raise RequestError(f"{where}: no rows; expected at least two")
    return Columns(tuple(names), cells, "", 1, [])


def _opened(path: Path) -> Any:
    where = printable(str(path))
    pq, arrow = parquet.library(where), importlib.import_module("pyarrow")
    try:
        return pq.ParquetFile(str(path))
    except (arrow.ArrowException, ValueError, OSError) as error:
        raise RequestError(f"{where}: cannot be read as Parquet ({printable(str(error)[:200])})") from None


def _text(cell: Any) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else str(cell)
