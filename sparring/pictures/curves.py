"""Losses and scores over images seen, as one PNG.

What has one unit and one provenance shares a panel; panels stand below each other on one axis of images seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from sparring.core.errors import RequestError
from sparring.pictures.axes import Array, Axis, count_axis, log_axis, per_column, stretches, value_axis
from sparring.pictures.grid import save_png
from sparring.pictures.ink import font, short_number

WIDTH, PLOT_HEIGHT = 960, 220
"""Pixels: of the whole picture, and of the plot of one panel."""
LARGE = 3
"""Lines are drawn so many times as large and reduced: Pillow has no smooth lines of its own."""
MARGIN, TICK, LINE, FOOT = 14, 8, 22, 28
PAD = 7
"""Pixels beside the plot where a dot at its end may stand out."""
INK, GREY, GRID, BETWEEN, BEST = "#202124", "#5f6368", "#dadce0", "#eeeff1", "#3c4043"
PALE = 56
"""How strong a band's colour is, of 255."""
_CUT = 1e-308
"""Stands for values of 0 and less on a log axis."""


class Series(NamedTuple):
    """One line: x in images seen, y of the same length (NaN or infinite: a gap), a colour that Pillow knows.

    `low` and `high`, of the same length, are the ends of a 95 % interval around y, drawn as a pale band (NaN: none).
    A `thin` line is one to compare with.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    thin: bool = False


class Panel(NamedTuple):
    """Series on common axes; scores of different provenance belong in different panels.

    With `log` the y axis is logarithmic and values of 0 or less are gaps. `best` is the images seen of the best
    checkpoint: a dashed line there, a ring on every value logged just there, and these values in the legend. A `note`
    is what a reader must know, below the title.
    """

    title: str
    series: tuple[Series, ...]
    log: bool = False
    best: float | None = None
    note: str = ""


class _Line(NamedTuple):
    """A series made ready: x in increasing order, y with NaN for what cannot be drawn; low and high around it, which
    are y itself where there is no interval."""

    name: str
    x: Array
    y: Array
    color: str
    low: Array
    high: Array
    thin: bool


def curves(path: Path | str, panels: Sequence[Panel], *, info: Mapping[str, str] | None = None) -> None:
    """Draw panels (see `draw_curves`) and write them as a PNG with `info` in its text entries (see `save_png`)."""
    save_png(draw_curves(panels), path, info or {})


def draw_curves(panels: Sequence[Panel]) -> Image.Image:
    """The panels below each other, `WIDTH` pixels wide, "RGB".

    Where more values fall on a pixel than can be told apart, the line is their mean and a pale band spans them from
    least to greatest. On linear axes rare values far outside the rest are left outside, and counted beside the title.
    Raises `RequestError` without panels or when x, y, low and high of a series differ in length.
    """
    if not panels:
        raise RequestError("curves need at least one panel, found none")
    lines = [[_line(s, panel.log) for s in panel.series] for panel in panels]
    seen = [float(line.x[-1]) for group in lines for line in group if len(line.x)]
    x_axis = count_axis(max([0.0, *seen, *(p.best for p in panels if p.best is not None)]))
    y_axes = [_y_axis(group, panel.log) for panel, group in zip(panels, lines, strict=True)]
    labels = [label for axis in y_axes for _, label in axis.ticks]
    left = MARGIN + TICK + math.ceil(max(font(13).getlength(label) for label in labels))
    width = WIDTH - left - 2 * MARGIN  # half of the last label of x stands beyond the plot

    parts = [_panel(p, g, x_axis, y, left, width) for p, g, y in zip(panels, lines, y_axes, strict=True)]
    picture = Image.new("RGB", (WIDTH, sum(part.height for part in parts) + FOOT), "white")
    top = 0
    for part in parts:
        picture.paste(part, (0, top))
        top += part.height
    ImageDraw.Draw(picture).text((left + width / 2, top + 8), "images seen", fill=GREY, font=font(13), anchor="mm")
    return picture


def _line(series: Series, log: bool) -> _Line:
    for name, values in (("y", series.y), ("low", series.low), ("high", series.high)):
        if values is not None and len(values) != len(series.x):
            raise RequestError(f"series {series.name!r} has {len(series.x)} values of x but {len(values)} of {name}")
    x, y = np.array(series.x, np.float64), np.array(series.y, np.float64)
    y[~np.isfinite(y)] = np.nan
    if log:
        y[y <= 0] = np.nan
    order = np.argsort(x, kind="stable")
    low, high = (_end(end, y, log)[order] for end in (series.low, series.high))
    return _Line(series.name, x[order], y[order], series.color, low, high, series.thin)


def _end(end: Sequence[float] | None, y: Array, log: bool) -> Array:
    """One end of the interval; below what a log axis can show it is small enough to be cut off by any."""
    if end is None:
        return y
    values = np.array(end, np.float64)
    if log:
        values[values <= 0] = _CUT
    return np.where(np.isfinite(values) & ~np.isnan(y), values, y)


def _y_axis(lines: list[_Line], log: bool) -> Axis:
    values = np.concatenate([np.zeros(0), *(v for line in lines for v in (line.y, line.low, line.high))])
    values = values[~np.isnan(values) & (values != _CUT)]
    return log_axis(values) if log else value_axis(values)


def _panel(panel: Panel, lines: list[_Line], x_axis: Axis, y_axis: Axis, left: int, width: int) -> Image.Image:
    """One panel; title and legend stand above the plot, so that no text ever lies on a line."""
    small, large = font(13), font(16)
    rows = _legend(panel, lines, width)
    notes = _wrapped(panel.note, small, width)
    below = LINE * len(notes)
    head = MARGIN + LINE * (1 + len(rows)) + below + 4
    picture = Image.new("RGB", (WIDTH, head + PLOT_HEIGHT + FOOT), "white")
    pen = ImageDraw.Draw(picture)

    outside = sum(int(np.sum((line.y < y_axis.low) | (line.y > y_axis.high))) for line in lines)
    note = f"{outside} value{'s' * (outside > 1)} outside the axis" if outside else ""
    title = panel.title + (" (log scale)" if panel.log else "")
    title = _cut(title, large, width - (16 + small.getlength(note) if note else 0))
    pen.text((left, MARGIN + 8), title, fill=INK, font=large, anchor="lm")
    pen.text((left + width, MARGIN + 8), note, fill=GREY, font=small, anchor="rm")
    for n, text in enumerate(notes):
        pen.text((left, MARGIN + LINE * (n + 1) + 8), text, fill=GREY, font=small, anchor="lm")

    for n, row in enumerate(rows):
        x, y = float(left), MARGIN + LINE * (n + 1) + below + 8
        for name, color, half in row:
            if color == BEST:
                _dashes(pen, (x, y), (x + 18, y), 1)
            else:
                pen.rectangle((x, y - half, x + 18, y + half), fill=color)
            pen.text((x + 24, y), name, fill=INK, font=small, anchor="lm")
            x += _entry_width(name)

    picture.paste(_plot(lines, x_axis, y_axis, width, panel.best), (left - PAD, head))
    if all(np.isnan(line.y).all() for line in lines):
        middle = (left + width / 2, head + PLOT_HEIGHT / 2)
        pen.text(middle, "no values yet", fill=GREY, font=large, anchor="mm")
    for value, label in y_axis.ticks:
        at = head + (PLOT_HEIGHT - 1) * (1 - y_axis.at(value))
        pen.text((left - TICK, at), label, fill=GREY, font=small, anchor="rm")
    for value, label in x_axis.ticks:
        at = left + (width - 1) * x_axis.at(value)
        pen.text((at, head + PLOT_HEIGHT + 12), label, fill=GREY, font=small, anchor="mm")
    return picture


def _legend(panel: Panel, lines: list[_Line], width: int) -> list[list[tuple[str, str, int]]]:
    """Names with their colours and half the height of the mark beside them, broken into rows that fit."""
    entries = [(line.name, line.color, 0 if line.thin else 1) for line in lines]
    sure = next((line for line in lines if (line.high > line.low).any()), None)
    if sure is not None:
        red, green, blue = (round(255 + PALE / 255 * (c - 255)) for c in ImageColor.getrgb(sure.color)[:3])
        entries.append(("95 % interval", f"#{red:02x}{green:02x}{blue:02x}", 5))
    if panel.best is not None:
        values = [f"{line.name} {short_number(y)}" for line in lines for y in _values_at(line, panel.best)]
        text = ": ".join([f"best at {short_number(panel.best)}", *[", ".join(values)] * bool(values)])
        entries.append((text, BEST, 0))
    rows: list[list[tuple[str, str, int]]] = []
    free = 0.0
    for name, color, half in entries:
        name = _cut(name, font(13), width - _entry_width(""))
        if _entry_width(name) > free:
            rows.append([])
            free = width + 20.0  # the space after the last name may stand out
        rows[-1].append((name, color, half))
        free -= _entry_width(name)
    return rows


def _entry_width(name: str) -> float:
    return 24 + font(13).getlength(name) + 20


def _cut(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, or as much of its beginning as fits, with dots."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The text in rows that fit, broken between words."""
    rows: list[str] = []
    for word in text.split():
        longer = f"{rows[-1]} {word}" if rows else word
        if rows and face.getlength(longer) <= width:
            rows[-1] = longer
        else:
            rows.append(_cut(word, face, width))
    return rows


