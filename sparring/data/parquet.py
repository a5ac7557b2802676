"""Parquet files, read a row group at a time: a column of images as bytes with labels beside it, or columns of numbers.

Needs pyarrow (`pip install 'sparring[parquet]'`). The format: github.com/apache/parquet-format. A column of images is
binary, or a struct of `bytes` and `path` as Hugging Face's `datasets` writes it, whose names of classes are read too.
"""

from __future__ import annotations

import errno
import importlib
import json
import stat
import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError
from sparring.core.protocols import Blocks
from sparring.data.encoded import Seen, Unlike, again
from sparring.data.index import MAX_SAMPLES, ROW, Indices, Part, Parted
from sparring.data.index import Rows as Index
from sparring.data.limits import printable
from sparring.data.streamed import Rows

IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp")
LABELS = ("label", "labels", "fine_label", "cls", "class")
MAX_GROUP = 2**27
"""Bytes that a row group may unpack to: whole groups are read, and a few are held at a time."""
WINDOW = 2**27
"""Bytes of row groups among which samples are mixed, if two groups take no more."""
_KEPT = 3 * WINDOW
_BATCH = 16  # rows unpacked at a time: a page of a few repeated values may unpack to any number of bytes
_MOST_LABELS = 2**16
_MOST_NAMED = 1000
_TOLERANCE = 1e-6
_PANDAS_INDEX = "__index_level_"


class Columns(NamedTuple):
    """What of a table is read."""

    image: str
    """The column of images; '' for a table of numbers."""
    numbers: tuple[str, ...]
    label: str
    """'' where there is none."""
    names: tuple[str, ...]
    """Of the classes, where the file says them."""
    is_bytes: bool
    """Whether all numbers are of 8 bits without a sign."""

    def values(self) -> list[str]:
        """What samples are made of."""
        return [self.image] if self.image else list(self.numbers)


