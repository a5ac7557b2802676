"""Samples in one or two dimensions seen whole: the data, the samples, what the discriminator thinks of every place, and
which way it sends samples from there (Goodfellow et al. 2014, figure 1, draws the same in one dimension)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from sparring.core.errors import RequestError
from sparring.pictures.axes import nice_ticks, tick_label
from sparring.pictures.ink import BLUE, ORANGE, font

SIDE = 560
"""Pixels of the plot, which is square."""
LEFT, TOP, RIGHT, FOOT = 54, 40, 16, 34
LARGE = 2
"""Drawn so many times as large and reduced: Pillow has no smooth dots and lines of its own."""
DATA, INK, GREY, FRAME = "#777c81", "#202124", "#5f6368", "#bdc1c6"
SHADE = 150
"""How strong the shade is where the discriminator believes most, of 255."""
ARROWS = 16
"""Arrows across the plot, at most."""
BINS = 64
Floats = NDArray[np.float64]


class View(NamedTuple):
    """The part of the line or the plane that is drawn: its least and greatest values, per coordinate."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def draw_plane(
    real: Floats, fake: Floats, view: View, logits: Floats | None = None, slopes: Floats | None = None
) -> Image.Image:
    """Data and samples, and where they are given the logits of D and their slopes: "RGB", of one size for all.

    `real` [N, 2] are grey dots, `fake` [M, 2] orange ones; what lies outside of the view, or is not finite, is left
    out. `logits` [n, n] are those at the centres of n × n equal cells of the view, first index across, second upwards:
    the darker, the more real. `slopes` [n, n, 2] point the way on which D grows fastest, and so do the arrows; their
    length tells steep from level by its square root. In one dimension, real [N, 1], fake [M, 1], logits [n] and slopes
    [n, 1], it is two histograms of equal area, and D as a line in a panel below.
    Raises `RequestError` for other shapes.
    """
    dims = len(view.low)
    sides = {tuple(a.shape[1:]) for a in (real, fake)}
    lattice = None if logits is None else (*logits.shape, dims)
    if dims not in (1, 2) or sides != {(dims,)} or (slopes is not None and slopes.shape != lattice):
        raise RequestError(
            f"a plane: expected points [N, 1] or [N, 2] and slopes for every logit, found {real.shape}, {fake.shape}, "
            f"{lattice} and {None if slopes is None else slopes.shape}"
        )
    if dims == 1:
        return _draw_line(real[:, 0], fake[:, 0], view, logits)
    canvas = _framed("darker: D finds it more real", arrows=slopes is not None, shaded=logits is not None)
    plot = Image.new("RGB", (SIDE * LARGE, SIDE * LARGE), "white")
    if logits is not None:
        plot.paste(Image.new("RGB", plot.size, BLUE), mask=_shade(logits))
    pen = ImageDraw.Draw(plot)
    _dots(pen, real, view, DATA, 1.5)
    if slopes is not None:
        _arrows(pen, slopes)
    _dots(pen, fake, view, ORANGE, 2.0)
    _finish(canvas, plot, view)
    return canvas


def _shade(logits: Floats) -> Image.Image:
    """How dark each pixel is, as a mask: of ranks and values half each, so that neither a summit nor a plain hides the
    rest."""
    known = np.nan_to_num(logits, nan=0.0, posinf=0.0, neginf=0.0)
    ranks = known.flatten().argsort().argsort().reshape(known.shape) / max(1, known.size - 1)
    spread = np.ptp(known)
    values = (known - known.min()) / spread if spread > 0 else np.zeros_like(known)
    share = (ranks + values) / 2 if spread > 0 else values
    cells = Image.fromarray(np.rint(share.T[::-1] * SHADE).astype(np.uint8))
    return cells.resize((SIDE * LARGE, SIDE * LARGE), Image.Resampling.BICUBIC)


