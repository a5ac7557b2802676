"""Folders of images, with or without class sub-folders, and the same inside .zip, .tar, .tar.gz and .tar.xz.

Whatever changes a pixel's meaning (palette, CMYK, orientation, size) is counted in the report; whatever cannot be read
is named there with the reason.
"""

from __future__ import annotations

import lzma
import os
import struct
import tarfile
import threading
import time
import warnings
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError
from sparring.data.limits import max_bytes, printable
from sparring.data.listing import IMAGE_SUFFIXES, Listing, Read, choose, list_folder, list_tar, list_zip
from sparring.data.pixels import Picture, Pixels, Refused, Size, decode, fit, open_image, upright_size
from sparring.data.tensors import Resident, from_arrays

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
CHUNK = 16
TINY_SECONDS = 0.001
MAX_BAD = 0.05
"""Share of image files that may be refused before the whole source is."""
NOTED_BAD = 0.01
"""Share of them that is said in a note, which every command shows, and not only listed."""


class _Outcome(NamedTuple):
    position: int
    size: Size | None
    """As found; None if even the header could not be read."""
    picture: Picture | None
    refused: str


class _Decoder:
    """What the decoding threads share: the memory they may fill, and whether sizes turned out to be mixed."""

    def __init__(self, size: Size | None, where: str) -> None:
        self.size = size
        self.where = where
        self.mixed = False  # then only headers are read, to list the sizes
        self._free = max_bytes()
        self._lock = threading.Lock()

    def __call__(self, chunk: list[tuple[int, Read]]) -> list[_Outcome]:
        return [self._one(position, read) for position, read in chunk]

    def _one(self, position: int, read: Read) -> _Outcome:
        size: Size | None = None
        try:
            with open_image(read()) as image:
                size = upright_size(image)
                self._claim(self.size or size, image.mode)
                return _Outcome(position, size, None if self.mixed else decode(image, self.size), "")
        except RequestError:
            raise
        except Refused as error:
            return _Outcome(position, size, None, str(error))
        except OSError as error:
            return _Outcome(position, size, None, f"cannot be read ({error.strerror or error})")
        except Exception as error:  # hostile bytes make decoders raise anything at all
            return _Outcome(position, size, None, f"cannot be decoded ({type(error).__name__}: {error})")

    def _claim(self, size: Size, mode: str) -> None:
        channels = 1 if mode in ("L", "1") else 2 if mode.startswith("I;16") else 4 if mode == "RGBA" else 3
        with self._lock:
            self._free -= 0 if self.mixed else size[0] * size[1] * channels
            if self._free < 0:
                raise RequestError(
                    f"{self.where}: the images take more than half of this machine's memory ({max_bytes() >> 20} MiB); "
                    "give a smaller --size HxW"
                )


def _in_order(work: _Decoder, items: Iterable[tuple[int, Read]]) -> Iterator[_Outcome]:
    """Decodes in threads, a bounded number of files ahead, and yields the outcomes in order.

    Tiny images stay on this thread: there, handing the interpreter's lock around costs more than the threads give.
    """
    workers = os.cpu_count() or 1
    source, waiting = iter(items), deque[Future[list[_Outcome]]]()
    chunk = list(islice(source, CHUNK))
    started = time.perf_counter()
    yield from work(chunk)
    is_tiny = time.perf_counter() - started < CHUNK * TINY_SECONDS
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(source, CHUNK)):
            if is_tiny:
                yield from work(chunk)
                continue
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > 3 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, struct.error, UnicodeDecodeError),
    NotImplementedError,  # a packing method or version that zipfile does not know
)


def load_images(
    path: Path,
    *,
    split: str = "train",
    size: Size | None = None,
    labels: Literal["use", "ignore"] = "use",
) -> Resident:
    """All images of a folder or archive, ordered by path, with the class folders' names in sorted order as classes.

    The channels are the fewest that lose nothing: grey, RGB, or RGBA. `size` (H, W) is needed where sizes are mixed.
    Raises `RequestError` for no or one image, mixed sizes without `size`, 16-bit among 8-bit images, images beside
    class folders, more than 5 % bad files, and archives that are damaged or hostile.
    """
    started = time.perf_counter()
    where = printable(str(path))
    with ExitStack() as stack:
        try:
            if path.is_dir():
                listing = list_folder(path)
            elif path.suffix.lower() == ".zip":
                listing = list_zip(path, stack)
            else:
                listing = list_tar(path)
            source = _load(listing, path, where, split, size, labels)
        except (OSError, EOFError, *_DAMAGED) as error:
            reason = printable(str(error))
            raise RequestError(
                f"{where}: cannot be read ({reason}); expected a folder or one of {' '.join(ARCHIVE_SUFFIXES)}"
            ) from None
    source.report["seconds"] = round(time.perf_counter() - started, 3)
    return source