def library(where: str) -> Any:
    """pyarrow.parquet; raises `RequestError` where it is not installed."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise RequestError(f"{where}: reading Parquet needs pyarrow: pip install 'sparring[parquet]'") from None


def index_table(path: Path) -> tuple[Index, dict[str, Any]]:
    """Each sound row of a file, and what is known of all: as of a shard (`shards.index_shard`), with the `columns`, the
    sound rows of each row group (`groups`), the rows before each (`starts`) and the `largest` group in bytes.

    Raises `RequestError` for what is no Parquet, has no columns to learn from, holds groups that are too large, or
    numbers that are missing or not in [-1, 1].
    """
    where = printable(str(path))
    pq = library(where)
    seen, labels, counts = Seen.nothing(), dict[str, int](), Counter[str]()
    rows: list[NDArray[np.void]] = [np.empty(0, ROW)]
    refused: list[tuple[str, str]] = []
    groups, starts, largest, at, num_refused = [], [], 0, 0, 0
    with _opened(path, pq, where) as file:
        columns = _columns(file, where)
        for group in range(file.metadata.num_row_groups):
            starts.append(at)
            size, texts, found = 0, _texts(file, group, columns, where), []
            for batch in _batches(file, group, columns.values(), where):
                size += batch.nbytes
                if at + batch.num_rows > MAX_SAMPLES:
                    raise RequestError(f"{where}: more than {MAX_SAMPLES} rows; cut it into several files")
                for data in _cells(batch, columns, where, at):
                    text = next(texts, None)
                    reason = seen.look(data) if columns.image else ""
                    if reason:
                        num_refused += 1
                        refused += [(f"{printable(path.name)}, row {at}", reason)][: _MOST_NAMED - len(refused)]
                    else:
                        if text is not None:
                            counts[text] += 1
                        number = -1 if text is None else labels.setdefault(text, len(labels))
                        found.append((at, len(data), zlib.crc32(data), number))
                    at += 1
                if len(labels) > _MOST_LABELS:
                    raise RequestError(f"{where}: more than {_MOST_LABELS} different labels; expected classes")
            rows.append(np.array(found, ROW))
            groups.append(len(found))
            largest = max(largest, size)
    sound = np.concatenate(rows)
    about = {
        "seen": seen._asdict(),
        "labels": {text: counts[text] for text in labels},
        "unlabelled": len(sound) - counts.total(),
        "refused": refused,
        "num_refused": num_refused,
        "ignored": {},
        "columns": columns,
        "groups": groups,
        "starts": starts,
        "largest": largest,
    }
    return sound, json.loads(json.dumps(about))


def columns_of(parts: Sequence[Part], where: str) -> Columns:
    """The columns that all files have; raises `RequestError` where they differ."""
    kept = [part.about["columns"] for part in parts]
    found = [Columns(image, tuple(n), label, tuple(names), b) for image, n, label, names, b in kept]
    for part, other in zip(parts, found, strict=True):
        if other != found[0]:
            one, first = (printable(of.path.name) for of in (part, parts[0]))
            raise RequestError(f"{where}: {one} has other columns than {first}")
    return found[0]


def blocks_of(parts: Sequence[Part]) -> Blocks:
    """The row groups as blocks, and as many of them mixed as `WINDOW` has room for."""
    largest = max(part.about["largest"] for part in parts)
    lengths = [count for part in parts for count in part.about["groups"] if count]
    return Blocks(lengths, max(2, min(256, WINDOW // max(1, largest))))


class _Groups(Parted):
    """Row groups, of which the last few that were used are kept: those of a window of the order."""

    def __init__(self, indices: Indices, parts: Sequence[Part], numbers: dict[str, int], columns: Columns) -> None:
        super().__init__(indices, parts, numbers)
        self.columns = columns
        self._kept: OrderedDict[tuple[Path, int], tuple[list[bytes] | NDArray[Any], int]] = OrderedDict()
        self._lock = threading.Lock()

    def name(self, number: int) -> str:
        part, at = self.find(number)
        return printable(f"{part.path}: row {self.rows(part)[at]['offset']}")

    def cell(self, number: int) -> Any:
        """The bytes, or the row of numbers, of a sample, as it was indexed; tried again where that fails."""
        return again(partial(self._cell, number), partial(self.name, number))

    def _cell(self, number: int) -> Any:
        part, at = self.find(number)
        row, _, crc, _ = self.rows(part)[at].item()
        group = int(np.searchsorted(part.about["starts"], row, side="right")) - 1
        cells = self._group(part.path, group)
        inside = row - part.about["starts"][group]
        if inside >= len(cells) or zlib.crc32(cells[inside]) != crc:
            with self._lock:
                self._kept.pop((part.path, group), None)
            raise Unlike
        return cells[inside]

    def _group(self, path: Path, group: int) -> list[bytes] | NDArray[Any]:
        key = path, group
        with self._lock:  # one thread reads a group; those that need it too wait for it
            if key not in self._kept:
                where = printable(str(path))
                try:
                    with _opened(path, library(where), where) as file:
                        batches = _batches(file, group, self.columns.values(), where)
                        cells = [cell for batch in batches for cell in _cells(batch, self.columns, where, 0)]
                except (RequestError, IndexError, OverflowError) as error:
                    raise Unlike from error
                held = np.stack(cells) if cells and isinstance(cells[0], np.ndarray) else cells
                size = held.nbytes if isinstance(held, np.ndarray) else sum(map(len, held))
                self._kept[key] = held, size
                while len(self._kept) > 2 and sum(size for _, size in self._kept.values()) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key][0]


class TableFiles(_Groups):
    """The image files of tables, by number (see `encoded.Files`)."""

    def fetch(self, number: int) -> bytes:
        data: bytes = self.cell(number)
        return data


class TableRows(_Groups):
    """A `Reader` of rows of numbers."""

    def read(self, numbers: Sequence[int]) -> Rows:
        return Rows(np.stack([self.cell(number) for number in numbers]), np.array(numbers, np.int64))

    def part(self, numbers: NDArray[np.int64]) -> TableRows:
        return self


def _opened(path: Path, pq: Any, where: str) -> Any:
    """The file, its footer read; raises `OSError` where it cannot be read, `RequestError` where it is no Parquet."""
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
        raise OSError(errno.EINVAL, "not a regular file")
    with path.open("rb"):  # pyarrow's own errors say less
        pass
    arrow = importlib.import_module("pyarrow")
    try:
        return pq.ParquetFile(str(path))
    except (arrow.ArrowException, ValueError, OSError) as error:
        raise RequestError(f"{where}: cannot be read as Parquet ({_first(error)})") from None


def _columns(file: Any, where: str) -> Columns:
    types = importlib.import_module("pyarrow.types")
    schema = file.schema_arrow
    kinds = {field.name: field.type for field in schema}
    if len(kinds) < len(schema):
        raise RequestError(f"{where}: two columns have the same name")
    label = next((name for name in LABELS if name in kinds and _is_label(kinds[name], types)), "")
    names = _class_names(schema.metadata or {}, label)
    image = next((name for name in IMAGES if name in kinds and _is_image(kinds[name], types)), "")
    if image:
        return Columns(image, (), label, names, False)
    numbers = tuple(
        name
        for name, kind in kinds.items()
        if name != label and not name.startswith(_PANDAS_INDEX) and (types.is_floating(kind) or types.is_integer(kind))
    )
    if not numbers:
        found = ", ".join(f"{printable(name)} ({kind})" for name, kind in list(kinds.items())[:5])
        raise RequestError(
            f"{where}: neither images nor numbers among its columns {found}; expected a column 'image' of bytes, or "
            "columns of numbers in [-1, 1]; or say --kind table"
        )
    return Columns("", numbers, label, names, all(types.is_uint8(kinds[name]) for name in numbers))


def _is_binary(kind: Any, types: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_image(kind: Any, types: Any) -> bool:
    if types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type, types) for field in kind)
    return _is_binary(kind, types)


def _is_label(kind: Any, types: Any) -> bool:
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def _class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...]:
    """The names that `datasets` keeps in a file's metadata for a feature of type ClassLabel."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, ValueError, TypeError, IndexError, RecursionError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _batches(file: Any, group: int, names: list[str], where: str) -> Iterator[Any]:
    """The rows of one group, a few at a time; raises `RequestError` before they take more than `MAX_GROUP`."""
    arrow = importlib.import_module("pyarrow")
    try:
        about = file.metadata.row_group(group)
        claimed = sum(
            column.total_uncompressed_size
            for column in map(about.column, range(about.num_columns))
            if column.path_in_schema.split(".")[0] in names
        )
    except (arrow.ArrowException, ValueError, OSError) as error:  # a name of a column may be no text
        raise RequestError(f"{where}: row group {group} cannot be read ({_first(error)})") from None
    small = (
        f"write it anew with smaller ones: pq.write_table(table, file, row_group_size={max(1, about.num_rows // 16)})"
    )
    if claimed > MAX_GROUP:
        raise RequestError(
            f"{where}: row group {group} unpacks to {claimed >> 20} MiB, more than {MAX_GROUP >> 20}; {small}"
        )
    total = 0
    try:
        is_primitive = importlib.import_module("pyarrow.types").is_primitive
        size = 2**14 if all(is_primitive(file.schema_arrow.field(name).type) for name in names) else _BATCH
        for batch in file.iter_batches(size, row_groups=[group], columns=names, use_threads=False):
            total += batch.nbytes
            if total > MAX_GROUP:
                raise RequestError(f"{where}: row group {group} unpacks to more than {MAX_GROUP >> 20} MiB; {small}")
            yield batch
    except (arrow.ArrowException, ValueError, OSError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(f"{where}: row group {group} cannot be read ({_first(error)})") from None


def _cells(batch: Any, columns: Columns, where: str, first: int) -> Iterator[Any]:
    """The bytes of each image, '' for none; or each row of numbers, float32 or uint8 [D]."""
    if columns.image:
        column = batch.column(columns.image)
        if str(column.type).startswith("struct"):
            column = column.flatten()[[field.name for field in column.type].index("bytes")]
        for value in column:
            yield value.as_py() or b""
        return
    kind = np.uint8 if columns.is_bytes else np.float64
    values = np.empty((batch.num_rows, len(columns.numbers)), kind)
    for i, name in enumerate(columns.numbers):
        column = batch.column(name)
        if column.null_count:
            at = first + column.is_null().to_pylist().index(True)
            raise RequestError(f"{where}: row {at} has no {printable(name)}; remove or fill such rows")
        values[:, i] = column.to_numpy(zero_copy_only=False)
    if not columns.is_bytes:
        bad = ~(np.abs(values) <= 1 + _TOLERANCE)
        if bad.any():
            row, i = (int(k) for k in np.argwhere(bad)[0])
            raise RequestError(
                f"{where}: {printable(columns.numbers[i])} is {values[row, i]:g} in row {first + row}; expected finite "
                "numbers in [-1, 1]; 2 * (x - min) / (max - min) - 1 brings each column there; or say --kind table"
            )
        values = values.clip(-1, 1).astype(np.float32)
    yield from values


def _texts(file: Any, group: int, columns: Columns, where: str) -> Iterator[str | None]:
    """The labels of a group, in its order."""
    batches = _batches(file, group, [columns.label], where) if columns.label else ()
    for value in chain.from_iterable(batch.column(0).to_pylist() for batch in batches):
        yield None if value is None else str(value)[:200]


def _first(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0][:200])
