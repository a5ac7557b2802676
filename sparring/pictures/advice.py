"""The teaching view: samples, what the discriminator would change about them, and the samples so changed.

Each sample has a scale of its own, the same for darker and brighter: full colour is three times the root mean square
of its advice. Advice may grow or fade a thousandfold within a run, and what is worth seeing is where it points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sparring.core.errors import RequestError
from sparring.pictures.grid import grid, save_png, to_uint8
from sparring.pictures.ink import BLUE, ORANGE, font

if TYPE_CHECKING:
    from torch import Tensor

FULL = 3.0
"""Full colour, in root mean squares of a sample's advice."""
CELL = 128
"""Pixels that the larger side of a cell should reach."""
COLUMNS = 2
"""Samples beside each other."""
DARKER, BRIGHTER = (0, 90, 181), (200, 30, 30)
SPACE, BETWEEN, MARGIN = 8, 40, 20
HEAD, ROW, FOOT = 74, 32, 72
"""Pixels: above the first row of samples, between two rows, below the last."""
HEADS = ("sample", "advice", "after a small step")
INK, GREY = "#202124", "#5f6368"
Floats = NDArray[np.float64]


def advice_picture(
    path: Path | str,
    x: Tensor,
    advice: Tensor,
    after: Tensor,
    before_after: Sequence[tuple[float, float]],
    asked: Sequence[str] = (),
    *,
    info: Mapping[str, str] | None = None,
) -> None:
    """Draw the advice (see `draw_advice`) and write it as a PNG with `info` in its text entries (see `save_png`)."""
    save_png(draw_advice(x, advice, after, before_after, asked), path, info or {})


def draw_advice(
    x: Tensor,
    advice: Tensor,
    after: Tensor,
    before_after: Sequence[tuple[float, float]],
    asked: Sequence[str] = (),
) -> Image.Image:
    """Samples x, their advice and the changed samples, each [n, C, H, W] or [n, D], in triples: "RGB".

    Below a sample stands how sure the discriminator is that it is real, before and after: n pairs of probabilities.
    `asked` names the class that each was meant to be, where there are classes. Advice for colours is drawn as its mean
    over the channels. Vectors whose length is a square of at least 8×8 are shown as grey images, others as lines over
    their entries, and their advice as bars. Raises `RequestError` without samples, and where shapes or numbers differ.
    """
    if len(x) == 0 or not (x.shape == advice.shape == after.shape) or len(before_after) != len(x):
        shapes = ", ".join(str(list(t.shape)) for t in (x, advice, after))
        raise RequestError(
            f"expected samples, advice and changed samples of one shape, found {shapes}, and as many "
            f"pairs of beliefs, found {len(before_after)}"
        )
    x, advice, after = (_as_images(t.detach().float().cpu()) for t in (x, advice, after))
    triples = _image_cells(x, advice, after) if x.ndim == 4 else _vector_cells(x, advice, after)
    return _page(triples, before_after, asked, channels=x.shape[1] if x.ndim == 4 else 0)


def heat(advice: Floats) -> NDArray[np.uint8]:
    """Signed advice of one sample [H, W] as colours uint8 [H, W, 3]: white for none, red for up, blue for down."""
    return _colours(_scaled(advice))


def _scaled(advice: Floats) -> Floats:
    """The advice of one sample as shares of full colour, in [-1, 1]; numbers that are not finite count as none."""
    known = np.nan_to_num(advice, nan=0.0, posinf=0.0, neginf=0.0)
    rms = math.sqrt(np.mean(known**2))
    shares: Floats = np.clip(known / (FULL * rms if rms > 0 else 1), -1, 1)
    return shares


def _colours(share: Floats) -> NDArray[np.uint8]:
    """Shares of full colour in [-1, 1] to uint8 [..., 3]."""
    ends = np.where(share[..., None] < 0, np.array(DARKER), np.array(BRIGHTER))
    colours: NDArray[np.uint8] = np.rint(255 + np.abs(share[..., None]) * (ends - 255)).astype(np.uint8)
    return colours


def _as_images(x: Tensor) -> Tensor:
    side = math.isqrt(x.shape[1])
    return x.reshape(-1, 1, side, side) if x.ndim == 2 and side >= 8 and side * side == x.shape[1] else x


def _image_cells(x: Tensor, advice: Tensor, after: Tensor) -> list[tuple[Image.Image, ...]]:
    hot = np.stack([heat(a) for a in advice.double().mean(1).numpy()])
    return [tuple(_cell(image) for image in triple) for triple in zip(to_uint8(x), hot, to_uint8(after), strict=True)]


