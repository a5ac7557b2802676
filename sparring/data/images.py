"""Folders of images, with or without class sub-folders, and the same inside .zip, .tar, .tar.gz and .tar.xz.

Archives are read member by member in memory, never extracted. Whatever changes a pixel's meaning (palette, CMYK,
orientation, size) is counted in the report; whatever cannot be read is named there with the reason.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import threading
import time
import warnings
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sparring.core.errors import RequestError
from sparring.data.limits import MAX_FILE_BYTES, MAX_PIXELS, max_bytes, max_unpacked, printable
from sparring.data.tensors import Resident, from_arrays

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .webp .bmp .dib .gif .tif .tiff .ppm .pgm .pbm .pnm".split()  # noqa: SIM905
)
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
CHUNK = 16
TINY_SECONDS = 0.001
MAX_BAD = 0.05
"""Share of image files that may be refused before the whole source is."""
SPLIT_FOLDERS = frozenset({"train", "test", "val", "valid", "validation"})

Size = tuple[int, int]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Read = Callable[[], bytes]

# ---------------------------------------------------------------------------------------------------------------------
# One image


class Refused(Exception):  # noqa: N818 (a verdict on a file, not a fault of ours)
    """Why one file is left out; the message is what the report says."""


class Picture(NamedTuple):
    """One decoded image: pixels [H, W, C] uint8, or [H, W, 1] uint16 for 16-bit grey."""

    pixels: Pixels
    converted: tuple[str, ...] = ()
    resized: bool = False
    cropped: bool = False


_TARGETS = {"1": "L", "L": "L", "LA": "RGBA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "RGBX": "RGB"}
_TARGETS |= {"CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB"}
_WORDS = {"1": "1-bit", "L": "grey", "LA": "grey with alpha", "P": "palette", "PA": "palette with alpha"}


def open_image(data: bytes) -> Image.Image:
    """The image that a file's bytes hold, its header read and its size within bounds, its pixels not yet decoded.

    Raises `Refused`, or whatever Pillow raises on damaged files. Pillow's warnings must be errors (see `_strictly`).
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
    return image


def upright_size(image: Image.Image) -> Size:
    """(H, W) once the EXIF orientation is applied."""
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def decode(image: Image.Image, size: Size | None = None) -> Picture:
    """Upright pixels of an opened image as grey, RGB or RGBA in 8 bits, or grey in 16, fitted to `size` if given.

    Nothing loses colour or transparency; what has no such form (floats, 32-bit integers) raises `Refused`.
    """
    converted: list[str] = []
    if getattr(image, "is_animated", False):
        converted.append("first frame of several")
    deep_colour = image.mode not in ("I", "I;16", "I;16B", "I;16L") and any(
        _is_deep(tile.args) for tile in getattr(image, "tile", ())
    )
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


# ---------------------------------------------------------------------------------------------------------------------
# Where the files are


class Listing(NamedTuple):
    """All files of a folder or archive. `read` yields (position in `names`, function that reads it) for chosen ones."""

    kind: str
    names: list[str]
    unreadable: list[tuple[str, str]]
    read: Callable[[Sequence[int]], Iterator[tuple[int, Read]]]


def _list_folder(root: Path) -> Listing:
    """Files below a folder. Links are followed, but each real folder is entered once, so loops end."""
    names: list[str] = []
    unreadable: list[tuple[str, str]] = []
    waiting, seen = [""], set[tuple[int, int]]()
    while waiting:
        inside = waiting.pop()
        try:
            info = os.stat(root / inside)  # noqa: PTH116
            if (info.st_dev, info.st_ino) in seen:
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(root / inside) as entries:
                for entry in sorted(entries, key=lambda e: e.name, reverse=True):
                    name = f"{inside}/{entry.name}" if inside else entry.name
                    if not _is_dir(entry):
                        names.append(name)
                    elif not _is_hidden(entry.name):
                        waiting.append(name)
        except OSError as error:
            if not inside:
                raise RequestError(f"{printable(str(root))}: cannot be read ({error.strerror})") from None
            unreadable.append((inside, f"folder cannot be read ({error.strerror})"))

    def read(chosen: Sequence[int]) -> Iterator[tuple[int, Read]]:
        for i in chosen:
            yield i, partial(_read_file, root / names[i])

    return Listing("folder of images", names, unreadable, read)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _read_file(path: Path) -> bytes:
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):  # opening a pipe would wait for ever
        raise Refused("not a regular file")
    if info.st_size > MAX_FILE_BYTES:
        raise Refused(f"{info.st_size} bytes, more than the limit of {MAX_FILE_BYTES}")
    return path.read_bytes()


