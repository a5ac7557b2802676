"""Where the images are: the files of a folder or archive, and what their names say of split and class.

Archives are read member by member in memory, never extracted.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, NamedTuple, Self, cast

from sparring.core.errors import RequestError
from sparring.data.limits import MAX_FILE_BYTES, MAX_HEADER_BYTES, max_unpacked, printable
from sparring.data.pixels import Refused

IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .webp .bmp .dib .gif .tif .tiff .ppm .pgm .pbm .pnm".split()  # noqa: SIM905
)
SPLIT_FOLDERS = frozenset({"train", "test", "val", "valid", "validation"})

Read = Callable[[], bytes]


class Listing(NamedTuple):
    """All files of a folder or archive. `read` yields (position in `names`, function that reads it) for chosen ones."""

    kind: str
    names: list[str]
    unreadable: list[tuple[str, str]]
    read: Callable[[Sequence[int]], Iterator[tuple[int, Read]]]


def list_folder(root: Path) -> Listing:
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


def check_member(archive: Path, name: str, is_plain: bool) -> None:
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


def list_zip(path: Path, stack: ExitStack) -> Listing:
    with _headers_refused():
        archive = stack.enter_context(zipfile.ZipFile(path))
    total, members = 0, []
    for member in archive.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        check_member(path, member.orig_filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        total += member.file_size
        if not member.filename.endswith("/"):  # `is_dir` fails where there is no name
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


_EXTENDED = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class _Member(tarfile.TarInfo):
    """A member whose header is sound.

    `tarfile` takes a damaged header for the end of the archive, and searches extended headers of any length with
    patterns that take time quadratic in it (CVE-2024-6232).
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf == bytes(tarfile.BLOCKSIZE):  # the end mark
                raise
            raise tarfile.ReadError(f"damaged or cut short: {error if buf else 'no end mark'}") from None
        if member.size < 0:
            raise tarfile.ReadError(f"a member of {member.size} bytes")
        if member.type in _EXTENDED and member.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"an extended header of {member.size} bytes, more than {MAX_HEADER_BYTES}")
        return member


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Members in archive order, in one pass over the stream; `extractfile` of each is valid until the next."""
    with ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(path.open("rb"))
        magic = raw.read(6)
        raw.seek(0)
        if magic[:2] == b"\x1f\x8b":
            raw = cast(IO[bytes], stack.enter_context(gzip.open(raw)))
        elif magic == b"\xfd7zXZ\0":
            raw = cast(IO[bytes], stack.enter_context(lzma.open(raw)))
        bounded = cast(Any, _Bounded(raw, path, max_unpacked(path.stat().st_size)))
        with _headers_refused():
            archive = stack.enter_context(tarfile.open(fileobj=bounded, mode="r|", bufsize=2**16, tarinfo=_Member))
        while True:
            with _headers_refused():
                member = archive.next()
            if member is None:
                return
            yield member, archive
            cast(Any, archive).members.clear()  # or tarfile keeps every header


@contextmanager
def _headers_refused() -> Iterator[None]:
    """Whatever numbers that are none, and headers of headers, raise in the parsers of archives is damage."""
    try:
        yield
    except RequestError:
        raise
    except (ValueError, IndexError, OverflowError, RecursionError) as error:
        raise tarfile.ReadError(f"damaged headers: {error}") from None


def list_tar(path: Path) -> Listing:
    names: list[str] = []
    total = 0
    for member, _ in tar_members(path):
        check_member(path, member.name, member.isreg() or member.isdir())
        total += member.size
        _check_total(path, total)
        if member.isreg():
            names.append(member.name)

    def read(chosen: Sequence[int]) -> Iterator[tuple[int, Read]]:
        wanted, at = set(chosen), 0
        for member, archive in tar_members(path):
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
            "class folders, or leave labels out with --labels ignore"
        )
    return Chosen([(i, parts[0] if tops else "") for parts, i in files], ignored, notes)


def _unnest(files: list[tuple[tuple[str, ...], int]]) -> list[tuple[tuple[str, ...], int]]:
    """Drops leading folders that hold everything."""
    while files and all(len(parts) > 1 and parts[0] == files[0][0][0] for parts, _ in files):
        files = [(parts[1:], i) for parts, i in files]
    return files
