"""Where the samples of large files lie: made in one pass over each file, kept in the cache, and checked before use.

An index is one file: a line of JSON, then one record for each sample. It is believed if its own hash is right and the
file that it is of has the size and time of change that it had; if only the time differs, the file is hashed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError
from sparring.core.files import cache_folder, write_atomically
from sparring.data.encoded import Unlike, again
from sparring.data.limits import MAX_FILE_BYTES, printable

VERSION = 4
ROW = np.dtype([("offset", "<i8"), ("length", "<i8"), ("crc", "<u4"), ("label", "<i4")])
"""Of one sample: where its bytes are (or its row of the table), their CRC-32, and its label's place among the labels of
the file, -1 for none."""
MAX_SAMPLES = 2**24
"""Samples of one file: its index is held in memory while its samples are read."""
_KEPT_BYTES = 2**28
_MAX_LINE = 2**26

Rows = NDArray[np.void]


class Part(NamedTuple):
    """One file of many, and what it holds."""

    path: Path
    sha256: str
    num: int
    """Samples in it."""
    about: dict[str, Any]
    """What is known of all its samples together, as JSON."""
    changed: bool = False
    """Whether an index of other content was there before."""


Build = Callable[[Path], tuple[Rows, dict[str, Any]]]
Stamp = tuple[str, str]
"""What says that something is as it was: its size, and when it changed."""


def file_stamp(path: Path) -> Stamp:
    info = path.stat()
    return str(info.st_size), str(info.st_mtime_ns)


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Indices:
    """The indices of files of one kind; `build` makes one from a file. Safe to use from several threads.

    What is indexed may be a folder, if `stamp` and `hashed` say of it what they say of a file.
    """

    def __init__(
        self,
        kind: str,
        build: Build,
        stamp: Callable[[Path], Stamp] = file_stamp,
        hashed: Callable[[Path], str] = file_hash,
    ) -> None:
        self.kind = kind
        self.build = build
        self.stamp = stamp
        self.hashed = hashed
        self._rows: OrderedDict[Path, Rows] = OrderedDict()
        self._lock = threading.Lock()

    def part(self, path: Path) -> Part:
        """What a file holds, from its index, or from the file where it has none.

        Raises `RequestError` for files that cannot be read, change meanwhile, or hold too much.
        """
        where = printable(str(path))
        try:
            before = self.stamp(path)
            kept = self._read_head(path)
            if kept is not None and kept["size"] == before[0]:
                if kept["changed"] == before[1]:
                    return _part(path, kept)
                if kept["sha256"] == self.hashed(path):
                    return _part(path, kept)
            rows, about = self.build(path)
            sha256 = self.hashed(path)
            after = self.stamp(path)
        except OSError as error:
            raise RequestError(f"{where}: cannot be read ({error.strerror or error})") from None
        if len(rows) > MAX_SAMPLES:
            raise RequestError(f"{where}: {len(rows)} samples in one file; expected at most {MAX_SAMPLES}: cut it")
        if before != after:
            raise RequestError(f"{where}: changes while it is read; wait until it is whole")
        head = {
            "version": VERSION,
            "size": after[0],
            "changed": after[1],
            "sha256": sha256,
            "num": len(rows),
            "about": about,
        }
        self._write(path, head, rows)
        return _part(path, head)._replace(changed=kept is not None)

    def rows(self, part: Part) -> Rows:
        """The records [num] of a file's samples, in the order of the file.

        Raises `OSError` or `Unlike` where the index is gone and the file is no longer what it was of.
        """
        with self._lock:
            if part.path in self._rows:
                self._rows.move_to_end(part.path)
                return self._rows[part.path]
        rows = self._read_rows(part)
        if rows is None:  # the cache was emptied meanwhile, or holds the index of what the file became
            try:
                rows, _ = self.build(part.path)
            except RequestError:
                raise Unlike from None
            if len(rows) != part.num or self.hashed(part.path) != part.sha256:
                raise Unlike
        self._keep(part.path, rows)
        return rows

    def _keep(self, path: Path, rows: Rows) -> None:
        with self._lock:
            self._rows[path] = rows
            while len(self._rows) > 1 and sum(kept.nbytes for kept in self._rows.values()) > _KEPT_BYTES:
                self._rows.popitem(last=False)

    def _place(self, path: Path) -> Path:
        name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return cache_folder() / "indices" / f"{name}.{self.kind}"

    def _read_head(self, path: Path) -> dict[str, Any] | None:
        try:
            with self._place(path).open("rb") as file:
                head = json.loads(file.readline(_MAX_LINE))
                sound = isinstance(head, dict) and head.pop("own", "") == _own(head)
        except (OSError, ValueError, RecursionError):
            return None
        return head if sound and head.get("version") == VERSION else None

    def _read_rows(self, part: Part) -> Rows | None:
        head = self._read_head(part.path)
        if head is None or head["sha256"] != part.sha256:
            return None
        try:
            with self._place(part.path).open("rb") as file:
                file.readline(_MAX_LINE)
                data = file.read(ROW.itemsize * part.num + 1)
        except OSError:
            return None
        if len(data) != ROW.itemsize * part.num or hashlib.sha256(data).hexdigest() != head["rows"]:
            return None
        rows = np.frombuffer(data, ROW)
        lengths, labels = rows["length"], rows["label"]
        sound = (rows["offset"] >= 0) & (lengths >= 0) & (lengths <= MAX_FILE_BYTES) & (labels >= -1)
        return rows if bool((sound & (labels < len(part.about["labels"]))).all()) else None

    def _write(self, path: Path, head: dict[str, Any], rows: Rows) -> None:
        data = rows.tobytes()
        head = head | {"rows": hashlib.sha256(data).hexdigest()}
        line = json.dumps(head | {"own": _own(head)})
        place = self._place(path)
        with contextlib.suppress(OSError):  # a cache that can't be written costs time
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, line.encode() + b"\n" + data)
        self._keep(path, rows)


class Parted:
    """Samples of many indexed files by number, in the order of the files; `numbers` are those of the labels' texts."""

    def __init__(self, indices: Indices, parts: Sequence[Part], numbers: dict[str, int]) -> None:
        self.indices = indices
        self.parts = parts
        self.ends = np.cumsum([part.num for part in parts])
        self.numbers = numbers

    def __len__(self) -> int:
        return int(self.ends[-1])

    def find(self, number: int) -> tuple[Part, int]:
        """The file of a sample, and the sample's place in its index."""
        at = int(np.searchsorted(self.ends, number, side="right"))
        return self.parts[at], number - int(self.ends[at] - self.parts[at].num)

    def rows(self, part: Part) -> Rows:
        """The records of a file's samples; raises `SourceError` where they cannot be known again."""
        return again(partial(self.indices.rows, part), partial(printable, str(part.path)))

    def labels(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The classes int64 [n] of these samples; None where there are none."""
        if not self.numbers:
            return None
        parts = np.searchsorted(self.ends, numbers, side="right")
        found = np.empty(len(numbers), np.int64)
        for at in np.unique(parts):
            part, inside = self.parts[at], parts == at
            own = np.array([self.numbers[text] for text in part.about["labels"]], np.int64)
            rows = self.rows(part)[numbers[inside] - (self.ends[at] - part.num)]
            found[inside] = own[rows["label"]]
        return found


def check_sums(parts: Iterable[Part]) -> None:
    """Holds files against `SHA256SUMS` in their folder, as `sha256sum` writes it, where there is one.

    Raises `RequestError`, which names the file, for one whose hash is another.
    """
    sums: dict[Path, dict[str, str]] = {}
    for part in parts:
        folder = part.path.parent
        if folder not in sums:
            try:
                lines = (folder / "SHA256SUMS").read_text("utf-8", "surrogateescape").splitlines()
            except OSError:
                lines = []
            sums[folder] = {line[66:].strip(): line[:64].lower() for line in lines if len(line) > 66}
        expected = sums[folder].get(part.path.name)
        if expected is not None and expected != part.sha256:
            raise RequestError(
                f"{printable(str(part.path))}: has SHA-256 {part.sha256[:12]}..., expected {expected[:12]}... as "
                "SHA256SUMS says; fetch the file again"
            )


def _part(path: Path, head: dict[str, Any]) -> Part:
    return Part(path, head["sha256"], head["num"], head["about"])


def _own(head: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()