def _check_member(archive: Path, name: str, is_plain: bool) -> None:
    """Refuses the archive if a member would leave the folder it is unpacked to, or is not a plain file or folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    why = ""
    if name.startswith(("/", "\\")) or PureWindowsPath(name).drive:
        why = "has an absolute path"
    elif ".." in parts:
        why = "has '..' in its path"
    elif not is_plain:
        why = "is a link or device"
    if why:
        raise RequestError(
            f"{printable(str(archive))}: member {printable(name)!r} {why}; expected plain files with relative paths: "
            "pack the images again"
        )


def _list_zip(path: Path, stack: ExitStack) -> Listing:
    archive = stack.enter_context(zipfile.ZipFile(path))
    total, members = 0, []
    for member in archive.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        _check_member(path, member.orig_filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        total += member.file_size
        if not member.is_dir():
            members.append(member)
    _check_total(path, total)

    def read_one(member: zipfile.ZipInfo) -> bytes:
        if member.file_size > MAX_FILE_BYTES:
            raise Refused(f"{member.file_size} bytes, more than the limit of {MAX_FILE_BYTES}")
        with archive.open(member) as file:
            return file.read()  # zipfile stops at the size it announced and checks the CRC

    def read(chosen: Sequence[int]) -> Iterator[tuple[int, Read]]:
        for i in chosen:
            yield i, partial(read_one, members[i])

    return Listing("zip of images", [m.filename for m in members], [], read)


def _check_total(path: Path, total: int) -> None:
    packed = path.stat().st_size
    if total > max_unpacked(packed):
        raise RequestError(
            f"{printable(str(path))}: {packed} bytes claim to unpack to more than {max_unpacked(packed)}; expected an "
            "archive of images, which hardly shrink: unpack it yourself if you trust it, and name the folder"
        )


class _Bounded:
    """The readable side of an unpacking stream that refuses to go on without end."""

    def __init__(self, file: IO[bytes], path: Path, limit: int) -> None:
        self.file, self.path, self.limit, self.total = file, path, limit, 0

    def read(self, count: int) -> bytes:
        data = self.file.read(count)
        self.total += len(data)
        if self.total > self.limit:
            _check_total(self.path, self.total)
        return data


def _tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Members in archive order, in one pass over the stream; `extractfile` of each is valid until the next."""
    with ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(path.open("rb"))
        magic = raw.read(6)
        raw.seek(0)
        if magic[:2] == b"\x1f\x8b":
            raw = cast(IO[bytes], stack.enter_context(gzip.open(raw)))
        elif magic == b"\xfd7zXZ\0":
            raw = cast(IO[bytes], stack.enter_context(lzma.open(raw)))
        bounded = _Bounded(raw, path, max_unpacked(path.stat().st_size))
        archive = stack.enter_context(tarfile.open(fileobj=cast(Any, bounded), mode="r|", bufsize=2**16))
        while (member := archive.next()) is not None:
            yield member, archive
            cast(Any, archive).members.clear()  # or tarfile keeps every header


def _list_tar(path: Path) -> Listing:
    names: list[str] = []
    total = 0
    for member, _ in _tar_members(path):
        _check_member(path, member.name, member.isreg() or member.isdir())
        total += member.size
        _check_total(path, total)
        if member.isreg():
            names.append(member.name)

    def read(chosen: Sequence[int]) -> Iterator[tuple[int, Read]]:
        wanted, at = set(chosen), 0
        for member, archive in _tar_members(path):
            if not member.isreg():
                continue
            if at in wanted:
                yield at, partial(_give, member.size, _tar_bytes(member, archive))
            at += 1

    return Listing("tar of images", names, [], read)


