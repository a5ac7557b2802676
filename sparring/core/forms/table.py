"""Tables: rows of which every column is a number, a date or a category (Xu et al. 2019, "Modeling tabular data using
conditional GAN", sections 4.2 and 4.3).

A number c is written by one of the modes of its column, normals N(η_k, φ_k) of weight μ_k, as the one-hot vector of k
and α = (c - η_k) / 4φ_k. The mode of a real number is drawn by its probability ρ_k ∝ μ_k N(c; η_k, φ_k).
"""

from __future__ import annotations

import datetime
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparring.core.errors import RequestError, nearest
from sparring.core.forms.form import Form
from sparring.core.spec import Spec

Value = bool | int | float | str | None
"""What stands in a cell; None where it is missing."""

SPAN = 4.0
"""Standard deviations of its mode at which a number is written as ±1."""
_SHOWN = 10
_EPOCH = datetime.datetime(1970, 1, 1)


class Block(NamedTuple):
    """Numbers of x that belong together, and what a generator ends in there: one number in [-1, 1], or
    probabilities."""

    width: int
    kind: Literal["tanh", "softmax"]


class Column(Spec):
    """One column: how its cells are written as blocks of numbers, and read from them."""

    name: str

    def blocks(self) -> tuple[Block, ...]:
        raise NotImplementedError(f"{type(self).__name__} must define blocks()")

    def read(self, x: NDArray[np.float64], random: np.random.Generator) -> list[Value]:
        """Cells of their numbers x [N, sum of widths]; `random` is for what the numbers leave open."""
        raise NotImplementedError(f"{type(self).__name__} must define read()")


