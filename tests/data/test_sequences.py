import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Series
from sparring.data import sequences
from sparring.data.columnar import kind_of
from sparring.data.csvs import read_csv
from sparring.data.moments import evenly_spaced, period_of, stamps
from sparring.data.open import Data, describe
from sparring.data.sequences import load_series
from sparring.data.serial import why_series


def table(path: Path, columns: dict[str, list[object]]) -> Path:
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def hours(count: int) -> list[object]:
    return [f"2024-03-{1 + i // 24:02} {i % 24:02}:00" for i in range(count)]


def values_of(source: object) -> list[np.ndarray]:
    return source.spec.form.decode(source.take(torch.arange(len(source))).x)


def test_a_long_series_is_cut_into_windows(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {"t": hours(120), "a": list(range(120)), "b": [i / 4 for i in range(120)]})
    source = load_series(path)
    assert (len(source), source.spec.shape, source.spec.levels) == (97, (24, 2), 0)
    assert source.spec.form == Series(columns=("a", "b"), low=(0.0, 0.0), high=(119.0, 29.75), decimals=(0, 2))
    assert source.report["overlap"] == 23
    assert any("24 rows, a day, which begin 1 apart" in note for note in source.report["notes"])
    expected = np.arange(24)[:, None] * [1, 0.25]
    for number, found in enumerate(values_of(source)):
        np.testing.assert_allclose(found, expected + number * np.array([1, 0.25]))
    source = load_series(path, window=10, stride=7)
    assert (len(source), source.spec.shape, source.report["overlap"]) == (16, (10, 2), 1)
    assert [found[0, 0] for found in values_of(source)] == list(range(0, 111, 7))
    assert load_series(path, window=10, stride=10).report["overlap"] == 0


@pytest.mark.parametrize(
    ("step", "rows", "name"),
    [(3600, 24, "a day"), (60, 60, "an hour"), (86400, 28, "four weeks"), (30 * 86400, 12, "a year"), (7, None, "")],
)
def test_time_stamps_suggest_the_window(step: int, rows: int | None, name: str) -> None:
    found = period_of(np.arange(9) * -float(step))
    assert (found is None) if rows is None else (found == (rows, name))


def test_short_series_have_short_windows_and_long_ones_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = table(tmp_path / "a.csv", {"a": [math.sin(i) for i in range(20)]})
    assert load_series(short).spec.shape == (5, 1)
    long = table(tmp_path / "b.csv", {"a": [math.sin(i) for i in range(1000)]})
    assert len(load_series(long)) == 977
    monkeypatch.setattr(sequences, "MOST_WINDOWS", 100)
    assert len(load_series(long)) == 98
    monkeypatch.setattr(sequences, "max_bytes", lambda: 98 * 24 * 4)
    assert len(load_series(long)) == 98
    with pytest.raises(RequestError, match=r"samples would take .* a larger source\.stride makes fewer"):
        load_series(long, stride=1)


def test_a_column_tells_series_apart(tmp_path: Path) -> None:
    rows = [(name, i, 10 * i + len(name)) for i in range(3) for name in ("x", "yy", "zzz") if i < 2 or name != "yy"]
    columns = dict(zip(("item", "step", "v"), map(list, zip(*rows, strict=True)), strict=True))
    path = table(tmp_path / "a.csv", columns)
    with pytest.raises(RequestError, match=r"have the same 'step' as another; .* with source\.series, such as .*item"):
        load_series(path)
    source = load_series(path, column="item")
    form = source.spec.form
    assert (form.ragged, form.columns, form.low, form.high) == (True, ("v",), (1.0,), (23.0,))
    x = source.take(torch.arange(3)).x
    assert torch.equal(x[:, :, 1], torch.tensor([[1.0, 1, 1], [1, 1, -1], [1, 1, 1]]))
    assert x[1, 2, 0] == 0
    assert [found[:, 0].tolist() for found in values_of(source)] == [[1, 11, 21], [2, 12], [3, 13, 23]]
    renamed = {("series" if name == "item" else name): cells for name, cells in columns.items()}
    assert load_series(table(tmp_path / "b.csv", renamed)).spec.form.ragged  # found by its name
    with pytest.raises(RequestError, match=r"source\.series: there is no column 'itme'; did you mean 'item'"):
        load_series(path, column="itme")


def test_a_column_of_which_most_values_differ_tells_nothing_apart(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {"id": [0, 0, 5, 2, 1], "v": [3, 1, 4, 1, 5]})
    assert load_series(path, window=3).spec.form.columns == ("id", "v")