def _tar_bytes(member: tarfile.TarInfo, archive: tarfile.TarFile) -> bytes:
    file = archive.extractfile(member) if member.size <= MAX_FILE_BYTES else None
    return b"" if file is None else file.read()


def _give(size: int, data: bytes) -> bytes:
    if size > MAX_FILE_BYTES:
        raise Refused(f"{size} bytes, more than the limit of {MAX_FILE_BYTES}")
    return data


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


# ---------------------------------------------------------------------------------------------------------------------
# What the names say: which files are images of this split, and of which class


class Chosen(NamedTuple):
    files: list[tuple[int, str]]
    """(position in the listing, class name or ''), ordered by path."""
    ignored: Counter[str]
    """Files that are no images, by suffix."""
    notes: list[str]


def choose(names: Sequence[str], split: str, labels: str, where: str) -> Chosen:
    """Reads the folder structure. A single sub-folder is just nested; several are classes, or train and test.

    Raises `RequestError` when some images lie in class folders and some do not (unless labels == "ignore"), and when
    the split is not there.
    """
    ignored: Counter[str] = Counter()
    notes: list[str] = []
    files: list[tuple[tuple[str, ...], int]] = []
    for i, name in enumerate(names):
        parts = PurePosixPath(name.replace("\\", "/") if "/" not in name else name).parts
        suffix = PurePosixPath(parts[-1]).suffix.lower() if parts else ""
        if any(_is_hidden(p) for p in parts) or suffix not in IMAGE_SUFFIXES:
            ignored["hidden" if any(_is_hidden(p) for p in parts) else suffix or "no suffix"] += 1
        else:
            files.append((parts, i))
    files = _unnest(sorted(files))
    tops = {parts[0] for parts, _ in files if len(parts) > 1}
    at_root = sum(len(parts) == 1 for parts, _ in files)
    splits = {top.lower(): top for top in tops}
    has_splits = not at_root and len(tops) > 1 and "train" in splits and splits.keys() <= SPLIT_FOLDERS
    if split not in splits if has_splits else split != "train":
        raise RequestError(f"{where}: has no split {split!r}; expected sub-folders train/ and test/ with images")
    if has_splits:
        taken = [(parts[1:], i) for parts, i in files if parts[0] == splits[split]]
        notes.append(
            f"split {split}: took {len(taken)} images of {splits[split]}/, left {len(files) - len(taken)} of "
            + ", ".join(f"{t}/" for t in sorted(tops - {splits[split]}))
        )
        files = _unnest(taken)
        tops = {parts[0] for parts, _ in files if len(parts) > 1}
        at_root = sum(len(parts) == 1 for parts, _ in files)
    if labels == "ignore":
        if tops:
            notes.append("labels ignored as asked: class folders set aside, training is unconditional")
        return Chosen([(i, "") for _, i in files], ignored, notes)
    if tops and at_root:
        raise RequestError(
            f"{where}: labels missing for {at_root} of {len(files)} images: they lie beside the class folders "
            f"({', '.join(printable(t) for t in sorted(tops)[:3])}{', ...' if len(tops) > 3 else ''}); move them into "
            "class folders, or set labels=ignore"
        )
    return Chosen([(i, parts[0] if tops else "") for parts, i in files], ignored, notes)


def _unnest(files: list[tuple[tuple[str, ...], int]]) -> list[tuple[tuple[str, ...], int]]:
    """Drops leading folders that hold everything."""
    while files and all(len(parts) > 1 and parts[0] == files[0][0][0] for parts, _ in files):
        files = [(parts[1:], i) for parts, i in files]
    return files


# ---------------------------------------------------------------------------------------------------------------------
# All of them


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
                listing = _list_folder(path)
            elif path.suffix.lower() == ".zip":
                listing = _list_zip(path, stack)
            else:
                listing = _list_tar(path)
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
