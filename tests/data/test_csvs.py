import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sparring.core.errors import RequestError
from sparring.data import csvs, lines
from sparring.data.csvs import numbers, parse_numbers, read_csv


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_found(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = [["x", "the name"], ["1.5", "a"], ["", ""], ["-2", "b c"]]
    read = read_csv(write(tmp_path / "a.csv", end.join(map(delimiter.join, rows)) + end))
    assert (read.names, read.cells) == (("x", "the name"), [["1.5", "-2"], ["a", "b c"]])
    assert (read.delimiter, read.first_line) == (delimiter, 2)


def test_where_two_delimiters_fit_the_one_that_numbers_lack_is_taken(tmp_path: Path) -> None:
    read = read_csv(write(tmp_path / "a.csv", "1;2,5\n3;4,5\n"))
    assert (read.delimiter, read.cells) == (";", [["1", "3"], ["2,5", "4,5"]])


def test_quotes_marks_and_packed_files(tmp_path: Path) -> None:
    text = '﻿name,"a ""quoted"", long\nname"\n"x, y", =cmd()|1 \n\n\nÄ,"two\r\nlines"\n'
    expected = ("name", 'a "quoted", long\nname'), [["x, y", "Ä"], ["=cmd()|1", "two\r\nlines"]]
    assert read_csv(write(tmp_path / "a.csv", text))[:2] == expected
    assert read_csv(write(tmp_path / "a.csv.gz", gzip.compress(text.encode())))[:2] == expected
    assert read_csv(write(tmp_path / "a.tsv", "a,b\n1,2\n"))[:2] == (("a,b",), [["1,2"]])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n", ("a", "b")),
        ("1,2\n3,4\n", ("column 1", "column 2")),
        ("year,2019,2020\n1,3,4\n", ("year", "2019", "2020")),
        ("2020-01-01,5\n2020-01-02,6\n", ("column 1", "column 2")),
        ("a,b\nx,y\n", ("a", "b")),
        ("NA,1\n2,3\n", ("column 1", "column 2")),
        ("a,,\n1,2,\n", ("a", "column 2")),
    ],
)
def test_headers_are_told_from_rows(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    read = read_csv(write(tmp_path / "a.csv", text))
    assert read.names == names
    assert any("no header" in note for note in read.notes) == (names[0] == "column 1")
    assert any("without a name" in note for note in read.notes) == ("a,," in text)


def test_only_as_many_rows_as_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a\n" + "".join(f"{i}\n" for i in range(10_000)))
    assert len(read_csv(path).cells[0]) == 10_000
    assert read_csv(path).cells[0][9_999] == "9999"
    assert 100 <= len(read_csv(path, 100).cells[0]) < 10_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows; expected a header"),
        (b"\n \n", "no rows"),
        (b"a,b\n", "a header and no rows"),
        (b"a,b\n1,2\n\n3\n4,5\n", "line 4 has 1 cells, expected 2"),
        (b'a,b\n1,"2\n3,4\n', r"line 3 is no line of CSV .*expected quotes"),
        (b'a,b\n1,"2"x\n', "line 2 is no line of CSV"),
        (b'a\n"' + b"x\n" * 70_000, r"is no line of CSV \(field larger"),
        (b"a\n1\n2\0\n", "line 3 has a NUL byte"),
        ("a\n1\n".encode("utf-16"), "text in UTF-16; expected UTF-8"),
        (b"a\n" + b"1\n" * 30_000 + "ä".encode("latin-1"), "byte 60,002 is not UTF-8"),
        (b"a\n" + b"1" * (lines.LONGEST_LINE + 1), "line 2 has more than 1,048,576 characters"),
        (b"a,b,a\n1,2,3\n", "two columns are called 'a'"),
        (b"x" * 300 + b",b\n1,2\n", "a column's name has 300 characters"),
        (b",".join(b"%d" % i for i in range(5000)) + b"\n", "5,000 columns; expected at most 4,096"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=rf"a\.csv: .*{message}") as caught:
        read_csv(write(tmp_path / "a.csv", content))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_are_named_wherever_they_lie(tmp_path: Path) -> None:
    for at in (2**20 - 1, 2**20, 2**20 + 1):  # around the end of what is read at a time
        content = b"a\n" + b"1" * (at - 2 - 2 * 3) + "€".encode() * 2 + b"\xff"
        with pytest.raises(RequestError, match=f"byte {at:,} is not UTF-8"):
            read_csv(write(tmp_path / "a.csv", content.replace(b"1" * 1000, b"1" * 999 + b"\n")))
    with pytest.raises(RequestError, match="byte 3 is not UTF-8"):
        read_csv(write(tmp_path / "a.csv", b"a\n1\xe2\x82"))  # a character cut at the end


def test_packed_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = write(tmp_path / "a.csv.gz", gzip.compress(b"a\n" + b"1\n" * 2**17))
    monkeypatch.setattr("sparring.data.limits.FREE_BYTES", 2**16)
    with pytest.raises(RequestError, match="holds more text than can be read"):
        read_csv(bomb)
    with pytest.raises(RequestError, match=r"b\.csv\.gz: cannot be read"):
        read_csv(write(tmp_path / "b.csv.gz", gzip.compress(b"a\n1\n2\n")[:-9]))
    with pytest.raises(RequestError, match=r"b\.csv\.gz: cannot be read"):
        read_csv(write(tmp_path / "b.csv.gz", b"a,b\n1,2\n"))


def test_cells_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 50)
    monkeypatch.setattr("sparring.data.csvs.max_bytes", lambda: 100 * csvs._CELL_BYTES)
    assert len(read_csv(path).cells[0]) == 50
    path.write_text("a,b\n" + "1,2\n" * 51)
    with pytest.raises(RequestError, match="more than 100 cells"):
        read_csv(path)