class Continuous(Column):
    """Numbers, or dates as seconds since 1970: α in [-1, 1], and probabilities of the modes where there are several.

    Values stay in [low, high], what was observed, and have `digits` after the point, -1 for all that a float has. Where
    cells are `missing`, so many in the data, that is one more mode, the last, of α = 0. Dates are written in the
    `format` of `datetime.strptime`, and then `digits` is not read; `whole` numbers are integers.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...]
    low: float
    high: float
    digits: int = -1
    whole: bool = False
    missing: int = 0
    format: str = ""

    def __post_init__(self) -> None:
        count = len(self.means)
        if not count or len(self.deviations) != count or len(self.weights) != count:
            raise RequestError(
                f"Continuous: expected a mean, a deviation and a weight for each mode of {self.name!r}, found {count}, "
                f"{len(self.deviations)} and {len(self.weights)}"
            )
        if not (min(self.deviations) > 0 and min(self.weights) > 0 and self.low <= self.high):
            raise RequestError(f"Continuous: expected deviations and weights above 0 and low <= high in {self.name!r}")

    @property
    def modes(self) -> int:
        """Of the one-hot block, with that of missing cells."""
        return len(self.means) + bool(self.missing)

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the mixture of the modes."""
        means, weights = np.array(self.means), np.array(self.weights) / sum(self.weights)
        mean = float(weights @ means)
        return mean, float(np.sqrt(weights @ (np.square(self.deviations) + np.square(means - mean))))

    def blocks(self) -> tuple[Block, ...]:
        return (Block(1, "tanh"), *((Block(self.modes, "softmax"),) if self.modes > 1 else ()))

    def write(
        self, values: NDArray[np.float64], random: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """α [N] and the numbers of the modes [N] of values [N], NaN where missing; each mode drawn by its
        probability among those within whose reach, 4φ, the value is."""
        means, deviations = np.array(self.means), np.array(self.deviations)
        missing = np.isnan(values)
        known = np.where(missing, self.low, values)
        steps = (known[:, None] - means) / deviations
        logits = np.log(self.weights) - np.log(deviations) - steps**2 / 2
        reached = np.abs(steps) <= SPAN
        logits = np.where(reached | ~reached.any(1, keepdims=True), logits, -np.inf)
        ends = np.exp(logits - logits.max(1, keepdims=True)).cumsum(1)
        drawn = random.random(len(values)) * ends[:, -1]
        modes = (drawn[:, None] >= ends).sum(1).clip(max=len(means) - 1)
        alpha = np.take_along_axis(steps, modes[:, None], 1)[:, 0] / SPAN
        alpha, modes = np.where(missing, 0, alpha.clip(-1, 1)), np.where(missing, len(means), modes)
        return alpha.astype(np.float32), modes

    def read(self, x: NDArray[np.float64], random: np.random.Generator) -> list[Value]:
        values, missing = self.numbers(x)
        if self.format:
            cells: list[Value] = [date_text(value, self.format) for value in values.tolist()]
        elif self.whole:
            cells = [round(value) for value in values.tolist()]
        else:
            cells = (values if self.digits < 0 else values.round(self.digits)).tolist()
        return [None if gone else cell for cell, gone in zip(cells, missing.tolist(), strict=True)]

    def numbers(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values [N] before they are rounded, and whether each is missing."""
        return self.meant(x[:, 0], x[:, 1:].argmax(1) if self.modes > 1 else np.zeros(len(x), np.int64))

    def meant(
        self, alpha: NDArray[np.float64], modes: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The same of α [N] and the numbers of the modes [N]."""
        missing = modes == len(self.means)
        modes = np.where(missing, 0, modes)
        values = np.array(self.means)[modes] + SPAN * np.array(self.deviations)[modes] * alpha.clip(-1, 1)
        return values.clip(self.low, self.high), missing


class Categorical(Column):
    """Values that are only equal or different: probabilities of each, none where the column has one value alone.

    `counts` say how often each is in the data. Where there are `others`, with `other_counts`, they are one more
    category, the last, which is read as one of them, drawn by frequency.
    """

    values: tuple[Value, ...]
    counts: tuple[int, ...]
    others: tuple[Value, ...] = ()
    other_counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.values) != len(self.counts) or len(self.others) != len(self.other_counts):
            raise RequestError(f"Categorical: expected a count for each value of {self.name!r}")
        if not self.values or min(*self.counts, *self.other_counts, 1) < 1:
            raise RequestError(f"Categorical: expected at least one value in {self.name!r}, and counts from 1")

    @property
    def frequencies(self) -> tuple[int, ...]:
        """Of each category in the data."""
        return (*self.counts, *((sum(self.other_counts),) if self.others else ()))

    def blocks(self) -> tuple[Block, ...]:
        width = len(self.frequencies)
        return (Block(width, "softmax"),) if width > 1 else ()

    def read(self, x: NDArray[np.float64], random: np.random.Generator) -> list[Value]:
        codes = x.argmax(1) if x.shape[1] else np.zeros(len(x), np.int64)
        if not self.others:
            return [self.values[code] for code in codes.tolist()]
        ends = np.cumsum(self.other_counts)
        drawn = np.searchsorted(ends, random.random(len(x)) * ends[-1], side="right")
        found = zip(codes.tolist(), drawn.tolist(), strict=True)
        return [self.values[code] if code < len(self.values) else self.others[other] for code, other in found]


class Place(NamedTuple):
    """Where a block of a column lies among the numbers of a row."""

    column: Column
    block: Block
    start: int

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + self.block.width)


