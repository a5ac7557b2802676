"""Tables: numbers there and back by hand, what is drawn by its law, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Table
from sparring.core.forms.table import Block, Categorical, Continuous, date_text, seconds_of
from sparring.core.spec import from_json, to_json

NUMBER = Continuous(
    name="n", means=(0.0, 10.0), deviations=(1.0, 2.0), weights=(0.75, 0.25), low=-3.0, high=17.5, digits=1, missing=2
)
KIND = Categorical(name="k", values=(0, True, "a", None), counts=(3, 4, 2, 1))
CONSTANT = Categorical(name="c", values=("same",), counts=(9,))
RARE = Categorical(name="r", values=("x",), counts=(5,), others=("y", "z"), other_counts=(3, 1))
FORM = Table(columns=(NUMBER, KIND, CONSTANT, RARE))


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_blocks_by_hand() -> None:
    expected = [(1, "tanh"), (3, "softmax"), (4, "softmax"), (2, "softmax")]
    assert FORM.blocks() == tuple(Block(*block) for block in expected)  # type: ignore[arg-type]
    assert FORM.width == 10
    assert [place.start for place in FORM.places()] == [0, 1, 4, 8]
    assert FORM.asked() == (slice(4, 8), slice(8, 10))
    assert [column.name for column in FORM.conditional()] == ["k", "r"]
    one = Continuous(name="o", means=(1.0,), deviations=(1.0,), weights=(1.0,), low=0.0, high=2.0)
    assert one.blocks() == (Block(1, "tanh"),), "one mode needs no choice"


def test_rows_by_hand() -> None:
    x = torch.tensor(
        [
            [0.5, 0.9, 0.1, 0.0, 0, 1, 0, 0, 1, 0],  # 0 + 4 · 1 · 0.5
            [0.9, 0.1, 0.9, 0.0, 1, 0, 0, 0, 1, 0],  # 10 + 4 · 2 · 0.9 = 17.2
            [1.0, 0.1, 0.9, 0.0, 0, 0, 1, 0, 1, 0],  # 18, beyond what was observed
            [0.9, 0.1, 0.1, 0.8, 0, 0, 0, 1, 1, 0],  # missing
        ]
    )
    found = FORM.decode(x)
    assert found["n"] == [pytest.approx(2.0), pytest.approx(17.2), 17.5, None]
    assert [(type(v), v) for v in found["k"]] == [(bool, True), (int, 0), (str, "a"), (type(None), None)]
    assert found["c"] == ["same"] * 4
    assert found["r"] == ["x"] * 4


def test_numbers_come_back() -> None:
    values = np.array([-3.0, -0.4, 0.0, 2.3, 5.1, 9.9, 17.5, np.nan])
    for seed in range(10):
        alpha, modes = NUMBER.write(values, random(seed))
        assert alpha.dtype == np.float32
        assert (np.abs(alpha) <= 1).all()
        x = np.concatenate([alpha[:, None], np.eye(3)[modes]], 1)
        np.testing.assert_allclose([np.nan if v is None else v for v in NUMBER.read(x, random())], values, atol=1e-12)


def test_a_value_beyond_a_mode_is_cut_there() -> None:
    far = Continuous(name="f", means=(0.0,), deviations=(1.0,), weights=(1.0,), low=0.0, high=9.0)
    alpha, modes = far.write(np.array([9.0]), random())
    assert alpha.tolist() == [1.0]
    assert modes.tolist() == [0]


def test_a_mode_that_reaches_a_value_goes_before_a_likelier_one_that_does_not() -> None:
    column = NUMBER.replace(means=(0.0, 20.0), deviations=(1.0, 5.0), weights=(0.999, 0.001), missing=0)
    alpha, modes = column.write(np.full(100, 4.5), random())
    assert (modes == 1).all(), "25 times less likely, and 3.1 deviations away instead of 4.5"
    np.testing.assert_allclose(alpha, (4.5 - 20) / 20, rtol=1e-6)


def test_modes_are_drawn_by_their_probability() -> None:
    value, count = 3.5, 40_000
    _, modes = NUMBER.write(np.full(count, value), random())
    densities = [
        w / d * np.exp(-(((value - m) / d) ** 2) / 2)
        for m, d, w in zip(NUMBER.means, NUMBER.deviations, NUMBER.weights, strict=True)
    ]
    expected = densities[1] / sum(densities)
    assert 0.1 < expected < 0.9
    assert abs((modes == 1).mean() - expected) < 5 * (expected * (1 - expected) / count) ** 0.5


def test_moments_are_those_of_the_mixture() -> None:
    drawn = random(1)
    pick = drawn.random(200_000) < 0.25
    sample = np.where(pick, drawn.normal(10, 2, 200_000), drawn.normal(0, 1, 200_000))
    mean, deviation = NUMBER.moments()
    assert mean == pytest.approx(2.5)
    assert deviation == pytest.approx(sample.std(), rel=0.01)


def test_the_rare_are_drawn_by_frequency_and_for_the_same_numbers_alike() -> None:
    x = torch.zeros(8000, 10)
    x[:, 9] = 1
    x[:, 0] = torch.rand(8000, generator=torch.Generator().manual_seed(0))
    found = FORM.decode(x)["r"]
    assert set(found) == {"y", "z"}
    assert abs(found.count("y") / 8000 - 0.75) < 5 * (0.75 * 0.25 / 8000) ** 0.5
    assert FORM.decode(x.clone())["r"] == found
    x[0, 0] += 0.5
    assert FORM.decode(x)["r"] != found


def test_whole_numbers_and_dates_have_their_types() -> None:
    whole = Continuous(name="w", means=(5.0,), deviations=(2.0,), weights=(1.0,), low=0.0, high=9.0, whole=True)
    (first, second) = whole.read(np.array([[0.4], [-0.3]]), random())
    assert [(type(v), v) for v in (first, second)] == [(int, 8), (int, 3)]
    low, high = seconds_of("2020-01-01", "%Y-%m-%d"), seconds_of("2020-12-31", "%Y-%m-%d")
    date = Continuous(
        name="d",
        means=((low + high) / 2,),
        deviations=((high - low) / 8,),
        weights=(1.0,),
        low=low,
        high=high,
        format="%Y-%m-%d",
    )
    assert date.read(np.array([[-1.0], [0.0], [1.0]]), random()) == ["2020-01-01", "2020-07-01", "2020-12-31"]


@pytest.mark.parametrize(("text", "format"), [("1905-02-28", "%Y-%m-%d"), ("2021-03-04 05:06:07", "%Y-%m-%d %H:%M:%S")])
def test_dates_come_back(text: str, format: str) -> None:
    assert date_text(seconds_of(text, format), format) == text


def test_conditions_ask_for_columns_evenly_and_categories_by_frequency() -> None:
    count = 60_000
    y = FORM.conditions(count, torch.Generator().manual_seed(0))
    assert y is not None
    assert y.dtype == torch.float32
    assert (y.sum(1) == 1).all()
    expected = torch.tensor([0.3, 0.4, 0.2, 0.1, 5 / 9, 4 / 9]) / 2
    assert ((y.mean(0) - expected).abs() < 5 * (expected * (1 - expected) / count).sqrt()).all()
    assert Table(columns=(NUMBER, CONSTANT)).conditions(3, torch.Generator()) is None


@pytest.mark.parametrize(
    ("name", "value", "at"),
    [("k", 0, 0), ("k", "0", 0), ("k", True, 1), ("k", "a", 2), ("k", None, 3), ("r", "x", 4), ("r", "z", 5)],
)
def test_one_category_is_asked_for(name: str, value: object, at: int) -> None:
    assert FORM.condition(name, value).tolist() == [float(i == at) for i in range(6)]  # type: ignore[arg-type]


def test_what_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(RequestError, match="column 'n' has no categories to ask for: choose from k, r"):
        FORM.condition("n", 1.0)
    with pytest.raises(RequestError, match="column 'k' has no value 'b'; expected one of 0, True, a, None"):
        FORM.condition("k", "b")
    with pytest.raises(RequestError, match="column 'r' has no value None"):
        FORM.condition("r", None)


def test_it_is_written_as_json() -> None:
    again = from_json(to_json(FORM))
    assert again == FORM
    assert [type(value) for value in again.columns[1].values] == [int, bool, str, type(None)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Table(columns=(NUMBER, NUMBER)), "Table: expected columns of different names, found n, n"),
        (lambda: Table(columns=(CONSTANT,)), "Table: expected a column with more than one value"),
        (lambda: NUMBER.replace(weights=(1.0,)), "a weight for each mode of 'n', found 2, 2 and 1"),
        (lambda: NUMBER.replace(deviations=(1.0, 0.0)), "expected deviations and weights above 0"),
        (lambda: NUMBER.replace(low=20.0), "low <= high in 'n'"),
        (lambda: KIND.replace(counts=(1,)), "expected a count for each value of 'k'"),
        (lambda: RARE.replace(other_counts=(3, 0)), "counts from 1"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RequestError, match=message):
        wrong()
