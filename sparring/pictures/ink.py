"""What the pictures share: colours, the font that Pillow brings along, and short numbers."""

from __future__ import annotations

from functools import cache

from PIL import ImageFont

BLUE, ORANGE = "#0072b2", "#e07a00"
GREEN, PURPLE, SKY = "#009e73", "#b5548c", "#56b4e9"
"""Told apart by every kind of colour vision (after Okabe and Ito, Color Universal Design, 2008; the orange and the
purple a little darker, for thin lines on white). The discriminator is BLUE, the generator ORANGE, everywhere."""


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that Pillow carries with it, in pixels of height: the same picture on every machine."""
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)  # what load_default returns whenever a size is given
    return found


def short_number(value: float) -> str:
    """A number in at most four digits and a unit.

    >>> [short_number(v) for v in (0, 7, 999, 50_000, 1_200_000, 12_345_678, -2_500, 0.05, 3e17)]
    ['0', '7', '999', '50k', '1.2M', '12.35M', '-2.5k', '0.05', '3e+17']
    """
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,960 would be written 1000k
        if float(f"{abs(value):.4g}") >= unit:
            return f"{value:.4g}" if abs(value) >= 1e15 else f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"
