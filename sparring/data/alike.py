"""Samples in files, read as a reference is: by its form, so that both are the same numbers for the same things.

A file alone would be given a form of its own: other ends of its columns, other modes, another alphabet. What the
reference's form can't say is left out and counted, or brought to the nearest that it can say, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError, nearest
from sparring.core.forms import Series, Table, Text
from sparring.core.forms.table import Categorical, Column, Continuous, seconds_of
from sparring.core.protocols import Source
from sparring.core.seeds import derive
from sparring.data import csvs, sequences, serial, tables, texts
from sparring.data.limits import printable
from sparring.data.tables import Encoded, Rows
from sparring.data.tensors import Resident

_MOST_NAMED = 1000
_ROUNDING = 1e-6  # of a column's range, and of its values: what is lost where a number is written as text
_TABLES = (*csvs.SUFFIXES, ".parquet")


def load_alike(path: Path, reference: Source) -> Resident | Rows:
    """The samples of a file in the form of a reference that holds series, texts or rows of a table.

    - Series (a table, an array, or a folder of tables; a column `series` tells them apart, as in what
      `sparring.data.outputs` writes) have the reference's columns, in any order, and its length: others are refused,
      shorter ones not where the reference is ragged, and longer ones are cut into windows where the reference is.
    - Texts, a line each, an empty line being an empty text: longer ones are cut; those of other tokens are refused.
    - Rows have the reference's columns; refused are those with a value that no row of the reference has in a column of
      categories, without a value where it always has one, and with a text where it has numbers.

    Numbers beyond what the reference has become the nearest that it has. What was refused is in the report's
    `refused`, with `num_refused`; what was changed or left out in its `notes`.
    Raises `RequestError` for other files than these, columns that are not there, and less than two samples.
    """
    match reference.spec.form:
        case Series() as form:
            suffixes: tuple[str, ...] = (*_TABLES, *serial.ARRAYS)
        case Text() as form:
            suffixes = texts.SUFFIXES
        case Table() as form:
            suffixes = _TABLES
        case _:
            raise RequestError(f"{reference.spec.name}: expected series, texts or a table as the reference")
    where = printable(str(path))
    if not path.exists():
        raise RequestError(f"{where}: no such file; expected one that ends in {', '.join(suffixes)}")
    is_folder_of_series = isinstance(form, Series) and path.is_dir()
    if not is_folder_of_series and not (path.is_file() and path.name.lower().endswith(suffixes)):
        raise RequestError(
            f"{where}: expected a file that ends in {', '.join(suffixes)}, as {reference.spec.name} holds "
            f"{reference.report['kind'].partition(',')[0]}"
        )
    if isinstance(form, Series):
        return _series(path, form, reference)
    if isinstance(form, Text):
        return _texts(path, form, reference.spec.shape[0])
    return _rows(path, form)


def _series(path: Path, form: Series, reference: Source) -> Resident:
    found = serial.read_series(path, "train", values=form.columns)
    length, where = reference.spec.shape[0], printable(str(path))
    is_cut = not form.ragged and reference.report.get("lengths", {}).get("most", 0) > length
    fits = [
        len(values) == length or (len(values) > length and is_cut) or (len(values) < length and form.ragged)
        for values in found.series
    ]
    refused = found.refused + [
        {"file": title, "reason": f"{len(values)} rows, expected {'at most ' * form.ragged}{length}"}
        for values, title, is_sound in zip(found.series, found.titles, fits, strict=True)
        if not is_sound
    ]
    if not any(fits):
        raise RequestError(f"{where}: series of {len(found.series[0])} rows, expected {length} as in the reference")
    low, high = np.array(form.low), np.array(form.high)
    slack = _ROUNDING * (high - low + np.maximum(abs(low), abs(high)))
    series, beyond = [], 0
    for values, is_sound in zip(found.series, fits, strict=True):
        if is_sound:
            beyond += int(((values < low - slack) | (values > high + slack)).sum())
            # The one value of a constant column is the low one, however it was rounded.
            constant = (high <= np.nextafter(low, np.inf)) & (abs(values - low) <= slack)
            series.append(np.where(constant, low, values))
    notes = [*found.notes, *_beyond(beyond)]
    found = found._replace(series=series, refused=refused[:_MOST_NAMED])
    if is_cut and max(map(len, series)) > length:
        x, _ = sequences.as_windows(found, length, None, where, form, notes)
    else:
        x = sequences.as_wholes(series, form, length, where, notes)
    _check_count(len(x), where)
    source = sequences.held(path, x, form, found, notes)
    source.report |= {"num_refused": len(refused)}
    return source


def _texts(path: Path, form: Text, length: int) -> Resident:
    level: texts.Level = "words" if form.between else "characters"
    lines = texts.read_texts(path, level, length, empty_too=True)
    sound = texts.known(lines.texts, form)
    if sum(sound) < 2:
        raise RequestError(
            f"{printable(str(path))}: {sum(sound)} of {len(sound)} lines are made of the reference's {level} alone; "
            "expected at least two"
        )
    notes = [f"{lines.cut} texts were cut to the reference's length, {length} {level}"] if lines.cut else []
    return texts.held(path, lines, sound, form, length, "is not in the reference", notes)


class _Read(NamedTuple):
    """A column's cells in the terms of the reference's column."""

    values: NDArray[np.float64] | NDArray[np.int64]
    """Numbers, NaN where missing, or the numbers of categories."""
    refused: dict[int, str]
    """Why rows can't be said."""
    notes: list[str]


