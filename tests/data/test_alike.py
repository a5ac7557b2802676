"""Samples in files mean the same as the reference's, and what it can't say is counted."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparring
from sparring.cli import main
from sparring.core.errors import RequestError
from sparring.core.forms import Series
from sparring.core.protocols import Source
from sparring.data.alike import load_alike
from sparring.data.named import load_named
from sparring.data.open import Data
from sparring.data.outputs import suffixes, write_samples
from sparring.data.sequences import load_series
from sparring.data.tables import from_columns
from sparring.data.tensors import Resident
from sparring.data.texts import load_texts


def rows(path: Path, head: Sequence[object], *cells: Sequence[object]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *cells])
    return path


def random() -> np.random.Generator:
    return np.random.default_rng(0)


@cache  # fitting its modes takes most of the time
def table() -> Source:
    draw = random()
    return from_columns(
        {
            "size": [None if i % 9 == 0 else round(v, 2) for i, v in enumerate(draw.normal(3, 1, 90))],
            "count": [int(v) for v in draw.integers(0, 500, 90)],
            "when": [f"2024-0{1 + i % 9}-1{i % 7}" for i in range(90)],
            "kind": [["a", "b", "c "][i % 3] for i in range(90)],
            "level": [0.25 if i % 4 else 1 / 3 for i in range(90)],
            "open": [i % 2 == 0 for i in range(90)],
            "same": ["x"] * 90,
        }
    )


def whole_series(folder: Path, ragged: bool = False) -> Source:
    draw = random()
    lines = [
        (series, step, f"{draw.normal():.3f}", f"{draw.normal(5):.1f}", 7)
        for series in range(12)
        for step in range(6 - (ragged and series % 3))
    ]
    return load_series(rows(folder / "whole.csv", ("unit", "step", "a", "step_", "same"), *lines), column="unit")


def windows(folder: Path) -> Source:
    values = [(i, f"{np.sin(i):.2f}", 100 + i % 5) for i in range(60)]
    return load_series(rows(folder / "long.csv", ("time", "a", "b"), *values), window=6)


def words(folder: Path) -> Source:
    path = folder / "words.txt"
    path.write_text("\n".join(f"{a}{b}{c}" for a in "btk" for b in "aei" for c in ("", "n", "st")) + "\n")
    return load_texts(path)


def sentences(folder: Path) -> Source:
    path = folder / "sentences.txt"
    path.write_text(
        "\n".join(f"the {a} sees {b}" for a in ("cat", "dog", "owl") for b in ("me", "you", "it", "all")) + "\n"
    )
    return load_texts(path, level="words")


def made(reference: Source, count: int = 40) -> torch.Tensor:
    """What a bad generator of such data gives."""
    x = torch.rand(count, *reference.spec.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    if isinstance(reference.spec.form, Series) and reference.spec.form.ragged:
        x[:, 0, -1] = 1
    return x


MAKERS = {
    "table": lambda folder: table(),
    "whole": whole_series,
    "ragged": lambda folder: whole_series(folder, ragged=True),
    "windows": windows,
    "words": words,
    "sentences": sentences,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_written_samples_are_read_as_they_were(tmp_path: Path, kind: str) -> None:
    """In all files that samples are written to, they stand for what the generator gave."""
    reference = MAKERS[kind](tmp_path)
    form, x = reference.spec.form, made(reference)
    expected = form.decode(x)
    for suffix in suffixes(reference.spec):
        out = tmp_path / f"samples{suffix}"
        write_samples(out, x, reference.spec)
        found = load_alike(out, reference)
        assert (found.spec.form, found.spec.shape, len(found)) == (form, reference.spec.shape, 40)
        assert found.report["notes"] == []
        assert found.report["num_refused"] == 0
        again = form.decode(found.take(torch.arange(40)).x)
        if isinstance(expected, dict) or isinstance(expected[0], str):
            assert again == expected
        else:
            for a, b in zip(again, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("kind", MAKERS)
def test_scores_of_a_file_are_those_of_its_samples(tmp_path: Path, kind: str) -> None:
    reference = MAKERS[kind](tmp_path)
    x = made(reference)
    expected = sparring.score(Resident(x, None, reference.spec, {}), reference).values
    out = tmp_path / f"samples{suffixes(reference.spec)[0]}"
    write_samples(out, x, reference.spec)
    found = sparring.score(load_alike(out, reference), reference).values
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=0.02, abs=2e-3), name


def test_texts_keep_the_empty_ones_and_leave_strange_ones_out(tmp_path: Path) -> None:
    reference, path = words(tmp_path), tmp_path / "a.txt"
    path.write_text("ban\n\nbax\ntestst\n Ü\n")
    found = load_alike(path, reference)
    assert reference.spec.form.decode(found.take(torch.arange(3)).x) == ["ban", "", "test"]
    assert found.report["notes"] == ["1 texts were cut to the reference's length, 4 characters"]
    assert found.report["num_refused"] == 2
    assert found.report["refused"][0] == {"file": "a.txt, line 3", "reason": "'x' is not in the reference"}
    path.write_text("xyz\nban\n")
    with pytest.raises(RequestError, match="1 of 2 lines are made of the reference's characters alone; expected at l"):
        load_alike(path, reference)


def test_series_in_the_references_columns_ends_and_length(tmp_path: Path) -> None:
    reference = windows(tmp_path)
    form = reference.spec.form
    values = [(s, 3.0 if s == 1 and t == 2 else 0.5, "note", 100, t) for s in (4, 1, 2) for t in range(6 - (s == 2))]
    found = load_alike(rows(tmp_path / "a.csv", ("series", "a", "c", "b", "step"), *values), reference)
    assert found.report["notes"] == [
        "columns left out that the reference does not have: c",
        "values beyond the range of the reference: 1; they are taken as its ends",
    ]
    assert found.report["refused"] == [{"file": "2", "reason": "5 rows, expected 6"}]
    decoded = form.decode(found.take(torch.arange(2)).x)
    assert decoded[0].tolist() == [[0.5, 100.0]] * 6
    assert decoded[1][2].tolist() == [form.high[0], 100.0]
    long = rows(tmp_path / "b.csv", ("a", "b"), *((i / 50, 100 + i % 3) for i in range(20)))
    assert len(load_alike(long, reference)) == 15, "a column of the reference is no time, however evenly it grows"
    with pytest.raises(RequestError, match=r"there is no column 'b'; did you mean 'bb'\?"):
        load_alike(rows(tmp_path / "c.csv", ("a", "bb"), (1, 2), (2, 3)), reference)
    with pytest.raises(RequestError, match="column 'b' holds other cells than numbers"):
        load_alike(rows(tmp_path / "c.csv", ("a", "b"), (1, 2), (2, "x")), reference)


def test_whole_series_are_not_cut(tmp_path: Path) -> None:
    reference = whole_series(tmp_path)
    np.save(tmp_path / "long.npy", np.zeros((4, 7, 3)))
    with pytest.raises(RequestError, match=r"long\.npy: series of 7 rows, expected 6 as in the reference"):
        load_alike(tmp_path / "long.npy", reference)
    np.save(tmp_path / "narrow.npy", np.zeros((4, 6, 2)))
    with pytest.raises(RequestError, match=r"shape \[4, 6, 2\]; expected 3 columns in its last axis: a, step_, same"):
        load_alike(tmp_path / "narrow.npy", reference)
    ragged = whole_series(tmp_path, ragged=True)
    np.save(tmp_path / "long.npy", np.zeros((4, 7, 3)))
    with pytest.raises(RequestError, match="series of 7 rows, expected 6"):
        load_alike(tmp_path / "long.npy", ragged)
    x = np.zeros((3, 6, 3))
    x[1, 1:] = np.nan
    np.save(tmp_path / "short.npy", x)
    found = load_alike(tmp_path / "short.npy", ragged)
    assert [len(series) for series in ragged.spec.form.decode(found.take(torch.arange(3)).x)] == [6, 1, 6]


def test_series_of_one_row_are_told_apart(tmp_path: Path) -> None:
    reference = whole_series(tmp_path, ragged=True)
    x = made(reference)
    x[:, 1:, -1] = -1
    write_samples(tmp_path / "a.csv", x, reference.spec)
    assert len(load_alike(tmp_path / "a.csv", reference)) == 40


HEAD = ("size", "count", "when", "kind", "level", "open")
GOOD = ("2.5", "30", "2024-02-11", "a", "0.25", "True")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "d"}, "column 'kind': 'd' is not in the reference"),
        ({"kind": ""}, "column 'kind': no value, where the reference always has one"),
        ({"count": ""}, "column 'count': no value, where the reference always has one"),
        ({"count": "many"}, "column 'count': 'many' is no number"),
        ({"when": "11.2.2024"}, "column 'when': '11.2.2024' is no such date as in the reference"),
        ({"level": "0.26"}, "column 'level': '0.26' is not in the reference"),
        ({"open": "perhaps"}, "column 'open': 'perhaps' is not in the reference"),
    ],
)
def test_rows_that_the_reference_cannot_hold_are_refused(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    bad = tuple(change.get(name, cell) for name, cell in zip(HEAD, GOOD, strict=True))
    found = load_alike(rows(tmp_path / "a.csv", HEAD, GOOD, bad, GOOD), table())
    assert len(found) == 2
    assert found.report["refused"] == [{"file": "a.csv, row 2", "reason": reason}]
    with pytest.raises(RequestError, match=f"1 rows that the reference could hold; .* the first: {reason[:20]}"):
        load_alike(rows(tmp_path / "a.csv", HEAD, GOOD, bad), table())


def test_rows_are_brought_to_the_reference(tmp_path: Path) -> None:
    """Columns by name, cells by what they mean, missing ones where the reference has such, numbers within its range."""
    reference = table()
    head = ("id", "open", "level", "kind", "when", "count", "size")
    path = rows(
        tmp_path / "a.csv",
        head,
        ("p", "False", "0.333333333", "c", "2024-03-12", "90000", "NA"),
        ("q", "True", ".250", "b", "2031-01-01", "12", "inf"),
    )
    found = load_alike(path, reference)
    cells = reference.spec.form.decode(found.take(torch.arange(2)).x)
    high = max(v for v in reference.spec.form.decode(reference.take(torch.arange(90)).x)["count"])
    assert cells["count"] == [high, 12]
    assert cells["size"] == [None, None]
    assert (cells["open"], cells["kind"], cells["level"]) == ([False, True], ["c ", "b"], [1 / 3, 0.25])
    assert (cells["when"][0], cells["when"][1][:4]) == ("2024-03-12", "2024")
    assert found.report["notes"] == [
        "columns left out that the reference does not have: id",
        "column 'count': values beyond the range of the reference: 1; they are taken as its ends",
        "column 'when': values beyond the range of the reference: 1; they are taken as its ends",
    ]
    with pytest.raises(RequestError, match=r"there is no column 'size'; did you mean 'sizes'\?"):
        load_alike(rows(tmp_path / "b.csv", ("sizes", *HEAD[1:]), GOOD, GOOD), reference)


def test_values_never_seen_count_as_rare_where_there_are_rare_ones(tmp_path: Path) -> None:
    names = [f"name {i // 2}" for i in range(240)]
    reference = from_columns({"name": names, "size": random().normal(size=240).round(2).tolist()})
    column = reference.spec.form.columns[0]
    assert column.others
    path = rows(tmp_path / "a.csv", ("name", "size"), (column.values[3], 1), ("nobody", 1), (column.others[0], 1))
    found = load_alike(path, reference)
    assert found.codes[:, 0].tolist() == [3, len(column.values), len(column.values)]
    assert found.report["notes"] == ["column 'name': 1 values that the reference does not have taken as rare ones"]


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("table", "a.txt", r"expected a file that ends in \.csv, \.tsv, .*\.parquet, as table holds table"),
        ("table", "", "expected a file that ends in"),
        ("whole", "a.txt", r"\.npz, as whole holds series"),
        ("words", "a.csv", r"ends in \.txt, \.txt\.gz, as words holds text"),
        ("words", "none.txt", r"none\.txt: no such file; expected one that ends in \.txt"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, kind: str, name: str, message: str) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RequestError, match=message):
        load_alike(tmp_path / name, MAKERS[kind](tmp_path))


def test_images_have_no_form() -> None:
    with pytest.raises(RequestError, match="digits: expected series, texts or a table as the reference"):
        load_alike(Path("a.csv"), load_named("digits", "train"))


def scored(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["score", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_score_of_files_says_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, real, fake = words(tmp_path), tmp_path / "words.txt", tmp_path / "fake.txt"
    fake.write_text("ban\nkist\n\ntest\nxyz\nboooo\n" + "ta\n" * 20)
    found = scored(capsys, fake, "--against", real)
    assert found["samples_sha256"] == load_alike(fake, reference).spec.sha256
    assert found["provenance"]["num_samples"] == 24
    assert f"samples of {fake} left out: 2, the first fake.txt, line 5: 'x' is not in the reference" in found["notes"]
    fake.write_text("ban\nkist\n" + "testst\n" * 20)
    notes = scored(capsys, fake, "--against", real)["notes"]
    assert f"{fake}: 20 texts were cut to the reference's length, 4 characters" in notes


def test_held_out_rows_are_read_by_the_references_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [(f"{v:.3f}", f"{v + w:.3f}", "ab"[int(v > 0)]) for v, w in random().normal(size=(160, 2))]
    head = ("x", "y", "kind")
    real, held = rows(tmp_path / "r.csv", head, *cells[:80]), rows(tmp_path / "h.csv", head, *cells[80:120])
    fake = rows(tmp_path / "f.csv", head, *cells[120:])
    found = scored(capsys, fake, "--against", real, "--held-out", held, "--metrics", "records")
    reference = Data(source=str(real)).load()
    assert found["provenance"]["held_out"]["sha256"] == load_alike(held, reference).spec.sha256


def test_rounding_is_no_change(tmp_path: Path) -> None:
    """Real samples written with nine digits are within the ranges of the columns, and the one value of a constant
    column is that value."""
    x = random().uniform(-2 / 3, 2 / 3, (12, 5, 2))
    x[0, :2, 0], x[:, :, 1] = (-2 / 3, 2 / 3), 2 / 3
    np.save(tmp_path / "real.npy", x)
    reference = load_series(tmp_path / "real.npy")
    held = reference.take(torch.arange(12)).x
    write_samples(tmp_path / "again.csv", held, reference.spec)
    found = load_alike(tmp_path / "again.csv", reference)
    assert found.report["notes"] == []
    np.testing.assert_allclose(found.take(torch.arange(12)).x, held, rtol=0, atol=1e-6)