def _load(listing: Listing, path: Path, where: str, split: str, size: Size | None, labels: str) -> Resident:
    chosen = choose(listing.names, split, labels, where)
    total = len(chosen.files) + len(listing.unreadable)
    if not chosen.files:
        found = f"{chosen.ignored.total()} other files" if chosen.ignored else "nothing"
        raise RequestError(f"{where}: no images, found {found}; expected files like {' '.join(sorted(IMAGE_SUFFIXES))}")
    if len(chosen.files) < 2:
        raise RequestError(f"{where}: one image only; a generator learns from many, so give at least two")

    rank = {position: at for at, (position, _) in enumerate(chosen.files)}
    pictures: list[Picture | None] = [None] * len(rank)
    refused = [(printable(name), reason) for name, reason in listing.unreadable]
    bad: list[tuple[int, str]] = []
    sizes: Counter[Size] = Counter()  # of the images that could be read
    announced: Counter[Size] = Counter()  # by all headers
    work = _Decoder(size, where)
    with warnings.catch_warnings():
        # Pillow warns of bombs, broken metadata and truncated reads where it could refuse: here it must refuse.
        warnings.filterwarnings("error", module=r"PIL\.")
        for outcome in _in_order(work, listing.read([position for position, _ in chosen.files])):
            at = rank[outcome.position]
            if outcome.size is not None:
                announced[outcome.size] += 1
            if outcome.refused:
                bad.append((at, printable(outcome.refused)))
                continue
            if outcome.size is not None:
                sizes[outcome.size] += 1
            if size is None and len(sizes) > 1:
                work.mixed, pictures = True, []
            else:
                pictures[at] = outcome.picture
    if work.mixed:
        common = ", ".join(f"{h}x{w} ({count})" for (h, w), count in announced.most_common(5))
        more = f" and {len(announced) - 5} more sizes" if len(announced) > 5 else ""
        raise RequestError(f"{where}: images of mixed sizes: {common}{more}; choose one with --size HxW")
    refused += [(printable(listing.names[chosen.files[at][0]]), reason) for at, reason in sorted(bad)]
    if len(refused) > MAX_BAD * total:
        raise RequestError(
            f"{where}: {len(refused)} of {total} image files are bad, more than {MAX_BAD:.0%}; the first is "
            f"{refused[0][0]!r}: {refused[0][1]}; remove or replace them"
        )

    good = [(at, picture) for at, picture in enumerate(pictures) if picture is not None]
    if len(good) < 2:
        raise RequestError(f"{where}: one image only can be read; give at least two")
    converted = Counter(word for _, picture in good for word in picture.converted)
    resized, cropped = (sum(p.resized for _, p in good), sum(p.cropped for _, p in good))
    classes = sorted({label for _, label in chosen.files if label})
    number = {label: i for i, label in enumerate(classes)}
    y = np.array([number[chosen.files[at][1]] for at, _ in good], np.int64) if classes else None
    only = [picture.pixels for _, picture in good]
    del good, pictures
    x = _stack(only, where, converted)
    source = from_arrays(x, y, name=printable(path.name or where), class_names=tuple(map(printable, classes)))
    notes = [*chosen.notes, *source.report["notes"]]
    if len(refused) > NOTED_BAD * total:
        share = f"{len(refused) / total:.1%}".replace("%", " %")
        notes.insert(0, f"{len(refused)} of {total} image files are bad ({share}) and left out: look at them first")
    if chosen.ignored:
        kinds = ", ".join(f"{count} {printable(suffix)}" for suffix, count in chosen.ignored.most_common(5))
        notes.append(f"files that are no images of a known format were ignored: {kinds}")
    if len(classes) == 0 and labels == "use":
        notes.append("no class folders: training is unconditional")
    source.report.update(
        split=split,
        kind=listing.kind,
        sizes={f"{h}x{w}": count for (h, w), count in sizes.most_common()},
        converted=dict(sorted(converted.items())),
        resized=resized,
        cropped=cropped,
        ignored=chosen.ignored.total(),
        refused=[{"file": name, "reason": reason} for name, reason in refused],
        notes=notes,
    )
    return source


_NAMES = {1: "grey", 3: "RGB", 4: "RGBA"}


def _stack(pictures: list[Pixels], where: str, converted: Counter[str]) -> NDArray[Any]:
    """One array [N, H, W, C] of the fewest channels that lose nothing; empties the list as it goes."""
    deep = sum(p.dtype == np.uint16 for p in pictures)
    if 0 < deep < len(pictures):
        raise RequestError(
            f"{where}: {deep} images of 16 bits among {len(pictures) - deep} of 8 bits; "
            "save them all as 8-bit, or all as 16-bit grey"
        )
    channels = max(p.shape[2] for p in pictures)
    x = np.empty((len(pictures), *pictures[0].shape[:2], channels), pictures[0].dtype)
    for at in range(len(pictures) - 1, -1, -1):
        pixels = pictures.pop()
        if pixels.shape[2] < channels:
            converted[f"{_NAMES[pixels.shape[2]]} to {_NAMES[channels]}, as others need it"] += 1
        x[at, ..., :3] = pixels[..., :3]
        if channels == 4:
            x[at, ..., 3] = pixels[..., 3] if pixels.shape[2] == 4 else 255
    return x


def resize_source(source: Resident, size: Size) -> Resident:
    """A source of images whose every image is fitted to `size` (H, W), as `fit` does, and reported so."""
    if not source.spec.is_image:
        raise RequestError(f"{source.spec.name}: --size is for images; these samples are vectors {source.spec.shape}")
    if source.spec.shape[1:] == size:
        return source
    fitted = [fit(pixels, size) for pixels in source.numpy()]
    y = None if source.labels is None else source.labels.numpy()
    x = np.stack([pixels for pixels, _, _ in fitted])
    new = from_arrays(x, y, name=source.spec.name, class_names=source.spec.class_names)
    changed = {key: new.report[key] for key in ("shape", "duplicates", "sha256")}
    counts = {"resized": sum(r for _, r, _ in fitted), "cropped": sum(c for _, _, c in fitted)}
    new.report = source.report | changed | counts
    return new
