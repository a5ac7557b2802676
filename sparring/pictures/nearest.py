"""Samples beside the real data that are nearest to them: what a generator that only repeats would be caught by."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from sparring.core.errors import RequestError
from sparring.pictures.grid import GAP, sample_grid
from sparring.pictures.ink import font, short_number

if TYPE_CHECKING:
    from torch import Tensor

INK, GREY, LINE = "#202124", "#5f6368", "#9aa0a6"
MARGIN, BETWEEN, TEXT = 12, 24, 20
"""Pixels: around the picture, between a sample and its neighbours, and for the number below a cell."""
HEAD = 17
"""Pixels for a line of the words above the columns."""


def nearest(samples: Tensor, neighbours: Tensor, distances: Tensor, *, levels: int = 256) -> Image.Image:
    """Rows of a sample and, right of a line, its k nearest real ones in the order given, "RGB".

    Args:
        samples: float [n, C, H, W] or [n, D] in [-1, 1], n >= 1; vectors are drawn as `sample_grid` draws them.
        neighbours: of the same kind, [n, k, C, H, W] or [n, k, D], k >= 1.
        distances: [n, k], of any unit, written below the neighbours.
        levels: `DataSpec.levels`.

    Raises `RequestError` when the shapes do not belong together.
    """
    number, k = distances.shape if distances.ndim == 2 else (0, 0)
    if number * k == 0 or neighbours.shape != (number, k, *samples.shape[1:]) or len(samples) != number:
        raise RequestError(
            f"nearest: expected samples [n, ...], neighbours [n, k, ...] and distances [n, k], found "
            f"{list(samples.shape)}, {list(neighbours.shape)} and {list(distances.shape)}"
        )
    together = neighbours.new_empty(number, k + 1, *samples.shape[1:])
    together[:, 0], together[:, 1:] = samples, neighbours
    cells = sample_grid(together.flatten(0, 1), k + 1, levels=levels).convert("RGB")
    wide, high = (cells.width - GAP) // (k + 1), (cells.height - GAP) // number  # of a cell and the gap after it

    across = [MARGIN, *(MARGIN + wide + BETWEEN + n * wide for n in range(k))]
    room = across[-1] + wide + MARGIN
    words = textwrap.wrap("the nearest real samples and their distance", max(12, (room - across[1]) // 7))
    head = MARGIN + HEAD * len(words)
    width = max(room, across[1] + round(max(font(13).getlength(line) for line in words)) + MARGIN)
    picture = Image.new("RGB", (width, head + number * (high + TEXT) + MARGIN), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, head - 4), "sample", fill=INK, font=font(13), anchor="ls")
    for n, line in enumerate(reversed(words)):
        pen.text((across[1], head - 4 - HEAD * n), line, fill=INK, font=font(13), anchor="ls")
    for row in range(number):
        top = head + row * (high + TEXT)
        for column, left in enumerate(across):
            corner = (GAP + column * wide, GAP + row * high)
            picture.paste(cells.crop((*corner, corner[0] + wide - GAP, corner[1] + high - GAP)), (left, top))
            if column:
                below = (left + (wide - GAP) / 2, top + high + TEXT / 2 - 2)
                text = short_number(float(distances[row, column - 1]))
                pen.text(below, text, fill=GREY, font=font(12), anchor="mm")
    at = MARGIN + wide + BETWEEN // 2 - GAP // 2
    pen.line((at, head, at, picture.height - MARGIN), fill=LINE)
    return picture
