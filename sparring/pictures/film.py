"""The run as a film: the same noise grid from the first images to the last, as a looping GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from sparring.core.errors import RequestError
from sparring.pictures.files import write_whole
from sparring.pictures.ink import font, short_number

MOST_FRAMES, HOLD = 60, 1.5
LARGEST_SIDE = 800
STRIP = 24
"""Pixels of the strip below a frame that tells the images seen."""


def film(
    frames: Sequence[Image.Image | Path | str],
    images_seen: Sequence[int],
    path: Path | str,
    *,
    seconds: float = 6.0,
    most_bytes: int = 4_000_000,
) -> None:
    """Write sample grids as a GIF that loops for ever, each frame captioned with the images seen at that time.

    `frames` are pictures or their files, in order, all of one size; beyond `MOST_FRAMES` they are thinned evenly,
    the first and the last kept. The film lasts about `seconds` (a frame at least 0.04 s and at most 0.5 s), then holds
    the last frame for `HOLD` s. Frames are reduced to `LARGEST_SIDE` pixels, and further until the file is within
    `most_bytes`. Atomic; raises `RequestError` when frames are missing, differ in size or `path` cannot be written.
    """
    if len(frames) != len(images_seen) or not frames:
        raise RequestError(f"a film needs frames and the images seen at each: {len(frames)} and {len(images_seen)}")
    if seconds <= 0:
        raise RequestError(f"a film lasts more than 0 seconds, found {seconds}")
    kept = thin(len(frames), MOST_FRAMES)
    pictures = [_load(frames[i]) for i in kept]
    for picture, i in zip(pictures, kept, strict=True):
        if picture.size != pictures[0].size:
            raise RequestError(
                f"frame {i} of the film is {picture.size}, the first is {pictures[0].size}: use one size"
            )
    if len({picture.mode for picture in pictures}) > 1:
        pictures = [picture.convert("RGB") for picture in pictures]
    captions = [f"{short_number(images_seen[i])} images seen" for i in kept]
    each = 10 * round(100 * min(0.5, max(0.04, seconds / len(pictures))))  # GIF counts hundredths of a second
    durations = [each] * (len(pictures) - 1) + [int(1000 * HOLD)]

    scale = min(1.0, LARGEST_SIDE / max(pictures[0].size))
    data = _encode(pictures, captions, durations, scale)
    while len(data) > most_bytes and scale * min(pictures[0].size) > 32:
        scale *= min(0.9, (most_bytes / len(data)) ** 0.5)
        data = _encode(pictures, captions, durations, scale)
    write_whole(Path(path), data)


def thin(number: int, most: int) -> list[int]:
    """At most `most` of the positions 0 ... number - 1, evenly spread, the first and the last among them.

    >>> thin(3, 60), thin(9, 5), thin(10, 4)
    ([0, 1, 2], [0, 2, 4, 6, 8], [0, 3, 6, 9])
    """
    if number <= most:
        return list(range(number))
    return [round(k * (number - 1) / (most - 1)) for k in range(most)]


def _load(frame: Image.Image | Path | str) -> Image.Image:
    if isinstance(frame, Image.Image):
        return frame if frame.mode == "L" else frame.convert("RGB")
    try:
        with Image.open(frame) as opened:
            return opened.copy() if opened.mode == "L" else opened.convert("RGB")
    except OSError as error:
        raise RequestError(f"{frame} cannot be read as a frame of the film: {error}") from error


def _encode(pictures: list[Image.Image], captions: list[str], durations: list[int], scale: float) -> bytes:
    pictures = [_captioned(p, c, scale) for p, c in zip(pictures, captions, strict=True)]
    if pictures[0].mode == "RGB":
        # One palette for the whole film: a palette per frame makes still parts flicker and the file larger.
        some = [pictures[i] for i in thin(len(pictures), 8)]
        sheet = Image.new("RGB", (some[0].width, some[0].height * len(some)))
        for n, picture in enumerate(some):
            sheet.paste(picture, (0, n * picture.height))
        palette = sheet.quantize(255)
        pictures = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    out = io.BytesIO()
    pictures[0].save(
        out, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True, disposal=1
    )
    return out.getvalue()


def _captioned(picture: Image.Image, caption: str, scale: float) -> Image.Image:
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    width = max(size[0], 160)  # room for the caption under a very narrow grid
    canvas = Image.new(picture.mode, (width, size[1] + STRIP), (24,) * len(picture.getbands()))
    canvas.paste(picture, ((width - size[0]) // 2, 0))
    pen = ImageDraw.Draw(canvas)
    pen.text((8, size[1] + STRIP / 2), caption, fill=(235,) * len(picture.getbands()), font=font(14), anchor="lm")
    return canvas