class Table(Form):
    """x [D]: the blocks of the numbers of each column, in order (see `blocks`).

    A condition y [sum of the widths of all categories] is the one-hot vector of one category of one column, and 0 for
    all other columns. Columns of one value have no numbers.
    """

    columns: tuple[Column, ...]
    rows: int = 0
    """In how many rows they were found; 0 where that is not known."""

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise RequestError(f"Table: expected columns of different names, found {', '.join(names)[:200]}")
        if not self.blocks():
            raise RequestError("Table: expected a column with more than one value")

    def blocks(self) -> tuple[Block, ...]:
        """What a generator ends in, from the first number of a row to the last."""
        return tuple(block for column in self.columns for block in column.blocks())

    def places(self) -> Iterator[Place]:
        """The blocks with their columns, and where they lie."""
        start = 0
        for column in self.columns:
            for block in column.blocks():
                yield Place(column, block, start)
                start += block.width

    @property
    def width(self) -> int:
        """D, the numbers of a row."""
        return sum(block.width for block in self.blocks())

    def conditional(self) -> tuple[Categorical, ...]:
        """The columns of which a condition may ask a category."""
        return tuple(column for column in self.columns if isinstance(column, Categorical) and column.blocks())

    def asked(self) -> tuple[slice, ...]:
        """Where in x the blocks of the conditional columns lie; in y they stand one after the other."""
        return tuple(place.slice for place in self.places() if isinstance(place.column, Categorical))

    def decode(self, x: Tensor) -> dict[str, list[Value]]:
        """The cells of x [N, D] by column: int, float, bool and text as they were, None where they are missing.

        What the numbers leave open, which of the rare values a cell has, is drawn as a function of all of x.
        """
        numbers = x.detach().float().cpu().contiguous().numpy()
        random = np.random.default_rng(zlib.crc32(numbers.data))
        cells, start = {}, 0
        for column in self.columns:
            width = sum(block.width for block in column.blocks())
            cells[column.name] = column.read(numbers[:, start : start + width].astype(np.float64), random)
            start += width
        return cells

    def condition(self, name: str, value: Value) -> Tensor:
        """y float32 [sum of widths] that asks for a value of a column; a text also stands for the value that is written
        so. Rare values that are learned as one are asked for together.

        Raises `RequestError` for a column that has no categories, and a value that is not in the data.
        """
        columns = self.conditional()
        starts = starts_of([len(column.frequencies) for column in columns])
        own = {column.name: at for at, column in enumerate(columns)}
        if name not in own:
            raise RequestError(f"column {name!r} has no categories to ask for: {nearest(name, own)}")
        column = columns[own[name]]
        known = [*column.values, *column.others]
        fits = [at for at, each in enumerate(known) if each is not None and str(each) == str(value)]
        fits = [known.index(None)] if value is None and None in known else fits
        if not fits:
            raise RequestError(f"column {name!r} has no value {value!r}; expected one of {_values(column)}")
        y = torch.zeros(sum(len(column.frequencies) for column in columns))
        y[starts[own[name]] + min(fits[0], len(column.values))] = 1
        return y

    def conditions(self, count: int, random: torch.Generator) -> Tensor | None:
        """y float32 [count, sum of widths]: a column drawn evenly, and one of its categories by frequency; so a
        generator that gives what is asked for gives rows as frequent as the data's. None where no column has
        categories."""
        columns = self.conditional()
        if not columns:
            return None
        frequencies = [torch.tensor(column.frequencies, dtype=torch.float64) for column in columns]
        starts = starts_of([len(own) for own in frequencies])
        chosen = torch.randint(len(columns), (count,), generator=random, device=random.device).cpu()
        drawn = torch.rand(count, generator=random, device=random.device, dtype=torch.float64).cpu()
        at = torch.empty(count, dtype=torch.int64)
        for number, own in enumerate(frequencies):
            mine = chosen == number
            ends = own.cumsum(0)
            category = torch.searchsorted(ends, drawn[mine] * ends[-1], right=True).clamp(max=len(own) - 1)
            at[mine] = starts[number] + category
        y = torch.zeros(count, sum(map(len, frequencies)))
        return y.scatter_(1, at[:, None], 1.0).to(random.device)


def _values(column: Categorical) -> str:
    shown = ", ".join(map(str, column.values[:_SHOWN]))
    return shown + (f" and {len(column.values) - _SHOWN} more" if len(column.values) > _SHOWN else "")


def starts_of(widths: Sequence[int]) -> list[int]:
    """Where each of consecutive blocks begins.

    >>> starts_of([2, 3, 1])
    [0, 2, 5]
    """
    return [sum(widths[:i]) for i in range(len(widths))]


def seconds_of(text: str, format: str) -> float:
    """Seconds since 1970 of a date. Raises `ValueError`."""
    return (datetime.datetime.strptime(text, format).replace(tzinfo=None) - _EPOCH).total_seconds()


def date_text(seconds: float, format: str) -> str:
    """The date nearest to so many seconds since 1970, as exact as its format is.

    >>> date_text(seconds_of("2020-02-28", "%Y-%m-%d") + 80_000, "%Y-%m-%d")
    '2020-02-29'
    """
    step = 1 if "%S" in format else 60 if "%M" in format else 86_400
    return (_EPOCH + datetime.timedelta(seconds=round(seconds / step) * step)).strftime(format)
