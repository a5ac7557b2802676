"""Samples as pixels, as one tiled picture, and as PNG files that say where they came from."""

from __future__ import annotations

import io
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin

from sparring.core.errors import RequestError
from sparring.pictures.files import unwritable, write_whole
from sparring.pictures.ink import BLUE

if TYPE_CHECKING:
    from torch import Tensor

GAP = 2
"""Pixels between cells and around them."""
BACKGROUND = 48
"""Grey of the gap: neither the black nor the white that images are likely to end in."""
READABLE, WIDEST, LARGEST_CELL = 48, 1600, 400
"""Pixels: what the smaller side of a cell should reach, what the picture must not pass, where magnifying ends."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def to_uint8(x: Tensor, levels: int = 256) -> Pixels:
    """Samples in [-1, 1] as stored pixels: float [N, C, H, W] to uint8 [N, H, W, C], or uint16 for 65536 levels.

    The inverse of `pixel / ((levels - 1) / 2) - 1`, rounded to the nearest level; values outside [-1, 1] are clamped
    and NaN is shown as the lowest level. `levels` is `DataSpec.levels`; 0 (float data) is shown in 256 levels.
    """
    if x.ndim != 4:
        raise RequestError(f"expected images as [N, C, H, W], found a tensor of shape {tuple(x.shape)}")
    top = (levels or 256) - 1
    if top not in (255, 65535):
        raise RequestError(f"expected 256 or 65536 levels (or 0 for float data), found {levels}")
    scaled = ((x.detach().float().nan_to_num(nan=-1.0) + 1) * (top / 2)).round().clamp(0, top)
    pixels = scaled.permute(0, 2, 3, 1).cpu().numpy()
    return pixels.astype(np.uint8) if top == 255 else pixels.astype(np.uint16)


def grid(images: Pixels, columns: int, *, scale: int | None = None) -> Image.Image:
    """Images side by side in reading order, with a thin dark gap: one picture, grey ("L") or colour ("RGB").

    `images` is uint8 or uint16 [N, H, W, C], shown in 8 bits, with C = 1, 3 or 4 (RGBA, laid over a light
    checkerboard). Cell (r, c) begins at pixel (GAP + c·(w + GAP), GAP + r·(h + GAP)) for cells of w×h pixels.
    Images are magnified by the integer `scale` without smoothing; left out, it is chosen so that cells can be read
    (`READABLE`) and the picture stays within `WIDEST`, and images too large for that are reduced.
    """
    _check(images)
    if len(images) == 0 or columns < 1:
        raise RequestError(f"a grid needs an image and a column, found {len(images)} images and {columns} columns")
    if scale is not None and scale < 1:
        raise RequestError(f"scale is a whole number of at least 1, found {scale}")
    number, height, width, channels = images.shape
    columns = min(columns, number)
    rows = math.ceil(number / columns)
    room = (WIDEST - GAP) // columns - GAP  # width for one cell
    if scale is None:
        wanted = math.ceil(READABLE / min(height, width))
        scale = max(1, min(wanted, room // width, LARGEST_CELL // max(height, width)))
        shrink = min(1.0, max(1, room) / (width * scale))
    else:
        shrink = 1.0
    cell_w, cell_h = max(1, int(width * scale * shrink)), max(1, int(height * scale * shrink))

    size = (columns * (cell_w + GAP) + GAP, rows * (cell_h + GAP) + GAP)
    canvas = Image.new("L" if channels == 1 else "RGB", size, (BACKGROUND,) * (1 if channels == 1 else 3))
    board = _checkerboard(cell_h, cell_w) if channels == 4 else None
    for n, pixels in enumerate(images):
        cell = to_image(_to_8_bits(pixels)).resize(
            (cell_w, cell_h), Image.Resampling.NEAREST if shrink == 1 else Image.Resampling.LANCZOS
        )
        if board is not None:
            cell = Image.alpha_composite(board, cell).convert("RGB")
        canvas.paste(cell, (GAP + n % columns * (cell_w + GAP), GAP + n // columns * (cell_h + GAP)))
    return canvas


def sample_grid(x: Tensor, columns: int, *, levels: int = 256, scale: int | None = None) -> Image.Image:
    """A grid of samples as networks give them: float in [-1, 1], images [N, C, H, W] or vectors [N, D].

    Vectors whose length is a square of at least 8×8 (784) are shown as grey images, others each as a line over
    their entries, from -1 at the bottom of the cell to 1 at its top.
    """
    if x.ndim == 4:
        return grid(to_uint8(x, levels), columns, scale=scale)
    if x.ndim != 2:
        raise RequestError(f"expected samples as [N, C, H, W] or [N, D], found a tensor of shape {tuple(x.shape)}")
    side = math.isqrt(x.shape[1])
    if side >= 8 and side * side == x.shape[1]:
        return grid(to_uint8(x.reshape(-1, 1, side, side), levels), columns, scale=scale)
    values = x.detach().float().cpu().numpy()
    cells = np.stack([_line_plot(v) for v in values]) if len(values) else np.zeros((0, 1, 1, 3), np.uint8)
    return grid(cells, columns, scale=scale)


def to_image(pixels: Pixels) -> Image.Image:
    """One image: uint8 [H, W, C] with C = 1, 3 or 4, or uint16 [H, W, 1], which keeps its 16 bits."""
    _check(pixels[None])
    if pixels.dtype == np.uint16 and pixels.shape[-1] > 1:
        raise RequestError(f"Pillow has no pictures of 16 bits with {pixels.shape[-1]} channels: save them as .npz")
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def save_png(image: Image.Image, path: Path | str, info: Mapping[str, str]) -> None:
    """Write a PNG that carries `info` (seed, recipe, checkpoint, images seen, ...) as text entries.

    Text beyond Latin-1 is kept as UTF-8. Read back with `PIL.Image.open(path).text`. Atomic; raises `RequestError`
    naming the path when it cannot be written.
    """
    write_whole(Path(path), _png(image, info))


def save_images(
    folder: Path | str,
    images: Iterable[Pixels],
    labels: Iterable[int] | None = None,
    info: Mapping[str, str] | None = None,
) -> int:
    """One PNG per image: `00000.png`, `00001.png`, ..., or `00000_label7.png` where labels are given.

    `images` is an array [N, H, W, C] or anything that yields single images [H, W, C], as `to_image` takes them. Each
    file carries `info` and its own `index` and `label`. The folder appears whole or not at all; raises `RequestError`
    when it exists and is not empty or cannot be written. Returns the number of images.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise RequestError(f"{folder} exists already: name a new folder or remove this one first")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    number = 0
    try:
        temporary.mkdir(parents=True)
        for pixels, label in _with_labels(images, labels):
            mark = {"index": str(number)} | ({} if label is None else {"label": str(label)})
            name = f"{number:05d}.png" if label is None else f"{number:05d}_label{label}.png"
            (temporary / name).write_bytes(_png(to_image(pixels), {**(info or {}), **mark}))
            number += 1
        for path in temporary.iterdir():  # after the last is written, the disk takes them together: much faster
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        if folder.is_dir():
            folder.rmdir()  # empty, as was checked; not every system renames onto an empty folder
        temporary.replace(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return number


def _with_labels(images: Iterable[Pixels], labels: Iterable[int] | None) -> Iterable[tuple[Pixels, int | None]]:
    if labels is None:
        return ((pixels, None) for pixels in images)
    return ((pixels, int(label)) for pixels, label in zip(images, labels, strict=True))


def _png(image: Image.Image, info: Mapping[str, str]) -> bytes:
    entries = PngImagePlugin.PngInfo()
    for key, value in info.items():
        entries.add_text(key, value)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=entries)
    return out.getvalue()


