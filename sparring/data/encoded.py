"""Samples that are stored as files of images: what their headers say, and the pixels when they are asked for."""

from __future__ import annotations

import time
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError, SourceError
from sparring.data.limits import printable
from sparring.data.pixels import NAMES, Refused, Size, cut, decode, header, open_image
from sparring.data.streamed import Rows
from sparring.data.tensors import OFFSET

Result = TypeVar("Result")

PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each new try to read what could not be read."""
NEIGHBOURS = 16
"""Samples after a damaged one that are tried in its place."""


class Form(NamedTuple):
    """What all samples of a source are brought to: images [height, width, channels] of 8 bits, or 16 where `deep`."""

    size: Size
    channels: int
    deep: bool
    resize: bool
    """Whether the size was asked for, so that images of other sizes are fitted to it."""


class Seen(NamedTuple):
    """What the headers of many images say together; all of it can be JSON."""

    sizes: Counter[str]
    """By "HxW"."""
    channels: Counter[str]
    """By number of channels, with 16 bits as "deep"."""
    words: Counter[str]

    @staticmethod
    def nothing() -> Seen:
        return Seen(Counter(), Counter(), Counter())

    def look(self, data: bytes) -> str:
        """Counts one more image; or says why it is refused, and counts nothing."""
        try:
            with warnings.catch_warnings():
                # Pillow warns of bombs and broken metadata where it could refuse: here it must refuse.
                warnings.filterwarnings("error", module=r"PIL\.")
                with open_image(data) as image:
                    found = header(image)
        except Refused as error:
            return printable(str(error))
        except Exception as error:  # hostile bytes make decoders raise anything at all
            return printable(f"cannot be decoded ({type(error).__name__}: {error})")
        self.sizes[f"{found.size[0]}x{found.size[1]}"] += 1
        self.channels["deep" if found.deep else str(found.channels)] += 1
        self.words.update(found.converted)
        return ""

    def merge(self, others: Iterable[Seen]) -> Seen:
        for other in others:
            for mine, its in zip(self, other, strict=True):
                mine.update(its)
        return self


def form_of(found: Seen, size: Size | None, where: str) -> Form:
    """What these images are brought to; raises `RequestError` for mixed sizes without `size`, and for mixed depths."""
    deep = found.channels["deep"]
    if 0 < deep < found.channels.total():
        raise RequestError(
            f"{where}: {deep} images of 16 bits among {found.channels.total() - deep} of 8 bits; "
            "save them all as 8-bit, or all as 16-bit grey"
        )
    if size is None and len(found.sizes) > 1:
        common = ", ".join(f"{name} ({count})" for name, count in found.sizes.most_common(5))
        more = f" and {len(found.sizes) - 5} more sizes" if len(found.sizes) > 5 else ""
        raise RequestError(f"{where}: images of mixed sizes: {common}{more}; choose one with --size HxW")
    height, width = (int(side) for side in next(iter(found.sizes)).split("x"))
    channels = 1 if deep else max(int(name) for name in found.channels)
    return Form(size or (height, width), channels, bool(deep), size is not None)


def changes(found: Seen, form: Form) -> dict[str, Any]:
    """The report's `sizes`, `converted`, `resized` and `cropped`."""
    converted = Counter(found.words)
    for name, count in found.channels.items():
        if name != "deep" and int(name) < form.channels:
            converted[f"{NAMES[int(name)]} to {NAMES[form.channels]}, as others need it"] += count
    resized = cropped = 0
    for name, count in found.sizes.items():
        h, w = (int(side) for side in name.split("x"))
        left = cut((h, w), form.size)
        resized += count * (left != form.size)
        cropped += count * (left != (h, w))
    return {
        "sizes": dict(found.sizes.most_common()),
        "converted": dict(sorted(converted.items())),
        "resized": resized,
        "cropped": cropped,
    }


class Files(Protocol):
    """The bytes of image files by number."""

    def __len__(self) -> int: ...

    def fetch(self, number: int) -> bytes:
        """The file of a sample, as it was indexed; raises `SourceError` when that fails again and again."""
        ...

    def name(self, number: int) -> str:
        """What to call a sample in a message."""
        ...

    def labels(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None: ...


class Encoded:
    """A `Reader` of image files, all brought to one form.

    An image whose header is sound may still turn out to be damaged. The next in the source then stands in for it, or
    the one after that: a rule of the data alone, so that every pass over them sees the same. `among` are the samples
    int64 [n], rising, of which one may stand in for another, so that what is held out does not come back; None for all.
    """

    def __init__(self, files: Files, form: Form, among: NDArray[np.int64] | None = None) -> None:
        self.files = files
        self.form = form
        self.among: Sequence[int] | NDArray[np.int64] = range(len(files)) if among is None else among

    def part(self, numbers: NDArray[np.int64]) -> Encoded:
        return Encoded(self.files, self.form, numbers)

    def labels(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return self.files.labels(numbers)

    def read(self, numbers: Sequence[int]) -> Rows:
        taken = np.array(numbers, np.int64)
        x = np.empty((len(numbers), *self.form.size, self.form.channels), np.int16 if self.form.deep else np.uint8)
        replaced = []
        for at, number in enumerate(numbers):  # one by one: files may be many times larger than what is made of them
            reason = self._decode(self.files.fetch(number), x[at])
            if reason:
                name = self.files.name(number)
                replaced.append((name, reason))
                taken[at] = self._stand_in(number, x[at], f"{name}: {reason}")
        return Rows(x, taken, tuple(replaced))

    def _stand_in(self, number: int, out: NDArray[Any], why: str) -> int:
        at = bisect_left(self.among, number)
        for step in range(1, min(NEIGHBOURS, len(self.among) - 1) + 1):
            other = int(self.among[(at + step) % len(self.among)])
            if not self._decode(self.files.fetch(other), out):
                return other
        raise SourceError(f"{why}, and none of the {NEIGHBOURS} samples after it can be decoded")

    def _decode(self, data: bytes, out: NDArray[Any]) -> str:
        """Writes the pixels, and returns '', or says why there are none."""
        form = self.form
        try:
            with open_image(data) as image:
                pixels = decode(image, form.size if form.resize else None).pixels
        except Refused as error:
            return str(error)
        except Exception as error:  # hostile bytes make decoders raise anything at all
            return printable(f"cannot be decoded ({type(error).__name__}: {error})")
        channels, deep = pixels.shape[2], pixels.dtype == np.uint16
        if pixels.shape[:2] != form.size or channels > form.channels or deep != form.deep:
            return "is not what its header says"
        if form.deep:
            out[:] = (pixels ^ np.uint16(OFFSET)).view(np.int16)
            return ""
        out[..., :3] = pixels[..., :3]
        if form.channels == 4:
            out[..., 3] = pixels[..., 3] if channels == 4 else 255
        return ""


class Unlike(Exception):  # noqa: N818 (a verdict on what was read)
    """What is read is no longer what was indexed."""


def again(read: Callable[[], Result], name: Callable[[], str]) -> Result:
    """What `read` gives; where it fails (`OSError`, `Unlike`) it is tried three more times before it is given up.

    Raises `SourceError`, beginning with what `name` gives.
    """
    reason = ""
    for pause in (0.0, *PAUSES):
        if pause:
            time.sleep(pause)
        try:
            return read()
        except OSError as error:
            reason = f"cannot be read ({printable(str(error.strerror or error))})"
        except Unlike:
            reason = "is no longer what was indexed"
    raise SourceError(f"{name()}: {reason}, after {1 + len(PAUSES)} tries; bring the file back as it was")
