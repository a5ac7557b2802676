"""Tables of text: CSV and TSV files, columns of cells by name, and columns of cells as numbers.

Read with Python's own `csv` (RFC 4180 with any delimiter). What is a formula to other programs ("=1+1") is text here.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError
from sparring.data.limits import max_bytes, printable
from sparring.data.lines import read_lines

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
MOST_COLUMNS = 4096
LONGEST_NAME = 200
"""Characters of a column's name."""
_CELL_BYTES = 64
"""About what a cell takes in memory."""
MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "#n/a", "missing"))
"""Cells that say that there is no value, in small letters."""
_DELIMITERS = "\t;|,"  # in the order in which they are believed: a comma may also stand within numbers
SEEN = 4096
"""Rows from which can be told what a table holds."""
_SEEN = 200  # lines from which the delimiter and the header are told
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)?(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_MOST_DIGITS = 12


class Columns(NamedTuple):
    """Cells as they stand in the file, without the blanks around them."""

    names: tuple[str, ...]
    """All different; `column 1`, `column 2`, ... where the file has no header."""
    cells: list[list[str]]
    """A list for each column, all equally long."""
    delimiter: str
    first_line: int
    """The line of the first row, from 1."""
    notes: list[str]


class Numbers(NamedTuple):
    """A column of numbers."""

    values: NDArray[np.float64]
    """NaN where a value is missing; otherwise as it stands, infinite ones too."""
    decimals: int
    """The most digits after the point; -1 where some have an exponent or more than 12 of them."""
    note: str
    """How commas were read, if there were any."""


def read_csv(path: Path, rows: int | None = None) -> Columns:
    """All of a CSV or TSV file, packed by gzip or not, or at least the first `rows` of them.

    The delimiter is the one of tab, semicolon, bar and comma that cuts all rows alike. The first row is a header
    unless it holds a number where no other cell of it stands above numbers. Empty lines are left out.
    Raises `RequestError` as `read_lines` does, for rows of unequal length, with the line, quotes that are never closed,
    names that are there twice, no rows at all, and more columns or cells than can be held.
    """
    where = printable(str(path))
    lines = read_lines(path)
    head = list(islice(lines, _SEEN))
    delimiter = "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else _delimiter(head)
    reader = _rows(chain(head, lines), delimiter, where)
    sample = list(islice(reader, _SEEN))
    if not sample:
        raise RequestError(f"{where}: no rows; expected a header and a line for each row")
    width, notes = len(sample[0][1]), []
    if width > MOST_COLUMNS:
        raise RequestError(f"{where}: {width:,} columns; expected at most {MOST_COLUMNS:,}")
    names = tuple(f"column {i + 1}" for i in range(width))
    if _has_header([row for _, row in sample]):
        names = _named(sample.pop(0)[1], where)
    else:
        notes.append("no header: the columns are called column 1, column 2, ...")
    if not sample:
        raise RequestError(f"{where}: a header and no rows; expected a line for each row")
    most, cells = max_bytes() // _CELL_BYTES, [list[str]() for _ in names]
    shared: list[dict[str, str]] = [{} for _ in names]
    first_line = sample[0][0]
    following = chain(sample, reader)
    while (rows is None or len(cells[0]) < rows) and (part := list(islice(following, 4096))):
        for number, row in part:
            if len(row) != width:
                raise RequestError(
                    f"{where}: line {number} has {len(row)} cells, expected {width} as in the first; cells that hold "
                    f"{delimiter!r} have to stand in quotes"
                )
        if (len(cells[0]) + len(part)) * width > most:
            raise RequestError(f"{where}: more than {most:,} cells; expected a file that fits into half of the memory")
        for column, once, found in zip(cells, shared, zip(*(row for _, row in part), strict=True), strict=True):
            column += [once.setdefault(cell, cell) for cell in map(str.strip, found)]
            if len(once) > 4096:
                once.clear()
    kept = [i for i, name in enumerate(names) if name or any(cells[i])]
    if len(kept) < width:
        notes.append(f"{width - len(kept)} columns without a name and without a value left out")
    names = tuple(names[i] or f"column {i + 1}" for i in kept)
    return Columns(names, [cells[i] for i in kept], delimiter, first_line, notes)


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.lower() in MISSING


def numbers(columns: Columns, name: str) -> Numbers | None:
    """A column as numbers, or None where some of its cells are neither numbers nor missing.

    A comma is the point of decimals where the file's delimiter is no comma, or where it cannot part thousands
    ("1,5"); in a file with commas "1,234" in quotes is 1234.
    """
    return parse_numbers(columns.cells[columns.names.index(name)], columns.delimiter)


def parse_numbers(cells: Sequence[str], delimiter: str = ",") -> Numbers | None:
    """Cells as numbers, as `numbers` does it.

    >>> parse_numbers(["1.50", "-2", "NA"])
    Numbers(values=array([ 1.5, -2. ,  nan]), decimals=2, note='')
    >>> parse_numbers(["1,5", "2"], ";").values.tolist(), parse_numbers(["1", "two"])
    ([1.5, 2.0], None)
    """
    texts, note = ["nan" if is_missing(cell) else cell for cell in cells], ""
    known = [text for text in texts if text != "nan"]
    if any("," in text for text in known):
        by_thousands = delimiter != ";" and all(_THOUSANDS.fullmatch(t) for t in known if "," in t)
        if by_thousands and delimiter == ",":
            texts, note = [text.replace(",", "") for text in texts], "commas part thousands"
        elif not by_thousands and all(_WITH_COMMA.fullmatch(text) for text in known):
            texts, note = [text.replace(",", ".") for text in texts], "commas are decimal points"
        else:
            return None
        known = [text for text in texts if text != "nan"]
    if not all(_NUMBER.fullmatch(text) for text in known):
        return None
    digits = 0
    for text in known:
        if "e" in text or "E" in text:
            digits = _MOST_DIGITS + 1
        elif "." in text:
            digits = max(digits, len(text) - text.index(".") - 1)
    values = np.array([float(text) for text in texts], np.float64)
    return Numbers(values, digits if digits <= _MOST_DIGITS else -1, note)


def _rows(lines: Iterator[str], delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Each row and the line at which it ends, empty ones left out."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise RequestError(
                f"{where}: line {reader.line_num} is no line of CSV ({error}); expected quotes around a cell that "
                'holds one, and "" within it'
            ) from None
        if any(row) and not (len(row) == 1 and not row[0].strip()):
            yield reader.line_num, row


def _delimiter(head: Sequence[str]) -> str:
    """The delimiter that cuts the most of the first lines into the same number of cells, at least 2."""
    best, found = 0.0, ","
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(head, delimiter=delimiter) if row]
        except csv.Error:
            continue
        width, count = Counter(widths).most_common(1)[0] if widths else (0, 0)
        share = count / len(widths) if width > 1 else 0.0
        if share > best:
            best, found = share, delimiter
    return found


def _has_header(rows: list[list[str]]) -> bool:
    first, others = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    if len(rows) == 1:
        return not any(_is_number(cell) for cell in first)
    if not any(_is_number(cell) for cell in first):
        return True
    above = [i for i, cell in enumerate(first) if not (_is_number(cell) or is_missing(cell.strip()))]
    return any(all(_is_number(row[i]) for row in others) for i in above)


def _is_number(cell: str) -> bool:
    text = cell.strip()
    return bool(_NUMBER.fullmatch(text) or (text and _WITH_COMMA.fullmatch(text)) or _THOUSANDS.fullmatch(text))


def _named(row: list[str], where: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in row)
    for name in names:
        if len(name) > LONGEST_NAME:
            raise RequestError(
                f"{where}: a column's name has {len(name):,} characters, expected at most {LONGEST_NAME}; "
                f"it begins {printable(name[:40])!r}"
            )
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise RequestError(f"{where}: two columns are called {printable(twice[0])!r}; give each its own name")
    return names