def _check(images: NDArray[Any]) -> None:
    shape, dtype = images.shape, images.dtype
    if len(shape) != 4 or min(shape[1:]) == 0 or shape[3] not in (1, 3, 4) or dtype not in (np.uint8, np.uint16):
        raise RequestError(
            f"expected images as uint8 or uint16 [N, H, W, C] with C = 1, 3 or 4, found {dtype} {list(shape)}"
        )


def _to_8_bits(pixels: Pixels) -> Pixels:
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 257 · 255, to the nearest


def _checkerboard(height: int, width: int, square: int = 8) -> Image.Image:
    rows, columns = np.indices((height, width)) // square
    grey = np.where((rows + columns) % 2 == 0, 255, 224).astype(np.uint8)
    return Image.fromarray(grey).convert("RGBA")


def _line_plot(values: NDArray[np.float32], width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """One vector as a line in a cell, uint8 [height, width, 3]; drawn three times as large and reduced."""
    large, margin = 3, 4
    cell = Image.new("RGB", (width * large, height * large), "#fafafa")
    pen = ImageDraw.Draw(cell)
    top, bottom = margin * large, (height - margin) * large
    pen.line([(0, (top + bottom) / 2), (width * large, (top + bottom) / 2)], fill="#d8d8d8", width=large)
    across = np.linspace(margin * large, (width - margin) * large, max(2, len(values)))
    if len(values) == 1:
        values = np.repeat(values, 2)  # a single number is a level line
    down = bottom - (np.nan_to_num(values, nan=-1.0).clip(-1, 1) + 1) / 2 * (bottom - top)
    pen.line(list(zip(across.tolist(), down.tolist(), strict=True)), fill=BLUE, width=round(1.5 * large), joint="curve")
    return np.asarray(cell.resize((width, height), Image.Resampling.LANCZOS))