def test_cells_that_repeat_are_held_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a\n" + f"{'x' * 1000}\n" * 3000)
    tracemalloc.start()
    read = read_csv(path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read.cells[0]) == 3000
    assert held < 2**19


@pytest.mark.parametrize(
    ("cells", "delimiter", "values", "decimals"),
    [
        (["1", "-2", "+3"], ",", [1, -2, 3], 0),
        (["1.50", ".5", "2."], ",", [1.5, 0.5, 2], 2),
        (["1e3", "2.5E-1"], ",", [1000, 0.25], -1),
        (["0.1234567890123"], ",", [0.1234567890123], -1),
        (["", "NA", "nan", "NULL", "-", "7"], ",", [np.nan] * 5 + [7], 0),
        (["1,5", "2", "-0,25"], ";", [1.5, 2, -0.25], 2),
        (["1,234", "5,678"], ";", [1.234, 5.678], 3),
        (["1,234", "5"], ",", [1234, 5], 0),
        (["1,234,567.5", "5"], ",", [1234567.5, 5], 1),
        (["0,5", "1,5"], "\t", [0.5, 1.5], 1),
        (["inf", "-Infinity", "1e999"], ",", [np.inf, -np.inf, np.inf], -1),
        (["9" * 400], ",", [np.inf], 0),
    ],
)
def test_numbers_as_they_are_written(cells: list[str], delimiter: str, values: list[float], decimals: int) -> None:
    found = parse_numbers(cells, delimiter)
    assert found is not None
    np.testing.assert_array_equal(found.values, values)
    assert found.decimals == decimals
    assert ("commas" in found.note) == any("," in cell for cell in cells)


@pytest.mark.parametrize(
    ("cells", "delimiter"),
    [
        (["1", "x"], ","),
        (["1_000"], ","),
        (["0x10"], ","),
        (["1.234,5"], ";"),
        (["1,234", "5,678"], "\t"),  # thousands, or digits after the point
        (["1 2"], ","),
        (["1,5", "2.5"], ";"),
        (["12:30"], ","),
    ],
)
def test_what_is_no_number_or_may_be_two(cells: list[str], delimiter: str) -> None:
    assert parse_numbers(cells, delimiter) is None


def test_columns_are_read_by_name(tmp_path: Path) -> None:
    read = read_csv(write(tmp_path / "a.csv", "a;b\n1,5;x\n2;y\n"))
    found = numbers(read, "a")
    assert found is not None
    assert found.values.tolist() == [1.5, 2.0]
    assert numbers(read, "b") is None
