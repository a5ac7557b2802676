"""Series as small multiples: a panel for each, its columns as lines in colours (Tufte 1983, "The visual display of
quantitative information", chapter 8)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sparring.core.errors import RequestError
from sparring.core.forms import Series
from sparring.pictures.ink import BLUE, GREEN, ORANGE, PURPLE, SKY, font, short_number

PANEL = (212, 112)
"""Width and height of a panel, in pixels."""
GAP, MARGIN, HEAD, LINE = 8, 14, 24, 20
ACROSS = 6
"""Panels beside each other, at most; with real series as well, half of them are of each kind."""
MOST = 30
"""Panels of each kind."""
LARGE = 3
"""Drawn so many times as large and reduced, which makes lines smooth."""
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, "#777c81")
INK, GREY, FRAME, PAPER = "#202124", "#5f6368", "#dadce0", "white"
_NAME = 24  # characters of a name in the legend

Floats = NDArray[np.float64]


class _Block(NamedTuple):
    title: str
    series: Sequence[Floats]


def draw_series(fake: Sequence[Floats], form: Series, length: int, real: Sequence[Floats] | None = None) -> Image.Image:
    """Series as `form.decode` gives them, each [t, C] in the data's units: "RGB".

    Every column runs from its least value in the data, at the bottom of a panel, to its greatest; every panel is
    `length` rows wide, so that what ends sooner is shorter, and ends in a dot. Of more than `len(COLOURS)` columns the
    first are drawn, and the legend says so. Where real series are given, they stand on the left. The size depends on
    the numbers of series and columns and on names alone, so that the pictures of a run make a film.
    Raises `RequestError` for no series, and for ones of another number of columns.
    """
    blocks = [_Block("data", real[:MOST])] if real is not None else []
    blocks.append(_Block("samples", fake[:MOST]))
    wrong = [np.shape(s) for block in blocks for s in block.series if s.ndim != 2 or s.shape[1] != len(form.columns)]
    if wrong or not all(len(block.series) for block in blocks):
        found = f"one of shape {wrong[0]}" if wrong else "none"
        raise RequestError(f"a picture of series: expected series [t, {len(form.columns)}], found {found}")
    across = [min(ACROSS // len(blocks), len(block.series)) for block in blocks]
    rows = max(math.ceil(len(block.series) / n) for block, n in zip(blocks, across, strict=True))
    wide = [n * (PANEL[0] + GAP) - GAP for n in across]
    width = 2 * MARGIN + sum(wide) + 3 * GAP * (len(blocks) - 1)
    legend = _legend(form, width - 2 * MARGIN)
    height = MARGIN + HEAD + rows * (PANEL[1] + GAP) + len(legend) * LINE + MARGIN
    canvas = Image.new("RGB", (width, height), PAPER)
    pen, left = ImageDraw.Draw(canvas), MARGIN
    for block, n, room in zip(blocks, across, wide, strict=True):
        pen.text((left, MARGIN), block.title, fill=INK, font=font(14), anchor="lt")
        for number, values in enumerate(block.series):
            at = left + number % n * (PANEL[0] + GAP), MARGIN + HEAD + number // n * (PANEL[1] + GAP)
            canvas.paste(_panel(values, form, length), at)
        left += room + 3 * GAP
    top = MARGIN + HEAD + rows * (PANEL[1] + GAP) + LINE // 2
    for number, line in enumerate(legend):
        for x, colour, text in line:
            y = top + number * LINE
            if colour:
                pen.line([(MARGIN + x, y), (MARGIN + x + 16, y)], fill=colour, width=3)
            pen.text((MARGIN + x + (22 if colour else 0), y), text, fill=GREY, font=font(12), anchor="lm")
    return canvas


def _panel(values: Floats, form: Series, length: int) -> Image.Image:
    panel = Image.new("RGB", (PANEL[0] * LARGE, PANEL[1] * LARGE), PAPER)
    pen, inside = ImageDraw.Draw(panel), 6 * LARGE
    right, bottom = PANEL[0] * LARGE - inside, PANEL[1] * LARGE - inside
    pen.rectangle([(0, 0), (panel.width - 1, panel.height - 1)], outline=FRAME, width=LARGE)
    across = inside + (right - inside) * np.arange(len(values)) / max(1, length - 1)
    shown = list(zip(COLOURS, form.low, form.high, values.T, strict=False))
    for colour, low, high, column in reversed(shown):  # the first column lies on top
        share = np.nan_to_num((column - low) / (high - low), nan=0.5).clip(0, 1)
        points = list(zip(across.tolist(), (bottom - share * (bottom - inside)).tolist(), strict=True))
        if len(points) > 1:
            pen.line(points, fill=colour, width=round(1.6 * LARGE), joint="curve")
        if len(values) < length:
            x, y = points[-1]
            pen.circle((x, y), 2.5 * LARGE, fill=colour)
    return panel.resize(PANEL, Image.Resampling.LANCZOS)


def _legend(form: Series, room: int) -> list[list[tuple[int, str, str]]]:
    """Lines of (x, colour, text): each column that is drawn with its range, then how many are not."""
    entries = [
        (colour, f"{_short(name)}: {short_number(low)} to {short_number(high)}")
        for colour, name, low, high in zip(COLOURS, form.columns, form.low, form.high, strict=False)
    ]
    if len(form.columns) > len(COLOURS):
        entries.append(("", f"and {len(form.columns) - len(COLOURS)} more columns"))
    lines: list[list[tuple[int, str, str]]] = [[]]
    x = 0
    for colour, text in entries:
        wide = (22 if colour else 0) + math.ceil(font(12).getlength(text)) + 24
        if x and x + wide > room:
            lines.append([])
            x = 0
        lines[-1].append((x, colour, text))
        x += wide
    return lines


def _short(name: str) -> str:
    printed = "".join(c if c.isprintable() else "?" for c in name)
    return printed if len(printed) <= _NAME else f"{printed[: _NAME - 1]}…"
