"""A panel of curves as inline SVG: for a page that is read on a phone and at any size, in the page's own colours.

It is what `curves` draws with pixels, but for title, note and legend, which are left to the page.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError
from sparring.pictures.axes import Array, Axis, count_axis, log_axis, per_column, stretches, value_axis
from sparring.pictures.curves import Panel, Series
from sparring.pictures.ink import BLUE, GREEN, ORANGE, PURPLE, SKY, short_number

WIDTH, HEIGHT = 390, 215
TOP, RIGHT, BOTTOM, LETTER = 8, 20, 40, 7.2
"""Units of the picture: room around the plot, and the width of a letter of a tick's label."""
COLUMNS = 160
"""Where a series has more values, each point is the mean of several and the band spans them."""
DOTS = 40
"""Up to how many values are marked one by one."""
_CUT = 1e-300
"""Stands for the end of an interval at 0 or less on a logarithmic axis, which it must not stretch."""
CLASSES = {BLUE: "blue", ORANGE: "orange", GREEN: "green", PURPLE: "purple", SKY: "sky"}


class _Line(NamedTuple):
    """What is drawn of a series: points in increasing x, y NaN for a gap, low and high equal to y without a band."""

    series: Series
    x: Array
    y: Array
    low: Array
    high: Array


def svg(panel: Panel) -> str:
    """The panel as an `<svg>` element that fills the width it is given, with all text in it escaped.

    Its parts have the classes `grid`, `tick` and `best`, and `band`, `line` and `dot` together with `color_class` and,
    for thin lines, `thin`: the page's style sheet colours them. Dots say their values when pointed at. As in `curves`,
    values of 0 and less are gaps on a logarithmic axis, and rare values far outside the rest are cut off. Raises
    `RequestError` when x, y, low and high of a series differ in length.
    """
    lines = [_line(series, panel.log) for series in panel.series]
    ends = [float(line.x[-1]) for line in lines if len(line.x)]
    x_axis = count_axis(max([0.0, *ends, *([] if panel.best is None else [panel.best])]))
    values = np.concatenate([np.zeros(0), *(v for line in lines for v in line[2:])])
    values = values[~np.isnan(values) & (values != _CUT)]
    y_axis = log_axis(values) if panel.log else value_axis(values)
    left = 12 + LETTER * max(len(label) for _, label in y_axis.ticks)
    plot = _Plot(x_axis, y_axis, left)
    size = f'width="{WIDTH}" height="{plot.height}" viewBox="0 0 {WIDTH} {plot.height}"'
    parts = [*plot.axes(), f'<svg y="{TOP}" {size}>']  # what stands out of this inner one is cut off
    if panel.best is not None:
        across = plot.right(panel.best)
        parts.append(f'<line class="best" x1="{across}" x2="{across}" y1="0" y2="{plot.height}"/>')
    parts += itertools.chain(*map(plot.band, lines), *map(plot.line, lines))
    for line in [line for line in lines if panel.best is not None and not line.series.thin]:
        parts += plot.dots(line, 5, (line.x == panel.best) & ~np.isnan(line.y), "best")
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(panel.title)}"'
    return f"<svg {box}>{''.join(parts)}</svg></svg>"


def color_class(series: Series) -> str:
    """The class of a series' parts: the name of its colour among `CLASSES`, `grey` for any other."""
    return CLASSES.get(series.color, "grey")


