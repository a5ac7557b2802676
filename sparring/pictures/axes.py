"""Axes of a plot: which values they span, where round numbers lie on them, and what of a line can be told apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.pictures.ink import short_number

Array = NDArray[np.float64]
FLOOR_WITHIN = 30
"""How many times as small or as large as a score the value of real data may be to be drawn beside it."""


class Axis(NamedTuple):
    """The values at both ends of an axis, and its ticks with their labels ("" for a line without one)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, values: Array) -> Array:
        """Values as a share of the axis: 0 at its low end, 1 at its high end."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (np.log10(values) - low) / (high - low)
        return (values - self.low) / (self.high - self.low)

    def at(self, value: float) -> float:
        """`place` of one value."""
        return float(self.place(np.array(value)))


def count_axis(high: float) -> Axis:
    """From 0 to `high` images seen; to 1 where nothing was seen yet."""
    high = high if high > 0 else 1.0
    ticks, step = nice_ticks(0, high, 8)
    return Axis(0.0, high, tuple((t, tick_label(t, step)) for t in ticks))


def value_axis(values: Array) -> Axis:
    """A linear axis for finite values.

    Rare values far outside the rest are left outside: one step that went astray would flatten the whole run.
    """
    if len(values) == 0:
        return Axis(0.0, 1.0, ((0.0, ""), (1.0, "")))
    low, high = float(values.min()), float(values.max())
    bulk_low, bulk_high = (float(v) for v in np.quantile(values, [0.01, 0.99]))
    spread = bulk_high - bulk_low
    if len(values) >= 100 and spread > 0 and high - low > 5 * spread:
        low, high = max(low, bulk_low - spread / 2), min(high, bulk_high + spread / 2)
    size = max(abs(low), abs(high))
    room = 0.05 * (high - low)
    if room <= 1e-9 * size:  # all values alike
        room = 0.1 * size or 1.0
    low, high = low - room, high + room
    ticks, step = nice_ticks(low, high, 5)
    return Axis(low, high, tuple((t, tick_label(t, step)) for t in ticks))


def log_axis(values: Array) -> Axis:
    """A logarithmic axis for finite positive values: ticks at powers of ten, or at 1, 2, 5 where the range is short."""
    if len(values) == 0:
        return value_axis(values)
    low, high = float(values.min()), float(values.max())
    room = max(0.04 * math.log10(high / low), 0.02)
    low, high = low / 10**room, high * 10**room
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = math.ceil(len(decades) / 7)
    for within in ((1,), (1, 3), (1, 2, 5)):
        ticks = [m * 10.0**d for d in decades if d % every == 0 for m in within]
        labels = {t: short_number(t) for t in ticks if low <= t <= high}
        if len(labels) >= 3:
            between = [m * 10.0**d for d in decades for m in range(2, 10)] if every == 1 else []
            return Axis(low, high, tuple(({t: "" for t in between if low <= t <= high} | labels).items()), log=True)
    rounds, step = nice_ticks(low, high, 5)  # less than a decade: as on a linear axis
    return Axis(low, high, tuple((t, tick_label(t, step)) for t in rounds if t > 0), log=True)


def shares_axis(real: float, scores: Sequence[float]) -> bool:
    """Whether the value of real data is drawn beside the scores that it belongs to, of which there is at least one.

    It is where it lies within `FLOOR_WITHIN` times of them, and all scores are positive: farther away it would press
    their own curve flat. NaN is not.

    >>> [shares_axis(real, [3.0, 30.0]) for real in (0.09, 0.1, 900.0, 901.0)], shares_axis(1.0, [-1.0, 2.0])
    ([False, True, True, False], False)
    """
    return min(scores) > 0 and min(scores) / FLOOR_WITHIN <= real <= max(scores) * FLOOR_WITHIN


def per_column(column: Array, x: Array, y: Array, low: Array, high: Array) -> tuple[Array, Array, Array, Array]:
    """One point for all neighbours that fall into one column of the picture: means of x and y, least `low`, greatest
    `high`.

    All arrays are [N] in increasing order of x, and `column` is the number of each value's column; the results have
    one entry per column that is met. Where y is NaN in all of a column, so are its y, low and high.
    """
    groups = np.split(np.arange(len(column)), np.flatnonzero(np.diff(column)) + 1)
    kept = np.full((4, len(groups)), np.nan)
    for n, group in enumerate(groups):
        kept[0, n] = x[group].mean()
        known = group[~np.isnan(y[group])]
        if len(known):
            kept[1:, n] = y[known].mean(), low[known].min(), high[known].max()
    return kept[0], kept[1], kept[2], kept[3]


def stretches(y: Array) -> list[slice]:
    """The stretches of y [N] between its gaps, which are NaN.

    >>> stretches(np.array([1.0, np.nan, np.nan, 2.0, 3.0]))
    [slice(0, 1, None), slice(3, 5, None)]
    """
    found, at = [], 0
    for gap, group in itertools.groupby(np.isnan(y)):
        length = sum(1 for _ in group)
        if not gap:
            found.append(slice(at, at + length))
        at += length
    return found


def tick_label(value: float, step: float) -> str:
    """A tick's value with the digits that its distance to the next tick calls for, and no more.

    >>> [tick_label(v, 0.25) for v in (0.5, 0.75)], [tick_label(v, 50_000) for v in (0, 100_000)]
    (['0.50', '0.75'], ['0', '100k'])
    >>> tick_label(1_000_000.2, 0.1), tick_label(2.5e-7, 5e-8)
    ('1000000.2', '2.5e-07')
    """
    if value == 0:
        return "0"
    if step >= 1000:
        return short_number(value)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step * 10**places, 6) % 1:  # steps of 0.25 need one more place than steps of 0.2
        places += 1
    if places > 4:
        digits = max(0, math.floor(math.log10(abs(value)) + 1e-9) + places)
        return f"{value:.{digits}e}"
    return f"{value:.{places}f}"


def nice_ticks(low: float, high: float, count: int) -> tuple[list[float], float]:
    """About `count` round values in [low, high] and their distance: 1, 2, 2.5 or 5 times a power of ten.

    >>> nice_ticks(0, 97, 5)
    ([0.0, 20.0, 40.0, 60.0, 80.0], 20.0)
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [n * step for n in range(first, last + 1)], step