def _rows(path: Path, form: Table) -> Rows:
    where = printable(str(path))
    found = serial.read_columns(path)
    needed = [column for column in form.columns if column.blocks()]
    absent = [column.name for column in needed if column.name not in found.names]
    if absent:
        raise RequestError(f"{where}: there is no column {absent[0]!r}; {nearest(absent[0], found.names)}")
    known = {column.name for column in form.columns}
    others = [name for name in found.names if name not in known]
    notes = [*found.notes]
    if others:
        notes.append(f"columns left out that the reference does not have: {serial.listed(others)}")
    read: list[_Read] = []
    reasons: dict[int, str] = {}
    for column in needed:
        cells = [cell.strip() for cell in found.cells[found.names.index(column.name)]]
        read_as = _numbers if isinstance(column, Continuous) else _categories
        one = read_as(column, cells, found.delimiter)
        read.append(one)
        reasons = one.refused | reasons  # of a row the first column tells
    sound = np.array([row not in reasons for row in range(len(found.cells[0]))])
    refused = [{"file": f"{printable(path.name)}, row {row + 1}", "reason": reasons[row]} for row in sorted(reasons)]
    if sound.sum() < 2:
        first = f", the first: {refused[0]['reason']}" if refused else ""
        raise RequestError(f"{where}: {sound.sum()} rows that the reference could hold; expected at least two{first}")
    encoded = []
    for number, (column, one) in enumerate(zip(needed, read, strict=True)):
        notes += one.notes
        values = one.values[sound]
        if isinstance(column, Continuous):
            alpha, modes = column.write(values.astype(np.float64), np.random.default_rng(derive(0, "alike", number)))
            encoded.append(Encoded(column, alpha, modes if column.modes > 1 else None))
        else:
            encoded.append(Encoded(column, None, values.astype(np.int64)))
    said: list[dict[str, Any]] = []
    kind = "Parquet" if path.name.lower().endswith(".parquet") else "CSV"
    name = printable(path.stem.partition(".")[0] or path.name)
    source = tables.held(form, encoded, int(sound.sum()), name, where, kind, said, notes)
    source.report |= {"refused": refused[:_MOST_NAMED], "num_refused": len(refused)}
    return source


