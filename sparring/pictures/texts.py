"""Texts as lines of a picture, and rows of a table: each character in a cell of the same width, so that columns stand
below each other."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from sparring.core.errors import RequestError
from sparring.pictures.ink import font

CELL = (8, 18)
"""Width and height of a character, in pixels."""
SIZE = 13
"""Of the font: that which Pillow carries with it, which has the letters of ASCII. Accents are drawn above and below
them; any other character is a box."""
MARGIN, GAP = 14, 4
"""Around all, in pixels, and between columns of texts, in characters."""
WIDEST = 120
"""Characters of a line of the picture."""
MOST = 40
"""Lines of texts, at most; and rows of a table of each kind."""
INK, GREY, RULE, BAND, PAPER = "#202124", "#5f6368", "#bdc1c6", "#f5f7f9", "white"
_MARKS = {
    "\u0300": (((-2, -3), (1, -1)),),
    "\u0301": (((-1, -1), (2, -3)),),
    "\u0302": (((-2, -1), (0, -3), (2, -1)),),
    "\u0303": (((-3, -1), (-1, -2), (1, -1), (3, -2)),),
    "\u0304": (((-2, -2), (2, -2)),),
    "\u0308": (((-2, -2), (-2, -1)), ((2, -2), (2, -1))),
    "\u030a": (((-1, -3), (1, -3), (1, -1), (-1, -1), (-1, -3)),),
    "\u030c": (((-2, -3), (0, -1), (2, -3)),),
}
"""Strokes of the accents of Latin letters, in pixels from the middle of the letter's upper edge."""
_LEAST, _MOST_WIDE = 10, 18  # characters of a table's column


def draw_texts(fake: Sequence[str], width: int, real: Sequence[str] | None = None) -> Image.Image:
    """Texts below each other, in several columns where they are short, on the right of real ones where those are given:
    "RGB".

    `width` is the most characters that a text has; longer ones are cut. The size depends on it and on the numbers of
    texts alone, so that the pictures of a run make a film. Raises `RequestError` for no texts.
    """
    blocks = [("data", real), ("samples", fake)] if real is not None else [("samples", fake)]
    if not all(len(texts) for _, texts in blocks):
        raise RequestError("a picture of texts: expected at least one, found none")
    room = (WIDEST + GAP) // len(blocks)
    width = max(8, min(width, room - GAP))
    most = max(1, room // (width + GAP))
    placed = []
    for title, texts in blocks:
        columns = min(most, math.ceil(len(texts) / 8))
        shown = texts[: columns * MOST]
        placed.append((title, shown, columns, math.ceil(len(shown) / columns)))
    characters = sum(columns * (width + GAP) for _, _, columns, _ in placed) - GAP
    canvas, pen = _paper(characters, max(rows for *_, rows in placed))
    left = 0
    for title, texts, columns, rows in placed:
        _head(pen, title, left, 0)
        for number, text in enumerate(texts):
            _write(pen, _cut(text, width), left + number // rows * (width + GAP), 1 + number % rows, INK)
        left += columns * (width + GAP)
    return canvas


def draw_table(fake: Mapping[str, Sequence[Any]], real: Mapping[str, Sequence[Any]] | None = None) -> Image.Image:
    """Rows of tables, given by their columns, below real rows where those are given: "RGB".

    Numbers stand on the right of their column, a cell without a value is empty, longer ones are cut, and columns for
    which there is no room are counted. The size depends on names and the numbers of rows alone. Raises `RequestError`
    for no rows.
    """
    blocks = [("data", real), ("samples", fake)] if real is not None else [("samples", fake)]
    counts = [min(MOST, len(next(iter(cells.values()), ()))) for _, cells in blocks]
    if not all(counts):
        raise RequestError("a picture of a table: expected at least one row, found none")
    widths: dict[str, int] = {}
    for name in fake:
        wide = max(_LEAST, min(_MOST_WIDE, len(name)))
        if widths and sum(widths.values()) + 2 * len(widths) + wide > WIDEST:
            break
        widths[name] = wide
    left_out = len(fake) - len(widths)
    characters = sum(widths.values()) + 2 * (len(widths) - 1)
    note = f"and {left_out} more columns" if left_out else ""
    characters = max(characters, len(note), 8)
    canvas, pen = _paper(characters, sum(counts) + 3 * len(blocks) - 2 + bool(note))
    line = 0
    for (title, cells), count in zip(blocks, counts, strict=True):
        _head(pen, title, 0, line)
        left = 0
        for name, wide in widths.items():
            column = list(cells[name][:count])
            to_the_right = all(isinstance(cell, int | float | None) and not isinstance(cell, bool) for cell in column)
            _write(pen, _aligned(name, wide, to_the_right), left, line + 1, GREY)
            for row, cell in enumerate(column):
                _write(pen, _aligned(_text(cell), wide, to_the_right), left, line + 2 + row, INK)
            left += wide + 2
        y = MARGIN + (line + 2) * CELL[1] - 1
        pen.line([(MARGIN, y), (canvas.width - MARGIN, y)], fill=RULE)
        line += count + 3
    _write(pen, note, 0, line - 1, GREY)
    return canvas


def _paper(characters: int, lines: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Room for a head and so many lines below it."""
    size = (2 * MARGIN + characters * CELL[0], 2 * MARGIN + (lines + 1) * CELL[1])
    canvas = Image.new("RGB", size, PAPER)
    return canvas, ImageDraw.Draw(canvas)


def _head(pen: ImageDraw.ImageDraw, text: str, column: int, line: int) -> None:
    at = MARGIN + column * CELL[0], MARGIN + round((line + 0.7) * CELL[1])
    pen.text(at, text, fill=INK, font=font(SIZE + 1), anchor="ls")


def _write(pen: ImageDraw.ImageDraw, text: str, column: int, line: int, colour: str) -> None:
    y = MARGIN + round((line + 0.72) * CELL[1])
    for number, character in enumerate(text):
        if character == " ":
            continue
        x = MARGIN + round((column + number + 0.5) * CELL[0])
        parted = unicodedata.normalize("NFD", character)
        letter, marks = parted[0], parted[1:]
        if letter > "~" or not all(mark in _MARKS for mark in marks):
            letter, marks = character, ""
        pen.text((x, y), letter, fill=colour, font=font(SIZE), anchor="ms")
        top = y + font(SIZE).getbbox(letter, anchor="ms")[1] - 1
        for stroke in (stroke for mark in marks for stroke in _MARKS[mark]):
            pen.line([(x + right, top + down) for right, down in stroke], fill=colour)


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _aligned(text: str, width: int, to_the_right: bool) -> str:
    cut = _cut(text, width)
    return cut.rjust(width) if to_the_right else cut.ljust(width)


def _cut(text: str, width: int) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in text[: width + 1])
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"
