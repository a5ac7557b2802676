"""Samples as the reference would have written them: each file of series, texts or rows has a form of its own.

The numbers of two texts mean different tokens where their vocabularies differ, those of two series different values
where the ends of their columns do, and those of two tables other modes and categories. So samples are read by their own
form and written by the reference's, which can't always be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Table, Text
from sparring.core.forms.table import Categorical, Column, Continuous, Value, seconds_of
from sparring.core.protocols import Batch, DataSpec, Source

_SHOWN = 5


class Recast:
    """A `Source` that is seen as if it had the form of other data."""

    def __init__(self, source: Source, data: DataSpec) -> None:
        self.source, self.data = source, data
        self.spec = source.spec.replace(form=data.form, shape=data.shape, y_shape=(), sha256="")
        self.report = source.report

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: Tensor) -> Batch:
        """x as the other data would have written it, y None."""
        return Batch(recast(self.source.take(index).x, self.source.spec, self.data), None)

    def ahead(self, index: Tensor) -> None:
        self.source.ahead(index)

    def to(self, device: torch.device) -> Recast:
        return Recast(self.source.to(device), self.data)


def in_form_of(source: Source, data: DataSpec) -> Source:
    """The source itself where it has the form of some data, else seen as if it had."""
    same = source.spec.form == data.form and source.spec.shape == data.shape
    return source if same or source.spec.form is None else Recast(source, data)


def recast(x: Tensor, given: DataSpec, data: DataSpec) -> Tensor:
    """Samples x [N, *given.shape] as `data` would have written them: [N, *data.shape]; x itself where forms agree.

    Raises `RequestError` for other kinds of data, columns that are not there, and what the reference has no numbers
    for: tokens, categories and missing cells that it does not hold.
    """
    ours, theirs = given.form, data.form
    if ours == theirs and given.shape == data.shape:
        return x
    if isinstance(ours, Series) and isinstance(theirs, Series):
        found = _series(ours.decode(x), given, ours, data, theirs)
    elif isinstance(ours, Text) and isinstance(theirs, Text):
        found = _texts(x.argmax(2), given, ours, data, theirs)
    elif isinstance(ours, Table) and isinstance(theirs, Table):
        found = _rows(ours.decode(x), given, data, theirs)
    else:
        raise RequestError(f"{given.name}: expected data of the kind of {data.name}; name another reference")
    return found.to(x.device)


def _series(series: list[NDArray[np.float64]], given: DataSpec, ours: Series, data: DataSpec, theirs: Series) -> Tensor:
    if ours.columns != theirs.columns:
        raise RequestError(
            f"{given.name}: expected the columns of {data.name}, {_listed(theirs.columns)}, found "
            f"{_listed(ours.columns)}"
        )
    T = data.shape[0]
    odd = next((len(values) for values in series if len(values) > T or (len(values) < T and not theirs.ragged)), None)
    if odd is not None:
        raise RequestError(f"{given.name}: a series of {odd} rows; expected {T}, as {data.name} has them")
    low, high = np.array(theirs.low), np.array(theirs.high)
    x = np.zeros((len(series), *data.shape), np.float32)
    if theirs.ragged:
        x[:, :, -1] = -1
    for row, values in zip(x, series, strict=True):
        row[: len(values), : len(low)] = (2 * (values - low) / (high - low) - 1).clip(-1, 1)
        if theirs.ragged:
            row[: len(values), -1] = 1
    return torch.from_numpy(x)


def _texts(numbers: Tensor, given: DataSpec, ours: Text, data: DataSpec, theirs: Text) -> Tensor:
    if ours.between != theirs.between:
        raise RequestError(
            f"{given.name}: one of it and {data.name} is read by characters and one by words; bring both to one"
        )
    number_of = {token: number for number, token in enumerate(theirs.tokens)}
    numbers = torch.where((numbers == 0).cumsum(1) > 0, 0, numbers).cpu()
    met = torch.unique(numbers).tolist()
    unknown = [ours.tokens[number] for number in met if ours.tokens[number] not in number_of]
    if unknown:
        raise RequestError(
            f"{given.name}: tokens that {data.name} does not hold: {_listed([repr(token) for token in unknown])}; "
            "leave those texts out"
        )
    translated = torch.zeros(len(ours.tokens), dtype=torch.int64)
    translated[met] = torch.tensor([number_of[ours.tokens[number]] for number in met], dtype=torch.int64)
    T = data.shape[0]
    found = translated[numbers][:, :T]  # longer texts end with the reference's longest
    return theirs.one_hot(torch.nn.functional.pad(found, (0, T - found.shape[1])))


def _rows(cells: dict[str, list[Value]], given: DataSpec, data: DataSpec, theirs: Table) -> Tensor:
    parts: list[Tensor] = []
    for column in theirs.columns:
        if not column.blocks():
            continue
        if column.name not in cells:
            raise RequestError(f"{given.name}: expected a column {column.name!r}, as {data.name} has it")
        where = f"{given.name}, column {column.name!r}"
        parts += _column(cells[column.name], column, where, data.name)
    return torch.cat(parts, 1)


def _column(cells: list[Value], column: Column, where: str, reference: str) -> list[Tensor]:
    if isinstance(column, Continuous):
        values = np.array([_number(cell, column, where) for cell in cells])
        if np.isnan(values).any() and not column.missing:
            raise RequestError(f"{where}: cells are missing, and in {reference} none are; fill them in")
        alpha, modes = column.write(values, np.random.default_rng(0))
        found = [torch.from_numpy(alpha)[:, None]]
        return [*found, _one_hot(modes.tolist(), column.modes)] if column.modes > 1 else found
    assert isinstance(column, Categorical)
    number_of = {_written(value): len(column.values) for value in column.others}
    number_of |= {_written(value): number for number, value in enumerate(column.values)}
    unknown = sorted({_written(cell) for cell in cells} - number_of.keys())
    if unknown and not column.others:
        raise RequestError(f"{where}: values that {reference} does not hold: {_listed(unknown)}; leave those rows out")
    return [_one_hot([number_of.get(_written(cell), len(column.values)) for cell in cells], len(column.frequencies))]


def _number(cell: Value, column: Continuous, where: str) -> float:
    if cell is None:
        return np.nan
    try:
        return seconds_of(str(cell), column.format) if column.format else float(cell)
    except ValueError:
        raise RequestError(f"{where}: expected {'dates' if column.format else 'numbers'}, found {cell!r}") from None


def _written(value: Value) -> str:
    """A cell as text that is the same for 1 and 1.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _one_hot(codes: list[int], width: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(codes, dtype=torch.int64), width).float()


def _listed(names: Sequence[Any]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(str(name) for name in names[:_SHOWN]) + more