def _cell(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Image.Image:
    """One image [H, W, C], framed by the dark gap of a grid."""
    larger = max(pixels.shape[:2])
    cell = grid(pixels[None], 1, scale=max(1, CELL // larger)).convert("RGB")
    if larger > 2 * CELL:
        shrink = 2 * CELL / larger
        cell = cell.resize((round(cell.width * shrink), round(cell.height * shrink)), Image.Resampling.LANCZOS)
    return cell


def _vector_cells(x: Tensor, advice: Tensor, after: Tensor) -> list[tuple[Image.Image, ...]]:
    cells: list[tuple[Image.Image, ...]] = []
    for one, wish, changed in zip(x.double().numpy(), advice.double().numpy(), after.double().numpy(), strict=True):
        cells.append(
            (
                _plot(lines=[(one, BLUE)]),
                _plot(bars=_scaled(wish)),
                _plot(lines=[(one, "#b9d3e6"), (changed, ORANGE)]),
            )
        )
    return cells


def _plot(lines: Sequence[tuple[Floats, str]] = (), bars: Floats | None = None) -> Image.Image:
    """Values in [-1, 1] over their entries, as lines or as bars from 0; drawn three times as large and reduced."""
    large, width, height, room = 3, 3 * CELL // 2, CELL, 6
    cell = Image.new("RGB", (width * large, height * large), "#fafafa")
    pen = ImageDraw.Draw(cell)
    pen.rectangle((0, 0, width * large - 1, height * large - 1), outline=GREY, width=large)

    def down(values: Floats) -> Floats:
        values = np.nan_to_num(values)
        return large * (height / 2 - values.clip(-1, 1) * (height / 2 - room))

    middle = large * height / 2
    pen.line((0, middle, width * large, middle), fill="#d8d8d8", width=large)
    for values, colour in lines:
        # Half a place is free at either end, as beside a bar.
        across = (np.arange(len(values)) + 0.5) / len(values) * width * large
        points = [*zip(across.tolist(), down(values).tolist(), strict=True)]
        pen.line(points, fill=colour, width=2 * large, joint="curve")
        for point in points if len(points) <= 24 else []:
            pen.circle(point, 3 * large, fill=colour)
    if bars is not None:
        wide = width * large / len(bars)
        for n, (value, end) in enumerate(zip(bars.tolist(), down(bars).tolist(), strict=True)):
            upper, lower = sorted((middle, end))
            pen.rectangle((wide * (n + 0.2), upper, wide * (n + 0.8), lower), fill=BRIGHTER if value > 0 else DARKER)
    return cell.resize((width, height), Image.Resampling.LANCZOS)


def _page(
    triples: Sequence[tuple[Image.Image, ...]],
    before_after: Sequence[tuple[float, float]],
    asked: Sequence[str],
    channels: int,
) -> Image.Image:
    small, large = font(13), font(16)
    cell_w, cell_h = triples[0][0].size
    pitch = max(cell_w, 118) + SPACE
    block, row = 3 * pitch - SPACE, cell_h + ROW
    columns = min(COLUMNS, len(triples))
    width = max(2 * MARGIN + columns * (block + BETWEEN) - BETWEEN, 640)
    page = Image.new("RGB", (width, HEAD + math.ceil(len(triples) / columns) * row + FOOT), "white")
    pen = ImageDraw.Draw(page)

    what = "pixel" if channels else "value"
    title = f"The discriminator's advice: how much each {what} should change to look more real"
    pen.text((MARGIN, 24), title, INK, large, "lm")
    for n, (triple, (before, after)) in enumerate(zip(triples, before_after, strict=True)):
        left, top = MARGIN + n % columns * (block + BETWEEN), HEAD + n // columns * row
        below = (f"D: {before:.0%} real", f"asked for: {asked[n]}" if asked else "", f"D: {after:.0%} real")
        for k, cell in enumerate(triple):
            page.paste(cell, (left + k * pitch, top))
            words = below[k] if small.getlength(below[k]) <= pitch else f"{below[k][:16]}..."
            pen.text((left + k * pitch, top + cell_h + 11), words, GREY if k == 1 else INK, small, "lm")
            if n < columns:
                pen.text((left + k * pitch, top - 13), HEADS[k], GREY, small, "lm")
    _legend(page, page.height - FOOT + 14, channels)
    return page


def _legend(page: Image.Image, middle: int, channels: int) -> None:
    pen, small, wide = ImageDraw.Draw(page), font(13), 160
    less, more = ("darker", "brighter") if channels else ("less", "more")
    at = MARGIN + math.ceil(small.getlength(f"{less} would convince")) + 9
    pen.text((MARGIN, middle), f"{less} would convince", DARKER, small, "lm")
    pen.rectangle((at - 1, middle - 7, at + wide, middle + 6), outline=GREY)
    page.paste(Image.fromarray(_colours(np.linspace(-1, 1, wide)[None]).repeat(12, 0)), (at, middle - 6))
    pen.text((at + wide + 9, middle), f"{more} would convince", BRIGHTER, small, "lm")
    words = "white: leave as it is" if channels else "no bar: leave as it is"
    words += ";  each sample has a scale of its own"
    words += ";  the mean over its colours is shown" if channels > 1 else ""
    pen.text((MARGIN, middle + 22), words, GREY, small, "lm")
    words = "D: how sure the discriminator is that a sample is real"
    pen.text((MARGIN, middle + 42), words, GREY, small, "lm")
