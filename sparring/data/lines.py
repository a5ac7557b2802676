"""Lines of a text file in UTF-8, also of one packed by gzip: bounded, and refused where they are no text."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from sparring.core.errors import RequestError
from sparring.core.files import size_text
from sparring.data.limits import max_bytes, max_unpacked, printable

LONGEST_LINE = 2**20
"""Characters of one line: a file without line ends is no list of anything."""
_CHUNK = 2**20
_MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def read_lines(path: Path) -> Iterator[str]:
    r"""The lines of a file with their ends, which are \n, \r\n or \r; a mark of UTF-8 at its beginning is left out.

    Raises `RequestError` for bytes that are not UTF-8, with their place, NUL bytes, lines of more than `LONGEST_LINE`
    characters, files that unpack to far more than they are or to more than `limits.max_bytes()`, and damaged ones.
    """
    where = printable(str(path))
    try:
        with _opened(path) as file:
            head = file.read(2)
        if head in _MARKS:
            raise RequestError(f"{where}: text in {_MARKS[head]}; expected UTF-8: iconv -f UTF-16 -t UTF-8 converts it")
        number = 0
        with (
            _opened(path) as file,
            io.TextIOWrapper(cast(IO[bytes], _Bounded(path, file)), "utf-8-sig", newline="") as text,
        ):
            while line := text.readline(LONGEST_LINE):
                number += 1
                if "\0" in line:
                    raise RequestError(f"{where}: line {number} has a NUL byte; expected a text file in UTF-8")
                if len(line) == LONGEST_LINE and line[-1] not in "\r\n":
                    raise RequestError(
                        f"{where}: line {number} has more than {LONGEST_LINE:,} characters; expected a text file with "
                        "line ends"
                    )
                yield line
    except UnicodeDecodeError:
        raise RequestError(
            f"{where}: byte {_first_fault(path):,} is not UTF-8; expected text in UTF-8: iconv -f LATIN1 -t UTF-8 "
            "converts it, if it is Latin-1"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, RequestError):
            raise
        reason = printable((getattr(error, "strerror", None) or str(error))[:200])
        raise RequestError(f"{where}: cannot be read ({reason})") from None


class _Bounded(io.RawIOBase):
    """What a file unpacks to, no more than it may be."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        super().__init__()
        packed = path.stat().st_size
        self._file, self._path = file, path
        self._left = min(max_bytes(), max_unpacked(packed) if _is_packed(path) else max_bytes())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), _CHUNK))
        self._left -= len(data)
        if self._left < 0:
            raise RequestError(
                f"{printable(str(self._path))}: holds more text than can be read at a time; expected at most "
                f"{size_text(max_bytes())}, and of a packed file {size_text(max_unpacked(self._path.stat().st_size))}"
            )
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        if not _is_packed(path):
            yield file
            return
        with gzip.open(file) as unpacked:
            yield cast(IO[bytes], unpacked)


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _first_fault(path: Path) -> int:
    """The place of the first byte that is not UTF-8."""
    decoder, at = codecs.getincrementaldecoder("utf-8")(), 0
    with _opened(path) as file:
        while True:
            data = file.read(_CHUNK)
            kept = len(decoder.getstate()[0])
            try:
                decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                return at - kept + error.start
            if not data:
                return at
            at += len(data)
