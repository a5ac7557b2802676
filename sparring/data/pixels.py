"""One image: from bytes that nobody has looked at to pixels, with whatever had to be changed counted."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sparring.data.limits import MAX_PIXELS, MAX_SCANS

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

Size = tuple[int, int]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class Refused(Exception):  # noqa: N818 (a verdict on a file, not a fault of ours)
    """Why one file is left out; the message is what the report says."""


class Picture(NamedTuple):
    """One decoded image: pixels [H, W, C] uint8, or [H, W, 1] uint16 for 16-bit grey."""

    pixels: Pixels
    converted: tuple[str, ...] = ()
    resized: bool = False
    cropped: bool = False


_IS_DEEP = "sparring: 16-bit samples"
_START_OF_SCAN = b"\xff\xda"  # ITU T.81, table B.1; within the data of a scan 0xff is never followed by 0xda
_TARGETS = {"1": "L", "L": "L", "LA": "RGBA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "RGBX": "RGB"}
_TARGETS |= {"CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB"}
_WORDS = {"1": "1-bit", "L": "grey", "LA": "grey with alpha", "P": "palette", "PA": "palette with alpha"}


def open_image(data: bytes) -> Image.Image:
    """The image that a file's bytes hold, its header read and its size within bounds, its pixels not yet decoded.

    Raises `Refused`, or whatever Pillow raises on damaged files. Pillow's warnings must be errors.
    """
    if not data:
        raise Refused("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Refused(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused(f"more than the limit of {MAX_PIXELS} pixels") from None
    if image.width * image.height > MAX_PIXELS:
        raise Refused(f"{image.height}x{image.width} is more than the limit of {MAX_PIXELS} pixels")
    image.info[_IS_DEEP] = any(_is_deep(tile.args) for tile in getattr(image, "tile", ()))  # gone once it is decoded
    if image.format == "JPEG" and data.count(_START_OF_SCAN) > MAX_SCANS:
        raise Refused(f"more than the limit of {MAX_SCANS} scans")
    return image


def upright_size(image: Image.Image) -> Size:
    """(H, W) once the EXIF orientation is applied."""
    # Of a TIFF, Pillow gives the sides as they will be.
    turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def decode(image: Image.Image, size: Size | None = None) -> Picture:
    """Upright pixels of an opened image as grey, RGB or RGBA in 8 bits, or grey in 16, fitted to `size` if given.

    Nothing loses colour or transparency; what has no such form (floats, 32-bit integers) raises `Refused`.
    """
    converted: list[str] = []
    if getattr(image, "is_animated", False):
        converted.append("first frame of several")
    deep_colour = image.mode not in ("I", "I;16", "I;16B", "I;16L") and image.info.get(_IS_DEEP)
    if image.getexif().get(0x0112, 1) in range(2, 9):
        converted.append("EXIF orientation applied")
        image = ImageOps.exif_transpose(image)
    mode, transparent = image.mode, "transparency" in image.info
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):
        if transparent:
            raise Refused("16-bit grey with a transparent level; save it without, or as 8-bit RGBA")
        image.load()
        pixels: Pixels = np.asarray(image).astype(np.uint16)
    else:
        target = "RGBA" if transparent and mode in ("1", "L", "P", "RGB") else _TARGETS.get(mode)
        if target is None:
            raise Refused(f"pixels of kind {mode}; expected 8-bit or 16-bit grey, or 8-bit colour (floats go in .npy)")
        word = _WORDS.get(mode, mode) + (" with transparency" if transparent and mode in ("1", "L", "P", "RGB") else "")
        image.load()
        if mode not in (target, "RGBX"):
            converted.append(f"{word} to {'grey' if target == 'L' else target}")
        if deep_colour:
            converted.append("16-bit colour to 8-bit")
        pixels = np.asarray(image if mode == target else image.convert(target))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if size is None:
        return Picture(pixels, tuple(converted))
    pixels, resized, cropped = fit(pixels, size)
    return Picture(pixels, tuple(converted), resized, cropped)


def _is_deep(args: object) -> bool:
    """Whether a Pillow tile decodes samples of 16 bits: raw mode `RGB;16B` and the like, or a PPM of more levels."""
    for arg in args if isinstance(args, tuple) else (args,):
        if (isinstance(arg, str) and ";16" in arg) or (isinstance(arg, int) and arg == 65535):
            return True
    return False


def fit(pixels: NDArray[Any], size: Size) -> tuple[NDArray[Any], bool, bool]:
    """Pixels [h, w, C] as [H, W, C], and whether they were resized and cropped.

    The shape of things is kept: the centre is cropped to the aspect of H×W (to the nearest whole pixel) and then
    resampled with a Lanczos filter, which averages when it shrinks. Transparent pixels lend no colour to their
    neighbours. uint8, uint16 and float32 in [-1, 1] keep their type and range.
    """
    height, width = size
    h, w = pixels.shape[:2]
    crop_h, crop_w = min(h, max(1, round(w * height / width))), min(w, max(1, round(h * width / height)))
    cropped, resized = (crop_h, crop_w) != (h, w), (crop_h, crop_w) != (height, width)
    top, left = (h - crop_h) // 2, (w - crop_w) // 2
    pixels = pixels[top : top + crop_h, left : left + crop_w]
    if not resized:
        return np.ascontiguousarray(pixels), False, cropped
    target = (width, height)  # Pillow's order
    if pixels.dtype == np.uint8:
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
        out = np.asarray(image.resize(target, Image.Resampling.LANCZOS)).reshape(height, width, -1)
        return out, True, cropped
    planes = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize(target, Image.Resampling.LANCZOS))
        for plane in np.moveaxis(pixels, 2, 0)
    ]
    out = np.stack(planes, axis=2)
    if pixels.dtype == np.uint16:
        return np.clip(np.rint(out), 0, 65535).astype(np.uint16), True, cropped
    return np.clip(out, -1, 1), True, cropped
