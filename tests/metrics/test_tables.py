"""Metrics of tables against numpy, scipy and laws that are known."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats.contingency import association
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms.table import Categorical, Column, Continuous, Table
from sparring.core.protocols import Batch
from sparring.metrics.judge import Judge, Score
from sparring.metrics.metric import Metric
from sparring.metrics.pairs import PARTS, Pairs, contingency_distances, cramers_v, in_parts, pearson, some
from sparring.metrics.records import Records, places, same
from sparring.metrics.utility import Utility, explained, macro_f1, predicted, target_of


def number(name: str) -> Continuous:
    return Continuous(name=name, means=(0.0,), deviations=(1.0,), weights=(1.0,), low=-4.0, high=4.0, digits=4)


def category(name: str, count: int = 3) -> Categorical:
    return Categorical(name=name, values=tuple("abcdefgh"[:count]), counts=(1,) * count)


FORM = Table(columns=(number("x"), number("height"), category("kind"), category("same", 1), category("other")))


def rows(count: int, seed: int, *, tied: bool = True) -> Tensor:
    """x, y near x, the kind by the sign and size of x, and another category that is the kind in four of five rows."""
    random = torch.Generator().manual_seed(seed)
    z, e = torch.randn(2, count, generator=random)
    x = z if tied else torch.randn(count, generator=random)
    kind = 1 + (z > 0.6).long() - (z < -0.6).long()
    drawn = torch.randint(0, 3, (count,), generator=random)
    other = torch.where(torch.rand(count, generator=random) < 0.8, kind, drawn) if tied else kind[torch.randperm(count)]
    one_hot = [torch.nn.functional.one_hot(codes, 3).float() for codes in (kind, other)]
    numbers = torch.stack([x, 0.8 * z + 0.6 * e], 1) / 4
    return torch.cat([numbers.clamp(-1, 1), *one_hot], 1)


def judged(held: Any, metric: Metric, fake: Tensor, real: Tensor, unseen: Tensor | None = None) -> Score:
    held_out = None if unseen is None else held(unseen, form=FORM)
    judge = Judge(held(real, form=FORM), metrics=(metric,), held_out=held_out)
    return judge.score(lambda start, count: Batch(fake[start : start + count], None), num_samples=len(fake), seed=0)


def test_correlations_are_numpys() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3)) @ random.normal(size=(3, 3)) + 100
    expected = np.corrcoef(x.T)[np.triu_indices(3, 1)]
    assert pearson(torch.from_numpy(x)).tolist() == pytest.approx(expected)
    x[5:20, 0] = np.nan
    kept = np.corrcoef(np.delete(x, range(5, 20), 0)[:, :2].T)[0, 1]
    found = pearson(torch.from_numpy(x))
    assert found[0].item() == pytest.approx(kept)
    assert found[2].item() == pytest.approx(expected[2])
    x[:, 1] = 7
    assert pearson(torch.from_numpy(x))[[0, 2]].tolist() == [0, 0]


def test_cramers_v_is_scipys() -> None:
    random = np.random.default_rng(0)
    a = random.integers(0, 4, 80)
    b = np.where(random.random(80) < 0.5, a % 3, random.integers(0, 3, 80))
    table = np.zeros((4, 3), int)
    np.add.at(table, (a, b), 1)
    cells = torch.from_numpy(np.stack([a, b, np.zeros_like(a)], 1))
    found = cramers_v(cells, [4, 5, 2], [(0, 1), (0, 2)])
    assert found.tolist() == pytest.approx([association(table, method="cramer"), 0])


def test_contingency_by_hand() -> None:
    a, b = torch.tensor([[0, 0], [1, 1]]), torch.tensor([[0, 1], [1, 0], [0, 0], [1, 1]])
    assert contingency_distances(a, b, [2, 2], [(0, 1)]).tolist() == [0.5]
    assert contingency_distances(a, a.flip(0), [2, 2], [(0, 1)]).tolist() == [0]


def test_numbers_lie_between_deciles() -> None:
    x = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    edges = x.quantile(torch.linspace(0, 1, PARTS + 1, dtype=torch.float64)[1:-1], 0)
    codes = in_parts(x, edges, [0])[:, 0]
    assert codes.bincount().tolist() == [11, *[10] * 9]
    assert in_parts(torch.tensor([[torch.nan], [-9.0], [9.0]]).double(), edges, [0])[:, 0].tolist() == [PARTS, 0, 9]


def test_pairs_see_what_columns_do_not(held: Any) -> None:
    real = rows(2000, 0)
    same_law, apart = (judged(held, Pairs(), rows(500, 1, tied=tied), real).values for tied in (True, False))
    assert same_law["pairs"] == pytest.approx(same_law["pairs_real"], rel=0.2)
    for name in ("pairs", "correlations", "associations"):
        assert apart[name] > 2 * same_law[name]
    assert same_law["pairs_high"] < apart["pairs_low"]
    assert apart["correlations"] == pytest.approx(0.8, abs=0.1)


def test_many_pairs_are_thinned() -> None:
    pairs = [(0, place) for place in range(2500)]
    assert some(pairs[:1000]) == pairs[:1000]
    assert some(pairs) == [(0, int(2.5 * place)) for place in range(1000)]


def test_utility_of_real_and_of_shuffled_rows(held: Any) -> None:
    real, unseen = rows(600, 0), rows(400, 1)
    metric = Utility(target="kind", trees=10)
    found, broken = (judged(held, metric, rows(500, 2, tied=tied), real, unseen) for tied in (True, False))
    assert found.values["utility"] == pytest.approx(found.values["utility_real"], abs=0.08)
    assert found.values["utility_real"] > 0.9
    assert broken.values["utility"] < 0.75
    assert broken.values["utility_low"] < broken.values["utility"] < broken.values["utility_high"]
    assert found.notes == ("utility: how well column 'kind' is foretold from the others, macro F1",)
    number = judged(held, Utility(target="height", trees=10), rows(500, 2), real, unseen)
    assert number.values["utility"] == pytest.approx(0.64, abs=0.12)  # .8 x and noise of variance .36
    assert "R²" in number.notes[0]


def test_the_column_to_foretell() -> None:
    columns: tuple[Column, ...] = FORM.columns
    assert target_of(columns) == 4
    assert target_of((*columns[:4], category("one", 1))) == 2
    assert target_of((number("a"), number("Y"), category("b"))) == 1
    assert target_of((number("class"), number("label"), category("b"))) == 1
    assert target_of((number("a"), number("b"))) == 1
    with pytest.raises(RequestError, match=r"utility\.target 'kid': did you mean 'kind'"):
        target_of(columns, "kid")


def test_scores_by_hand() -> None:
    truth, foretold = np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 1, 1])
    assert macro_f1(truth, foretold) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert explained(np.array([0.0, 1, 2]), np.array([0.0, 1, 1])) == pytest.approx(0.5)
    one = np.array([[0.0, 5], [1, 5]])
    columns = (number("a"), category("b"))
    assert predicted(one, one, 1, columns, 5, 0).tolist() == [5, 5]


def test_places_and_equal_rows() -> None:
    reference = torch.tensor([[0.0, 0], [10, 1], [20, 2], [1000, 2]]).double()
    found = places(torch.tensor([[10.0, 1], [20, 1], [torch.nan, 0], [-5, 0]]).double(), reference, [0, 3])
    gaps = torch.cdist(found, found).square()
    assert gaps[0, 1].item() == pytest.approx(0.25**2)
    assert gaps[0, 3].item() == pytest.approx(0.375**2 + 1)
    assert gaps[2, 3].item() == pytest.approx(0.5**2 + 1)
    rows = torch.tensor([[1.0, torch.nan], [1, 2], [3, 4]]).double()
    assert same(rows, torch.tensor([[3.0, 4], [1, torch.nan]]).double()).tolist() == [True, False, True]


def test_copies_lie_nearer(held: Any) -> None:
    real, unseen, fake = rows(400, 0), rows(400, 1), rows(300, 2)
    honest = judged(held, Records(), fake, real, unseen)
    assert honest.values["nearer_to_training_low"] < 0.5 < honest.values["nearer_to_training_high"]
    assert honest.values["same_record"] == honest.values["same_record_held_out"] == 0
    assert honest.notes == ()
    copies = judged(held, Records(), torch.cat([real[:150], fake[:150]]), real, unseen)
    assert copies.values["same_record"] == 0.5
    assert copies.values["nearer_to_training"] == pytest.approx(0.75, abs=0.06)
    assert "memorisation is suspected" in copies.notes[0]
    near = judged(held, Records(), real[:300] + 0.001 * torch.randn(300, 8), real, unseen)
    assert near.values["same_record"] == 0
    assert near.values["nearer_to_training"] > 0.9


def test_held_out_rows_are_asked_for(held: Any) -> None:
    with pytest.raises(RequestError, match="Utility compares with real samples that were not trained on"):
        Judge(held(rows(50, 0), form=FORM), metrics=(Utility(),))