def _numbers(column: Column, cells: Sequence[str], delimiter: str) -> _Read:
    assert isinstance(column, Continuous)
    gone = [csvs.is_missing(cell) for cell in cells]
    values, is_number = _values(column, cells, delimiter)
    refused = {
        row: f"column {serial.quoted(column.name)}: {printable(cells[row][:40])!r} is no "
        + ("such date as in the reference" if column.format else "number")
        for row in range(len(cells))
        if not is_number[row] and not gone[row]
    }
    values = np.where(np.isfinite(values), values, np.nan)
    if not column.missing:
        why = f"column {serial.quoted(column.name)}: no value, where the reference always has one"
        refused |= {row: why for row in map(int, np.flatnonzero(np.isnan(values))) if row not in refused}
    slack = _ROUNDING * (column.high - column.low + max(abs(column.low), abs(column.high)))
    beyond = int(((values < column.low - slack) | (values > column.high + slack)).sum())
    notes = [f"column {serial.quoted(column.name)}: {note}" for note in _beyond(beyond)]
    return _Read(values.clip(column.low, column.high), refused, notes)


def _values(column: Continuous, cells: Sequence[str], delimiter: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers [N], NaN where there is none, and whether each cell is one."""
    values = np.full(len(cells), np.nan)
    if column.format:
        read: dict[str, float] = {}
        for cell in set(cells):
            try:
                read[cell] = seconds_of(cell, column.format)
            except ValueError:
                read[cell] = np.nan
        values = np.array([read[cell] for cell in cells])
        return values, ~np.isnan(values)
    numbers = csvs.parse_numbers(cells, delimiter)
    if numbers is not None:
        return numbers.values, np.ones(len(cells), np.bool_)
    is_number = np.array([csvs.parse_numbers([cell], delimiter) is not None for cell in cells])
    there = np.flatnonzero(is_number)
    numbers = csvs.parse_numbers([cells[row] for row in there.tolist()], delimiter)
    if numbers is None:  # each alone is a number, and all together not: their commas mean different things
        return values, np.zeros(len(cells), np.bool_)
    values[there] = numbers.values
    return values, is_number


def _categories(column: Column, cells: Sequence[str], delimiter: str) -> _Read:
    assert isinstance(column, Categorical)
    codes = {str(value).strip(): len(column.values) for value in column.others if value is not None}
    codes |= {str(value).strip(): code for code, value in enumerate(column.values) if value is not None}
    numbers = {
        float(value): code
        for code, value in enumerate(column.values)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    missing = (
        column.values.index(None) if None in column.values else len(column.values) if None in column.others else -1
    )

    def code_of(cell: str) -> int:
        if cell in codes:
            return codes[cell]
        if csvs.is_missing(cell):
            return missing
        found = csvs.parse_numbers([cell], delimiter) if numbers else None
        if found is not None:
            value = min(numbers, key=lambda number: abs(number - found.values[0]))
            return numbers[value] if abs(value - found.values[0]) <= _ROUNDING * abs(value) else -1
        return -1

    code = {cell: code_of(cell) for cell in set(cells)}
    values = np.array([code[cell] for cell in cells], np.int64)
    name, refused, strange = serial.quoted(column.name), dict[int, str](), 0
    for row in map(int, np.flatnonzero(values < 0)):
        if csvs.is_missing(cells[row]):
            refused[row] = f"column {name}: no value, where the reference always has one"
        elif column.others:
            values[row], strange = len(column.values), strange + 1
        else:
            refused[row] = f"column {name}: {printable(cells[row][:40])!r} is not in the reference"
    rare = f"column {name}: {strange} values that the reference does not have taken as rare ones"
    return _Read(values, refused, [rare] if strange else [])


def _beyond(count: int) -> list[str]:
    return [f"values beyond the range of the reference: {count}; they are taken as its ends"] if count else []


def _check_count(count: int, where: str) -> None:
    if count < 2:
        raise RequestError(f"{where}: {count} samples; expected at least two")
