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


class Header(NamedTuple):
    """What decoding will make of an image."""

    size: Size
    """Once it is upright."""
    channels: int
    """The fewest that lose nothing: 1, 3 or 4."""
    deep: bool
    """Grey of 16 bits; all else is brought to 8."""
    converted: tuple[str, ...]
    """What of its meaning changes, in words."""


class Picture(NamedTuple):
    """One decoded image: pixels [H, W, C] uint8, or [H, W, 1] uint16 for 16-bit grey."""

    pixels: Pixels
    converted: tuple[str, ...] = ()
    resized: bool = False
    cropped: bool = False


_IS_DEEP = "sparring: 16-bit samples"
_START_OF_SCAN = b"\xff\xda"  # ITU T.81, table B.1; within the data of a scan 0xff is never followed by 0xda
_CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3, "RGBX": 3, "CMYK": 3, "YCbCr": 3, "LAB": 3, "LA": 4, "PA": 4, "RGBA": 4}
_MAY_BE_CLEAR = ("1", "L", "P", "RGB")  # modes beside which a file may name a level or a colour that is transparent
_WORDS = {"1": "1-bit", "L": "grey", "LA": "grey with alpha", "P": "palette", "PA": "palette with alpha"}
NAMES = {1: "grey", 3: "RGB", 4: "RGBA"}
"""What images of so many channels are called."""


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
    turned = image.format != "TIFF" and _orientation(image) >= 5
    return (image.width, image.height) if turned else (image.height, image.width)


def _orientation(image: Image.Image) -> int:
    """From 1, which is upright, to 8. Pillow decodes a PNG to see whether EXIF comes after its pixels."""
    value = image.getexif().get(0x0112, 1)
    return int(value) if value in range(1, 9) else 1


def header(image: Image.Image) -> Header:
    """What decoding will make of an opened image.

    Nothing loses colour or transparency; what has no such form (floats, 32-bit integers) raises `Refused`.
    """
    converted = []
    if getattr(image, "is_animated", False):
        converted.append("first frame of several")
    if _orientation(image) > 1:
        converted.append("EXIF orientation applied")
    mode, size, transparent = image.mode, upright_size(image), "transparency" in image.info
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):
        if transparent:
            raise Refused("16-bit grey with a transparent level; save it without, or as 8-bit RGBA")
        return Header(size, 1, True, tuple(converted))
    if mode not in _CHANNELS:
        raise Refused(f"pixels of kind {mode}; expected 8-bit or 16-bit grey, or 8-bit colour (floats go in .npy)")
    clear = transparent and mode in _MAY_BE_CLEAR
    channels = 4 if clear else _CHANNELS[mode]
    word = _WORDS.get(mode, mode) + (" with transparency" if clear else "")
    if mode != "RGBX" and word != NAMES[channels]:
        converted.append(f"{word} to {NAMES[channels]}")
    if image.info[_IS_DEEP]:
        converted.append("16-bit colour to 8-bit")
    return Header(size, channels, False, tuple(converted))


def decode(image: Image.Image, size: Size | None = None) -> Picture:
    """Upright pixels of an opened image as `header` says, fitted to `size` if given; raises `Refused` as it does."""
    found = header(image)
    if _orientation(image) > 1:
        image = ImageOps.exif_transpose(image)
    image.load()
    if found.deep:
        pixels: Pixels = np.asarray(image).astype(np.uint16)
    else:
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[found.channels]
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if size is None:
        return Picture(pixels, found.converted)
    pixels, resized, cropped = fit(pixels, size)
    return Picture(pixels, found.converted, resized, cropped)


def _is_deep(args: object) -> bool:
    """Whether a Pillow tile decodes samples of 16 bits: raw mode `RGB;16B` and the like, or a PPM of more levels."""
    for arg in args if isinstance(args, tuple) else (args,):
        if (isinstance(arg, str) and ";16" in arg) or (isinstance(arg, int) and arg == 65535):
            return True
    return False


def cut(found: Size, size: Size) -> Size:
    """The sides [h, w] that are left of an image of sides `found` once it has the aspect of `size`, to a pixel."""
    (h, w), (height, width) = found, size
    return min(h, max(1, round(w * height / width))), min(w, max(1, round(h * width / height)))


def fit(pixels: NDArray[Any], size: Size) -> tuple[NDArray[Any], bool, bool]:
    """Pixels [h, w, C] as [H, W, C], and whether they were resized and cropped.

    The shape of things is kept: the centre is cropped to the aspect of H×W (to the nearest whole pixel) and then
    resampled with a Lanczos filter, which averages when it shrinks. Transparent pixels lend no colour to their
    neighbours. uint8, uint16 and float32 in [-1, 1] keep their type and range.
    """
    height, width = size
    h, w = pixels.shape[:2]
    crop_h, crop_w = cut((h, w), size)
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