class _Plot(NamedTuple):
    """The axes, and where things stand inside them."""

    x: Axis
    y: Axis
    left: float

    @property
    def height(self) -> int:
        return HEIGHT - TOP - BOTTOM

    def right(self, x: float) -> float:
        return round(self.left + (WIDTH - RIGHT - self.left) * self.x.at(x), 1)

    def down(self, y: float) -> float:
        return round(self.height * (1 - min(max(self.y.at(y), -1.0), 2.0)), 1)

    def axes(self) -> Iterator[str]:
        for value, label in self.y.ticks:
            y = TOP + self.down(value)
            kind = "grid" if label else "grid fine"
            yield f'<line class="{kind}" x1="{self.left}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
            if label:
                yield f'<text class="tick" x="{self.left - 6}" y="{y + 4}" text-anchor="end">{label}</text>'
        widest = LETTER * (1 + max(len(label) for _, label in self.x.ticks))
        every = math.ceil(widest * len(self.x.ticks) / (WIDTH - RIGHT - self.left))
        for value, label in self.x.ticks[::every]:
            yield f'<text class="tick" x="{self.right(value)}" y="{HEIGHT - 22}" text-anchor="middle">{label}</text>'
        middle = (self.left + WIDTH - RIGHT) / 2
        yield f'<text class="tick" x="{middle:.1f}" y="{HEIGHT - 5}" text-anchor="middle">images seen</text>'

    def band(self, line: _Line) -> Iterator[str]:
        for run in stretches(line.y):
            if not (line.high[run] > line.low[run]).any():
                continue
            across = [self.right(v) for v in line.x[run]]
            upper, lower = ([self.down(v) for v in ends[run]] for ends in (line.high, line.low))
            if len(across) == 1:  # a band of one value would have no width
                across, upper, lower = [across[0] - 2, across[0] + 2], upper * 2, lower * 2
            edge = [*zip(across, upper, strict=True), *reversed([*zip(across, lower, strict=True)])]
            yield f'<path class="band {color_class(line.series)}" d="M{_path(edge)}Z"/>'

    def line(self, line: _Line) -> Iterator[str]:
        kind = color_class(line.series) + " thin" * line.series.thin
        for run in stretches(line.y):
            points = [(self.right(x), self.down(y)) for x, y in zip(line.x[run], line.y[run], strict=True)]
            yield f'<path class="line {kind}" d="M{_path(points)}"/>'
        known = ~np.isnan(line.y)
        alone = known & ~np.append([False], known[:-1]) & ~np.append(known[1:], [False])
        yield from self.dots(line, 3, known if len(line.x) <= DOTS and not line.series.thin else alone)

    def dots(self, line: _Line, radius: int, which: NDArray[np.bool_], kind: str = "") -> Iterator[str]:
        for n in np.flatnonzero(which):
            x, y, low, high = (float(v[n]) for v in line[1:])
            said = f"{line.series.name} {short_number(y)}"
            if high > low:
                said += f" ({short_number(low)} to {short_number(high)})"
            said = html.escape(f"{said} at {x:,.0f} images")
            at = f'cx="{self.right(x)}" cy="{self.down(y)}" r="{radius}"'
            yield f'<circle class="dot {color_class(line.series)} {kind}" {at}><title>{said}</title></circle>'


def _line(series: Series, log: bool) -> _Line:
    given = [series.x, series.y, *(series.y if end is None else end for end in (series.low, series.high))]
    if len({len(values) for values in given}) > 1:
        raise RequestError(
            f"series {series.name!r}: expected x, y, low and high of one length, found "
            f"{', '.join(str(len(values)) for values in given)}"
        )
    x, y, low, high = (np.array(values, np.float64) for values in given)
    y[~np.isfinite(y) | ((y <= 0) & log)] = np.nan
    low, high = (np.where(np.isfinite(end) & ~np.isnan(y), end, y) for end in (low, high))
    if log:
        low, high = np.where(low <= 0, _CUT, low), np.where(high <= 0, _CUT, high)
    order = np.argsort(x, kind="stable")
    return _Line(series, *_thinned(*(values[order] for values in (x, y, low, high))))


def _thinned(x: Array, y: Array, low: Array, high: Array) -> tuple[Array, Array, Array, Array]:
    """The values, or where they are many the means of those that fall into one column, and what these span."""
    if len(x) <= COLUMNS:
        return x, y, low, high
    column = np.floor((x - x[0]) / max(x[-1] - x[0], 1e-9) * (COLUMNS - 1))
    return per_column(column, x, y, low, high)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:g},{y:g}" for x, y in points)
