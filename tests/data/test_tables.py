"""Tables from files: what each column is taken for, what is left out, and how rows are drawn."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms.table import Categorical, Continuous
from sparring.core.spec import from_json, to_json
from sparring.data.tables import (
    CATEGORIES,
    Mode,
    Rows,
    SampledRows,
    column_lines,
    from_columns,
    load_table,
    merged,
    modes_of,
)
from sparring.train.order import DrawnOrder, Order, order_of


def written(path: Path, columns: dict[str, list[Any]]) -> Path:
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return path


def mixed(count: int = 60) -> dict[str, list[Any]]:
    random = np.random.default_rng(0)
    return {
        "size": [f"{v:.2f}" for v in random.normal(20, 3, count)],
        "age": random.integers(17, 90, count).tolist(),
        "born": [f"19{70 + i % 30}-0{1 + i % 9}-1{i % 7}" for i in range(count)],
        "town": [("Rome", "Oslo", "Bern")[i % 3] for i in range(count)],
        "code": [f"0{10 + i % 4}" for i in range(count)],
        "member": ["yes" if i % 2 else "no" for i in range(count)],
        "grade": [1 + i % 4 for i in range(count)],
        "gap": ["?" if i % 5 == 0 else f"{v:.1f}" for i, v in enumerate(random.normal(0, 1, count))],
        "row": list(range(100, 100 + count)),
        "name": [f"person {i}" for i in range(count)],
        "empty": ["NA"] * count,
        "always": ["same"] * count,
    }


def test_columns_are_taken_for_what_they_are(tmp_path: Path) -> None:
    given = mixed()
    source = load_table(written(tmp_path / "people.csv", given))
    kinds = {column["name"]: column["type"] for column in source.report["columns"]}
    assert kinds == {
        "size": "number",
        "age": "integer",
        "born": "date",
        "town": "category",
        "code": "category",
        "member": "boolean",
        "grade": "category",
        "gap": "number",
        "always": "category",
    }
    notes = "\n".join(source.report["notes"])
    assert "column 'row' left out: it numbers the rows" in notes
    assert "column 'name' left out: 60 of its 60 texts are different" in notes
    assert "column 'empty' left out: all of its 60 values are missing" in notes
    lines = column_lines(source.report)
    assert "gap: number" in lines[7]
    assert lines[7].endswith("12 missing")
    assert lines[8] == "always: category, same 60, constant"
    assert source.spec.name == "people"
    assert source.report["kind"] == "table, CSV"
    assert from_json(to_json(source.spec)) == source.spec


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    given = mixed()
    source = load_table(written(tmp_path / "people.csv", given))
    found = source.form.decode(source.take(torch.arange(60)).x)
    assert found["age"] == given["age"]
    assert found["grade"] == given["grade"]
    for name in ("born", "town", "code", "member", "always"):
        assert found[name] == given[name], name
    assert found["size"] == [float(v) for v in given["size"]]
    assert found["gap"] == [None if v == "?" else float(v) for v in given["gap"]]


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    given = {
        "x": [0.5, 1.25, None, 4.0, 2.0, 3.0] * 5,
        "when": [datetime.date(2020, 1, 1 + i % 28) for i in range(30)],
        "yes": [True, False, True] * 10,
        "kind": ["a", "b", None] * 10,
    }
    pq.write_table(pa.table(given), tmp_path / "t.parquet")
    source = load_table(tmp_path / "t.parquet")
    found = source.form.decode(source.take(torch.arange(30)).x)
    assert found["x"] == given["x"]
    assert found["kind"] == given["kind"]
    assert found["when"] == [str(day) for day in given["when"]]
    assert found["yes"] == [str(value) for value in given["yes"]]


def test_pythons_values_keep_their_types() -> None:
    given = {
        "flag": [True, False, None, True] * 4,
        "number": [0.5, 1.5, 2.5, None] * 4,
        "count": [3, 40, 500, 6000] * 3 + [7, 8, 9, 10],
        "text": ["a", "b", "a", "a"] * 4,
        "moment": [datetime.datetime(2021, 5, day, 12, 30) for day in range(1, 17)],
    }
    source = from_columns(given)
    found = source.form.decode(source.take(torch.arange(16)).x)
    assert found["moment"][1] == "2021-05-02 12:30:00"
    for name in ("flag", "number", "count", "text"):
        assert found[name] == given[name]
        assert [type(v) for v in found[name]] == [type(v) for v in given[name]]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([f"{day:02}/03/2020" for day in range(1, 25)], "date"),  # only days go beyond 12
        ([f"{day:02}/03/2020" for day in range(1, 13)] * 2, "category"),  # days or months: not known
        ([f"{day}.3.2020" for day in range(1, 25)], "left out"),  # another way of writing could not be written back
        ([str(2**60 + i % 3) for i in range(24)], "category"),  # no float holds them all
        ([f"{v}e-3" for v in range(24)], "number"),
        (["1", "2"] * 12, "category"),
        (["1", "inf", "2", "3.5"] * 6, "number"),
    ],
)
def test_unusual_columns(cells: list[str], kind: str, tmp_path: Path) -> None:
    source = load_table(written(tmp_path / "t.csv", {"what": cells, "other": [v / 7 for v in range(len(cells))]}))
    kinds = {column["name"]: column["type"] for column in source.report["columns"]}
    assert kinds.get("what", "left out") == kind


def test_a_number_column_with_a_few_texts_says_which() -> None:
    source = from_columns({"a": [*(str(v / 7) for v in range(59)), "broken"], "b": [1.0 + v / 3 for v in range(60)]})
    assert source.report["notes"] == ["column 'a' left out: 1 of its numbers are none, the first 'broken'; mend them"]


def test_rare_categories_are_learned_as_one_and_come_back_by_frequency() -> None:
    cells = [f"v{i}" for i in range(CATEGORIES)] * 5 + [f"rare{i}" for i in range(60)] + ["rare0"] * 3
    source = from_columns({"kind": cells, "x": np.random.default_rng(0).normal(size=len(cells)).tolist()})
    column = source.form.columns[0]
    assert isinstance(column, Categorical)
    assert len(column.values) == CATEGORIES
    assert column.frequencies[-1] == 63
    assert column.others[0] == "rare0"
    assert column.other_counts[:2] == (4, 1)
    found = source.form.decode(source.take(torch.arange(len(cells))).x)["kind"]
    assert found[: 5 * CATEGORIES] == cells[: 5 * CATEGORIES]
    assert all(str(cell).startswith("rare") for cell in found[5 * CATEGORIES :])


def test_every_position_asks_for_what_its_row_has() -> None:
    random = np.random.default_rng(1)
    a, b = random.integers(0, 3, 40), random.integers(0, 4, 40)
    source = from_columns({"a": [f"a{v}" for v in a], "x": random.normal(size=40).tolist(), "b": [f"b{v}" for v in b]})
    assert source.spec.y_shape == (7,)
    assert len(source) == 40
    x, y = source.take(torch.arange(80))
    assert y is not None
    expected = torch.zeros(80, 7)
    expected[torch.arange(40), torch.from_numpy(a)] = 1
    expected[torch.arange(40, 80), 3 + torch.from_numpy(b)] = 1
    assert torch.equal(y, expected)
    assert torch.equal(x[:40], x[40:])
    first, second = source.form.asked()
    assert torch.equal(x[:40, first], y[:40, :3])
    assert torch.equal(x[:40, second], y[40:, 3:])


def test_training_by_sampling_follows_the_logarithm_of_frequency() -> None:
    kinds, sides = ["common"] * 90 + ["rare"] * 9 + ["once"], ["left", "right"] * 50
    source = from_columns({"kind": kinds, "side": sides, "x": np.arange(100).tolist()[::-1]})
    assert isinstance(source, SampledRows)
    count = 60_000
    index = source.draw(count, torch.Generator().manual_seed(0))
    _, y = source.take(index)
    assert y is not None
    weights = [math.log(1 + n) for n in (90, 1, 9)]  # in alphabetical order
    expected = torch.tensor([*(w / sum(weights) for w in weights), 0.5, 0.5]) / 2
    assert ((y.mean(0) - expected).abs() < 5 * (expected * (1 - expected) / count).sqrt()).all()
    rows = index[y[:, 0] == 1] % 100  # of those that ask for the common, each row as often
    assert (rows < 90).all()
    assert abs(rows.bincount(minlength=90).double().var() / (len(rows) / 90) - 1) < 5 * (2 / 90) ** 0.5


def test_the_order_is_the_sources_own_only_with_categories() -> None:
    conditional = from_columns({"kind": ["a", "b"] * 10, "x": [v / 3 for v in range(20)]})
    assert isinstance(order_of(conditional, 0), DrawnOrder)
    plain = from_columns({"x": [v / 3 for v in range(20)]})
    assert isinstance(order_of(plain, 0), Order)
    assert plain.spec.y_shape == ()
    assert plain.take(torch.tensor([0])).y is None
    ignored = conditional.without_labels()
    assert isinstance(order_of(ignored, 0), Order)
    assert ignored.take(torch.tensor([0])).y is None
    assert "conditions ignored" in ignored.report["notes"][-1]


def test_a_subset_has_its_rows_and_never_draws_others() -> None:
    source = from_columns({"kind": ["a", "b", "c", "a"] * 10, "x": [v / 3 for v in range(40)]})
    part = source.subset(torch.arange(0, 40, 2), "half")  # all but "b" is left: a and c
    assert len(part) == part.report["count"] == 20
    assert part.spec.sha256 != source.spec.sha256
    assert part.form.decode(part.take(torch.arange(20)).x)["kind"] == ["a", "c"] * 10
    assert isinstance(part, SampledRows)
    _, y = part.take(part.draw(500, torch.Generator().manual_seed(0)))
    assert y is not None
    assert y.sum(0)[1] == 0
    assert (y.sum(0)[[0, 2]] > 200).all()


def test_it_goes_to_a_device_with_its_rows() -> None:
    source = from_columns({"kind": ["a", "b"] * 10, "x": [v / 3 for v in range(20)]})
    index = torch.tensor([3, 15])
    moved: Rows = source.to(torch.device("cpu"))
    assert type(moved) is SampledRows
    assert torch.equal(moved.take(index).x, source.take(index).x)


def test_the_same_rows_have_the_same_hash(tmp_path: Path) -> None:
    given = mixed()
    one, two = (load_table(written(tmp_path / f"{n}.csv", given)) for n in "ab")
    assert one.spec.sha256 == two.spec.sha256
    given["age"][7] += 1
    assert load_table(written(tmp_path / "c.csv", given)).spec.sha256 != one.spec.sha256


def test_duplicates_are_counted() -> None:
    source = from_columns({"kind": ["a", "b", "a", "a"], "x": [0.5, 1.5, 0.5, 2.5]})
    assert source.report["duplicates"] == 1
    values = np.random.default_rng(0).normal(size=400)
    values[200:] = values[:200] + 6  # two modes
    twice = from_columns({"x": [*values.tolist(), *values.tolist()]})
    assert twice.form.columns[0].blocks()[1:] != ()
    assert twice.report["duplicates"] == 400, "whichever mode they are written by"


def test_two_modes_are_found_where_they_are() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(-5, 1, 700), random.normal(8, 2, 300)])
    means, deviations, weights = modes_of(values, np.random.default_rng(0))
    assert means == pytest.approx((-5, 8), abs=5 * 2 / 300**0.5)
    assert deviations == pytest.approx((1, 2), rel=0.2)
    assert weights == pytest.approx((0.7, 0.3), abs=0.02)


def test_a_spike_beside_a_hump_is_a_mode_of_its_own() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([np.zeros(500), random.normal(30, 5, 500)])
    means, deviations, _ = modes_of(values, np.random.default_rng(0))
    at = int(np.argmin(deviations))
    assert abs(means[at]) < 0.05
    assert deviations[at] < 0.05
    assert len(means) == 2


def test_values_beyond_all_modes_come_back() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(0, 1, 5000), [60, 400.0, 9000, -7000]]).round(3)
    source = from_columns({"x": values.tolist()})
    np.testing.assert_allclose(source.form.decode(source.take(torch.arange(len(values))).x)["x"], values, atol=1e-3)


def test_modes_nearer_than_two_deviations_are_one_with_their_moments() -> None:
    one, two, far = Mode(0.0, 1.0, 0.5), Mode(1.9, 1.5, 0.25), Mode(30.0, 1.0, 0.25)
    found = sorted(merged([one, two, far]))
    assert found[1] == far
    mean = (0.5 * 0 + 0.25 * 1.9) / 0.75
    second = (0.5 * 1 + 0.25 * (1.5**2 + 1.9**2)) / 0.75
    assert found[0] == pytest.approx((mean, (second - mean**2) ** 0.5, 0.75))
    assert len(merged([one, Mode(2.1, 1.0, 0.5)])) == 2


def test_modes_are_the_same_every_time() -> None:
    given = {"x": np.random.default_rng(0).normal(size=300).tolist()}
    assert from_columns(given).spec == from_columns(given).spec


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.5], "b": [2.5]}, "1 rows; expected at least 2"),
        ({"a": [1, 2], "b": [1]}, r"expected columns of one length, found \[1, 2\]"),
        ({"a": ["x", "x"], "b": [None, None]}, "no column with more than one value is left to learn"),
        ({"a" * 2000: ["x", "y"]}, "a column's name of 2000 characters"),
        ({}, "expected columns of one length"),
    ],
)
def test_what_is_no_table_is_refused(columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        from_columns(columns)


def test_rows_of_unequal_length_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(RequestError, match="line 3 has 3 cells, expected 2"):
        load_table(tmp_path / "bad.csv")


def test_texts_that_are_too_long_are_left_out() -> None:
    source = from_columns({"essay": ["x" * 2000, "y"] * 5, "x": [v / 3 for v in range(10)]})
    assert "texts of up to 2,000 characters" in source.report["notes"][0]


def test_numbers_of_any_size_come_back_or_are_counted() -> None:
    small = [v * 1e-300 for v in (1.0, 2.0, 3.0, 4.5, 7.0)] * 2
    large = [1e90, -1e90, 3.0, 2.5e80, math.inf] * 2
    source = from_columns({"small": small, "large": large})
    found = source.form.decode(source.take(torch.arange(10)).x)
    np.testing.assert_allclose(found["small"], small, rtol=1e-5)
    assert found["large"][:2] == pytest.approx([1e90, -1e90], rel=1e-6)
    assert found["large"][4] is None
    assert source.report["notes"] == ["column 'large': 2 values that are infinite or too large taken as missing"]


def test_a_missing_number_has_a_mode_of_its_own() -> None:
    source = from_columns({"x": [1.5, None, 2.5, 3.5, 4.25, 5.0], "y": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]})
    column = source.form.columns[0]
    assert isinstance(column, Continuous)
    assert column.missing == 1
    assert source.take(torch.tensor([1])).x[0, 0] == 0