def _values_at(line: _Line, x: float) -> list[float]:
    """The value to be marked there; none of a line that is only compared with."""
    return [] if line.thin else [float(y) for y in line.y[line.x == x][-1:] if not np.isnan(y)]


def _plot(lines: list[_Line], x_axis: Axis, y_axis: Axis, width: int, best: float | None) -> Image.Image:
    """The inside of the axes and `PAD` pixels at either side; the upper and lower bounds cut off what lies outside."""
    h = PLOT_HEIGHT * LARGE
    plot = Image.new("RGB", ((width + 2 * PAD) * LARGE, h), "white")
    pen = ImageDraw.Draw(plot)

    def right(x: float) -> float:
        return LARGE * (PAD + 0.5 + (width - 1) * x_axis.at(x))

    def down(y: Array) -> Array:
        # Far outside values are drawn not far outside: the pen counts in small integers.
        return LARGE * (0.5 + (PLOT_HEIGHT - 1) * (1 - y_axis.place(y).clip(-2, 3)))

    for value, label in sorted(y_axis.ticks, key=lambda tick: tick[1] != ""):
        y = float(down(np.array(value)))
        pen.line((right(0), y, right(x_axis.high), y), fill=GRID if label or not y_axis.log else BETWEEN, width=LARGE)
    for value, _ in x_axis.ticks:
        pen.line((right(value), 0, right(value), h), fill=BETWEEN, width=LARGE)
    pen.line((right(0), 0, right(0), h), fill=GRID, width=LARGE)
    if best is not None:
        _dashes(pen, (right(best), 0), (right(best), h), LARGE)

    drawn = [_columns(line, x_axis.high, width) for line in lines]
    for line, (x, mean, least, most) in zip(lines, drawn, strict=True):
        if not (most > least).any():
            continue
        pale = Image.new("RGB", plot.size, line.color)
        mask = Image.new("L", plot.size, 0)
        for run in stretches(mean):
            across, upper, lower = [right(v) for v in x[run]], down(most[run]), down(least[run])
            if len(across) == 1:  # a band of one value would have no width
                across = [across[0] - 2 * LARGE, across[0] + 2 * LARGE]
                upper, lower = upper.repeat(2), lower.repeat(2)
            edge = [*zip(across, upper, strict=True), *reversed([*zip(across, lower, strict=True)])]
            ImageDraw.Draw(mask).polygon([(float(a), float(b)) for a, b in edge], fill=PALE)
        plot.paste(pale, mask=mask)
    for line, (x, mean, _, _) in zip(lines, drawn, strict=True):
        dots = len(x) <= 40 and not line.thin
        for run in stretches(mean):
            points = [(right(a), float(b)) for a, b in zip(x[run], down(mean[run]), strict=True)]
            pen.line(points, fill=line.color, width=LARGE if line.thin else 2 * LARGE, joint="curve")
            for point in points if dots or len(points) == 1 else []:
                pen.circle(point, 3 * LARGE, fill=line.color)
    if best is not None:
        for line in lines:
            for value in _values_at(line, best):
                spot = (right(best), float(down(np.array(value))))
                pen.circle(spot, 6 * LARGE, fill="white", outline=line.color, width=2 * LARGE)
                pen.circle(spot, 2 * LARGE, fill=line.color)
    return plot.resize((width + 2 * PAD, PLOT_HEIGHT), Image.Resampling.LANCZOS)


def _columns(line: _Line, high: float, width: int) -> tuple[Array, Array, Array, Array]:
    """x, mean, least and greatest y per column of two pixels, where there are more values than columns; else the
    values and their intervals."""
    columns = width // 2
    if len(line.x) <= columns:
        return line.x, line.y, line.low, line.high
    return per_column((line.x / high * (columns - 1)).round(), line.x, line.y, line.low, line.high)


def _dashes(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], large: int) -> None:
    """A thin dashed line, level or upright."""
    length = max(end[0] - start[0], end[1] - start[1])
    along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    for at in np.arange(0, length, 7 * large):
        stop = min(at + 4 * large, length)
        pen.line([(start[0] + s * along[0], start[1] + s * along[1]) for s in (at, stop)], fill=BEST, width=large)