def _arrows(pen: ImageDraw.ImageDraw, slopes: Floats) -> None:
    every = max(1, math.ceil(len(slopes) / ARROWS))
    known = np.nan_to_num(slopes[every // 2 :: every, every // 2 :: every], nan=0.0, posinf=0.0, neginf=0.0)
    steep = np.linalg.norm(known, axis=2)
    longest = SIDE * LARGE * every / len(slopes)
    full = np.quantile(steep, 0.9) or 1.0
    for i, row in enumerate(known):
        for j, slope in enumerate(row):
            if steep[i, j] == 0:
                continue
            length = longest * min(1.0, math.sqrt(steep[i, j] / full)) * 0.9
            x, y = ((k * every + every // 2 + 0.5) / len(slopes) * SIDE * LARGE for k in (i, j))
            way = np.array([slope[0], -slope[1]]) / steep[i, j] * length / 2
            _arrow(pen, (x - way[0], SIDE * LARGE - y - way[1]), (x + way[0], SIDE * LARGE - y + way[1]))


def _arrow(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float]) -> None:
    along = np.array(end) - np.array(start)
    across = np.array([-along[1], along[0]])
    tip = np.array(end)
    head = min(1.0, 7 * LARGE / max(1e-9, float(np.hypot(*along))))
    pen.line([start, end], fill=INK, width=LARGE)
    for side in (-0.5, 0.5):
        pen.line([tuple(tip - head * (along + side * across)), end], fill=INK, width=LARGE)


def _dots(pen: ImageDraw.ImageDraw, points: Floats, view: View, colour: str, radius: float) -> None:
    low, high = np.array(view.low), np.array(view.high)
    share = (points - low) / (high - low)
    for x, y in share[((share >= 0) & (share <= 1)).all(1)] * SIDE * LARGE:
        r = radius * LARGE
        pen.ellipse((x - r, SIDE * LARGE - y - r, x + r, SIDE * LARGE - y + r), fill=colour)


def _framed(shade: str, *, arrows: bool, shaded: bool) -> Image.Image:
    """An empty picture with the legend at its head."""
    canvas = Image.new("RGB", (LEFT + SIDE + RIGHT, TOP + SIDE + FOOT), "white")
    pen, at, middle = ImageDraw.Draw(canvas), float(LEFT), TOP / 2
    for name, colour in (("data", DATA), ("samples", ORANGE)):
        pen.ellipse((at, middle - 4, at + 8, middle + 4), fill=colour)
        pen.text((at + 14, middle), name, fill=INK, font=font(14), anchor="lm")
        at += 14 + font(14).getlength(name) + 22
    if shaded:
        pale = tuple(255 + (c - 255) * SHADE // 255 for c in ImageColor.getrgb(BLUE))
        pen.rectangle((at, middle - 5, at + 10, middle + 5), fill=pale)
        pen.text((at + 16, middle), shade, fill=INK, font=font(14), anchor="lm")
        at += 16 + font(14).getlength(shade) + 22
    if arrows:
        _arrow_key(pen, at, middle)
    return canvas


def _arrow_key(pen: ImageDraw.ImageDraw, at: float, middle: float) -> None:
    pen.line([(at, middle), (at + 14, middle)], fill=INK, width=1)
    pen.line([(at + 9, middle - 3), (at + 14, middle), (at + 9, middle + 3)], fill=INK, width=1)
    pen.text((at + 20, middle), "where it sends samples", fill=INK, font=font(14), anchor="lm")


def _finish(canvas: Image.Image, plot: Image.Image, view: View, top: int = TOP, height: int = SIDE) -> None:
    """Puts a plot into the picture, with its frame and the values along its sides."""
    canvas.paste(plot.resize((SIDE, height), Image.Resampling.LANCZOS), (LEFT, top))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((LEFT - 1, top - 1, LEFT + SIDE, top + height), outline=FRAME)
    for axis, (low, high) in enumerate(zip(view.low, view.high, strict=True)):
        ticks, step = nice_ticks(low, high, 6)
        for tick in ticks:
            share = (tick - low) / (high - low)
            text = tick_label(tick, step)
            if axis == 1:
                pen.text((LEFT - 8, top + (1 - share) * height), text, fill=GREY, font=font(13), anchor="rm")
            elif top + height == TOP + SIDE:
                pen.text((LEFT + share * SIDE, top + height + 8), text, fill=GREY, font=font(13), anchor="mt")


def _draw_line(real: Floats, fake: Floats, view: View, logits: Floats | None) -> Image.Image:
    (low,), (high,) = view
    canvas = _framed("D(x), the logit", arrows=False, shaded=logits is not None)
    height = SIDE if logits is None else SIDE * 2 // 3
    counts = [np.histogram(x[np.isfinite(x)], BINS, (low, high))[0] / max(1, len(x)) for x in (real, fake)]
    shares = [c * BINS / (high - low) for c in counts]
    most = 1.1 * max(float(s.max()) for s in shares) or 1.0
    plot = Image.new("RGB", (SIDE * LARGE, height * LARGE), "white")
    pen = ImageDraw.Draw(plot)
    corners = [_steps(s / most, height) for s in shares]
    pen.polygon(corners[0], fill="#d5d8db")
    pen.line(corners[0], fill=DATA, width=LARGE)
    pen.line(corners[1], fill=ORANGE, width=2 * LARGE)
    _finish(canvas, plot, View((low, 0.0), (high, most)), height=height)
    if logits is not None:
        known = np.nan_to_num(logits, nan=0.0, posinf=0.0, neginf=0.0)
        least, room = float(known.min()), float(np.ptp(known)) or 1.0
        bounds = View((low, least - 0.1 * room), (high, least + 1.1 * room))
        rest = SIDE - height - 14
        below = Image.new("RGB", (SIDE * LARGE, rest * LARGE), "white")
        across = (np.arange(len(known)) + 0.5) / len(known) * SIDE * LARGE
        up = (known - bounds.low[1]) / (bounds.high[1] - bounds.low[1]) * rest * LARGE
        points = list(zip(across.tolist(), (rest * LARGE - up).tolist(), strict=True))
        ImageDraw.Draw(below).line(points, fill=BLUE, width=2 * LARGE, joint="curve")
        _finish(canvas, below, bounds, top=TOP + height + 14, height=rest)
    return canvas


def _steps(shares: Floats, height: int) -> list[tuple[float, float]]:
    """The outline of a histogram, from the floor back to the floor; shares of the height [n]."""
    edges = np.arange(len(shares) + 1) / len(shares) * SIDE * LARGE
    across = np.repeat(edges, 2)
    up = np.concatenate([[0], np.repeat(shares, 2), [0]]) * height * LARGE
    return list(zip(across.tolist(), (height * LARGE - up).tolist(), strict=True))