def test_long_series_that_are_told_apart_are_cut_too(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {"id": [i // 2000 for i in range(4000)], "v": [math.sin(i) for i in range(4000)]})
    source = load_series(path)
    assert source.spec.shape == (24, 1)
    assert len(source) == 2 * 1977
    source = load_series(path, window=500, stride=500)
    assert len(source) == 8


def test_a_folder_holds_a_series_in_each_file(tmp_path: Path) -> None:
    for number in range(4):
        table(tmp_path / "set" / f"{number}.csv", {"a": [number] * (2 + number), "b": list(range(2 + number))})
    source = Data(source=str(tmp_path / "set")).load()
    assert (source.spec.shape, source.report["lengths"]["series"]) == ((5, 3), 4)
    assert [found[0, 0] for found in values_of(source)] == [0, 1, 2, 3]
    assert [len(found) for found in values_of(source)] == [2, 3, 4, 5]
    table(tmp_path / "set" / "9.csv", {"a": [1], "c": [1]})
    with pytest.raises(RequestError, match=r"9\.csv has the columns a, c, expected those of 0\.csv, a, b"):
        load_series(tmp_path / "set")


def test_a_test_split_has_the_ranges_and_the_length_of_the_training_split(tmp_path: Path) -> None:
    for split, top in (("train", 4), ("test", 8)):
        for number in range(3):
            (tmp_path / split).mkdir(exist_ok=True)
            table(tmp_path / split / f"{number}.csv", {"a": list(range(top + number))})
    data = Data(source=str(tmp_path))
    kept, held = data.load(), data.load_held_out()
    assert held is not None
    assert kept.spec.form == held.spec.form
    assert held.spec.shape == (6, 2)
    assert [found[:, 0].tolist() for found in values_of(held)] == [[0, 1, 2, 3, 4, 5]] * 3
    assert any("3 series cut to 6 rows" in note for note in held.report["notes"])
    table(tmp_path / "test" / "9.csv", {"a": [1, 50]})
    beyond = data.load_held_out()
    assert beyond is not None
    assert values_of(beyond)[3][:, 0].tolist() == [1, 5]
    assert any("beyond the ranges of the training split: 1" in note for note in beyond.report["notes"])


def test_missing_values_are_filled_in_by_straight_lines(tmp_path: Path) -> None:
    columns = {"a": [0, "", 4, "NA", "", 10, 12], "b": ["", 5, 5, 7, 7, 9, "nan"], "c": [3.5] * 7}
    source = load_series(table(tmp_path / "a.csv", columns), window=6, stride=1)
    first, second = values_of(source)
    np.testing.assert_allclose(first[:, 0], [0, 2, 4, 6, 8, 10])
    np.testing.assert_allclose(first[:, 1], [5, 5, 5, 7, 7, 9])
    np.testing.assert_allclose(second[:, 1], [5, 5, 7, 7, 9, 9])
    assert (first[:, 2] == 3.5).all()  # a constant
    assert [column["missing"] for column in source.report["columns"]] == [3, 2, 0]
    notes = " ".join(source.report["notes"])
    assert "filled in by straight lines: a: 3, b: 2" in notes
    assert "one value only, which samples have, too: c" in notes
    assert source.spec.form.decode(torch.randn(1, 6, 3))[0][:, 2].tolist() == [3.5] * 6


def test_a_series_without_values_in_a_column_is_left_out(tmp_path: Path) -> None:
    columns = {"series": [0, 0, 1, 1, 2, 2], "a": [1, 2, "", "", 3, 4]}
    source = load_series(table(tmp_path / "a.csv", columns))
    assert len(source) == 2
    assert source.report["refused"] == [{"file": "1", "reason": "no value at all in column 'a'"}]
    assert "1 series" in describe(source)


def test_rows_are_put_into_the_order_of_time(tmp_path: Path) -> None:
    order = [3, 0, 2, 1, 5, 4]
    mixed = table(tmp_path / "a.csv", {"date": [f"2024-01-0{1 + i}" for i in order], "v": order})
    source = load_series(mixed, window=5)
    assert [found[:, 0].tolist() for found in values_of(source)] == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]
    assert any("put into the order of 'date'" in note for note in source.report["notes"])
    turned = table(tmp_path / "b.csv", {"date": [f"2024-01-0{6 - i}" for i in range(6)], "v": list(range(6))})
    source = load_series(turned, window=5)
    assert values_of(source)[0][:, 0].tolist() == [5, 4, 3, 2, 1]
    assert any("the last moment came first" in note for note in source.report["notes"])
    uneven = table(tmp_path / "c.csv", {"date": ["2024-01-01", "2024-01-02", "2024-03-01"], "v": [1, 2, 3]})
    assert any("longer than others" in note for note in load_series(uneven, window=2).report["notes"])


def test_other_columns_are_left_out_and_named(tmp_path: Path) -> None:
    columns = {"v": [1.5, 2, 3, 4], "when": hours(4), "what": list("abca"), "then": hours(4)}
    source = load_series(table(tmp_path / "a.csv", columns), window=3)
    assert source.spec.form.columns == ("v",)
    notes = " ".join(source.report["notes"])
    assert "'when' tells when" in notes
    assert "not numbers: what, then" in notes


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"a": ["x", "y", "z"]}, {}, "no column of numbers among a"),
        ({"a": [1, 2, 3], "b": ["", "NA", ""]}, {}, "column 'b' has no value at all"),
        ({"a": [1, "1e999", 3]}, {}, "column 'a' holds 1e999 in row 2; expected finite numbers"),
        ({"a": [1, 2, "-inf"]}, {}, "column 'a' holds -inf in row 3"),
        ({"a": [1, "9" * 300, 3]}, {}, "column 'a' holds 9999999"),
        ({"a": [1, 2]}, {}, "2 rows make less than 2 windows"),
        ({"a": [1, 2, 3]}, {"window": 3}, "source.window=3 makes less than 2 windows of 3 rows; expected 2 to 2"),
        ({"a": [1, 2, 3]}, {"window": 1}, "source.window=1"),
        ({"a": [1, 2, 3, 4]}, {"window": 3, "stride": 2}, "1 samples of 3 rows; expected at least two"),
        (
            {"t": hours(2) * 3, "k": list("aabbcc"), "a": range(6)},
            {},
            r"4 of 6 rows have the same 't' .* source.series=k",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, columns: dict[str, list[object]], options: dict[str, int], message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        load_series(table(tmp_path / "a.csv", columns), **options)
    assert str(caught.value).startswith(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"when": hours(5), "v": range(5)}, "'when' holds time stamps in order"),
        ({"when": hours(5)[::-1], "v": range(5)}, "'when' holds time stamps in order"),
        ({"when": hours(5), "name": "abcde", "v": [*range(4), ""]}, "'when' holds time stamps in order"),
        ({"when": hours(5), "name": "abcde"}, ""),
        ({"": [0.5, 1, 1.5], "v": range(3)}, "'column 1' increases by equal steps"),
        ({"Time (s)": [0, 1, 3], "v": range(3)}, "'Time (s)' counts the time"),
        ({"x": [0.1, 0.2, 0.3], "v": range(3)}, "'x' increases by equal steps"),
        ({"series": [0, 0, 1, 1], "step": [0, 1, 0, 1], "v": range(4)}, "'step' counts the time"),
        ({"born": ["1990-02-01", "1980-01-01", "1985-01-01"], "v": range(3)}, ""),
        ({"x": [0.1, 0.2, 0.4], "v": range(3)}, ""),
        ({"x": [0.1, 0.2, 0.3], "v": "abc"}, ""),
        ({"": [0, 1, 2], "v": range(3)}, ""),
        ({"PassengerId": [1, 2, 3], "v": range(3)}, ""),
        ({"v": range(3)}, ""),
        ({"time": [3, 1, 2], "v": range(3)}, ""),
        ({"name": "abc", "time": [1, 2, 3]}, ""),
    ],
)
def test_what_is_series_and_what_is_a_table(tmp_path: Path, columns: dict[str, list[object]], reason: str) -> None:
    path = table(tmp_path / "a.csv", columns)
    assert why_series(read_csv(path)) == reason
    if reason:
        source = Data(source=str(path), window=2).load()
        assert source.report["kind"] == "series"
        assert any(reason in note for note in source.report["notes"])


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00"], [0, 0]),
        (["2024-01-01 00:00", "2024-01-01 00:00:01.500"], [0, 1.5]),
        (["01.01.2024 00:30", "02.01.2024 00:30"], [1800, 88200]),
        (["1/1/2024", "1/2/2024", "1/3/2024"], [0, 86400, 172800]),  # as months first they increase by days
        (["5/1/2024", "6/1/2024", "1/2/2024"], [4 * 86400, 5 * 86400, 31 * 86400]),  # as days first they increase
        (["01/01/2024", "13/01/2024"], [0, 12 * 86400]),
        (["2024-01", "2024-02"], [0, 31 * 86400]),
        (["Jan 2024", "Feb 2024"], [0, 31 * 86400]),
        (["1 Jan 2024", "2 Jan 2024"], [0, 86400]),
    ],
)
def test_time_stamps_are_read(cells: list[str], seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    found = stamps(cells)
    monkeypatch.undo()
    time.tzset()
    assert found is not None
    np.testing.assert_allclose(found - 1_704_067_200, seconds)


@pytest.mark.parametrize(
    "cells", [["1.5"], ["20240101", "20240102"], ["a-b"], ["2024-01-01", "x"], [""], [], ["99-99-99"]]
)
def test_what_is_no_time_stamp(cells: list[str]) -> None:
    assert stamps(cells) is None


def test_equal_steps() -> None:
    assert evenly_spaced(np.arange(1000) * 0.1)
    assert evenly_spaced(np.round(np.arange(1000) / 3, 9))
    for bad in ([1.0, 2.0], [1.0, 2.0, 3.1], [3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [1.0, np.nan, 3.0]):
        assert not evenly_spaced(np.array(bad))


def test_arrays_of_series(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(3, 9, (5, 7, 2))
    x[1, 4:] = np.nan
    x[2, 3, 0] = np.nan
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "a.npz", x=x)
    for name in ("a.npy", "a.npz"):
        source = Data(source=str(tmp_path / name), kind="series").load()
        assert (source.spec.shape, len(source)) == ((7, 3), 5)
        found = values_of(source)
        assert [len(values) for values in found] == [7, 4, 7, 7, 7]
        np.testing.assert_allclose(found[0], x[0], atol=1e-5)
        assert found[2][3, 0] == pytest.approx((x[2, 2, 0] + x[2, 4, 0]) / 2, abs=1e-5)
    np.save(tmp_path / "b.npy", np.arange(20)[:, None])
    source = load_series(tmp_path / "b.npy", window=4)
    assert (source.spec.shape, source.spec.form.decimals) == ((4, 1), (0,))
    for bad, message in ((np.zeros(4), "shape"), (np.array([[1.0], [np.inf]]), "infinite"), (np.array(["x"]), "type")):
        np.save(tmp_path / "c.npy", bad)
        with pytest.raises(RequestError, match=message):
            load_series(tmp_path / "c.npy")
    (tmp_path / "c.npz").write_bytes(b"text")
    with pytest.raises(RequestError, match="not a readable array"):
        load_series(tmp_path / "c.npz")


def test_parquet_files_of_series(tmp_path: Path) -> None:
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    when = [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=i) for i in range(100)]
    columns = {"when": when, "v": [i / 8 for i in range(100)], "gap": [None, *range(99)]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = Data(source=str(tmp_path / "a.parquet")).load()
    assert (source.report["kind"], source.spec.shape, source.spec.form.decimals) == ("series", (24, 2), (3, 0))
    np.testing.assert_allclose(values_of(source)[3][:, 0], np.arange(3, 27) / 8)
    pq.write_table(pa.table({"v": columns["v"], "name": ["x", "y"] * 50}), tmp_path / "b.parquet")
    assert kind_of(tmp_path / "b.parquet") == ("table", "")
    pq.write_table(pa.table({"v": columns["v"], "w": columns["v"]}), tmp_path / "c.parquet")
    assert kind_of(tmp_path / "c.parquet") == ("auto", "")
    assert Data(source=str(tmp_path / "b.parquet"), kind="series").load().report["kind"] == "series"


def test_what_is_held_out_shares_no_row_with_what_is_kept(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {"t": hours(200), "v": list(range(200))})
    data = Data(source=str(path), window=12, hold_out=30)
    kept, held = data.load(), data.load_held_out()
    assert held is not None
    rows = [{int(v) for values in values_of(part) for v in values[:, 0]} for part in (kept, held)]
    assert rows[0] & rows[1] == set()
    assert rows[0] | rows[1] == set(range(200))
    assert len(held) == 30
    with pytest.raises(RequestError, match="11 windows before those overlap"):
        data.replace(hold_out=180).load()
    many = table(tmp_path / "b.csv", {"id": [i // 4 for i in range(80)], "v": list(range(80))})
    data = Data(source=str(many), kind="series", hold_out=5)
    kept, held = data.load(), data.load_held_out()
    assert held is not None
    assert (len(kept), len(held)) == (15, 5)


def test_it_is_a_source_like_others(tmp_path: Path) -> None:
    path = table(tmp_path / "a b.csv", {"t": hours(100), "v\x1b[2m": [i % 7 for i in range(100)]})
    source = Data(source=str(path), labels="ignore").load()
    assert source.spec.name == "a b"
    json.dumps(source.report)
    text = describe(source)
    assert max(map(len, text.splitlines())) <= 80
    assert "77 windows of 24 rows, 1 columns" in text
    assert "\x1b" not in text
    assert source.report["duplicates"] == 70
    with pytest.raises(RequestError, match=r"--size is for images; .* holds series"):
        Data(source=str(path), size=(8, 8)).load()
    with pytest.raises(RequestError, match=r"source\.stream"):
        Data(source=str(path), stream=True).load()
    with pytest.raises(RequestError, match="no split 'test'"):
        Data(source=str(path), split="test").load()
    with pytest.raises(RequestError, match=r"source\.stride=0"):
        Data(source=str(path), stride=0)
