from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from sparring.core.forms.table import Categorical, Continuous, Table
from sparring.core.protocols import Batch
from sparring.metrics.columns import Columns, column_distances, kolmogorov_smirnov, total_variation
from sparring.metrics.judge import Judge
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.tables import table_of


def test_numbers_are_compared_as_scipy_does() -> None:
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(70, generator=random), torch.randn(90, generator=random) * 1.3
    assert kolmogorov_smirnov(a, b).item() == pytest.approx(stats.ks_2samp(a, b).statistic)
    ties = a.round(), b.round()
    assert kolmogorov_smirnov(*ties).item() == pytest.approx(stats.ks_2samp(*ties).statistic)


def test_missing_cells_count() -> None:
    there, half = torch.arange(10.0), torch.arange(10.0)
    half[::2] = torch.nan
    assert kolmogorov_smirnov(there, half).item() == pytest.approx(0.5)
    assert kolmogorov_smirnov(half, half).item() == 0
    assert total_variation(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 3, 1, 1]), 4).item() == pytest.approx(0.5)


def form() -> Table:
    """A number that may be missing, a category of three, and a column of one value."""
    number = Continuous(
        name="size", means=(0.0, 10.0), deviations=(1.0, 1.0), weights=(0.5, 0.5), low=-5.0, high=15.0, digits=1,
        missing=3,
    )  # fmt: skip
    kind = Categorical(name="kind", values=("a", "b", "c"), counts=(5, 3, 2))
    return Table(columns=(number, Categorical(name="same", values=(1,), counts=(10,)), kind))


def rows(count: int, seed: int, *, shift: float = 0.0, shares: tuple[float, ...] = (5.0, 3.0, 2.0)) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    mode = torch.nn.functional.one_hot(torch.randint(0, 3, (count,), generator=random), 3)
    kind = torch.multinomial(torch.tensor(shares), count, replacement=True, generator=random)
    alpha = (torch.randn(count, 1, generator=random) / 4 + shift).clamp(-1, 1)
    return torch.cat([alpha, mode.float(), torch.nn.functional.one_hot(kind, 3).float()], 1)


def test_cells_are_those_of_the_table(held: Any) -> None:
    x = rows(50, 0)
    judge = Judge(held(x, form=form()), metrics=(Columns(),))
    measured = Measured(judge.real.summary, judge.real.counts, (x + 1) / 2, judge.real.probabilities)
    cells = table_of(measured, Setting(judge.network, data=judge.data))
    expected = form().decode(x)
    assert [None if cell != cell else round(cell, 1) for cell in cells[:, 0].tolist()] == expected["size"]
    assert cells[:, 1].tolist() == [0] * 50
    assert ["abc"[int(code)] for code in cells[:, 2].tolist()] == expected["kind"]


def test_tables_are_judged(held: Any) -> None:
    judge = Judge(held(rows(2000, 0), form=form()), metrics=(Columns(),))

    def score(x: Tensor) -> tuple[dict[str, float], tuple[str, ...]]:
        return judge.score(lambda start, count: Batch(x[start : start + count], None), num_samples=500, seed=0)[::2]

    found, _ = score(rows(500, 1))
    assert list(found) == ["columns", "columns_low", "columns_high", "columns_real", "columns_worst"]
    assert found["columns"] == pytest.approx(found["columns_real"], rel=0.5)
    shifted, notes = score(rows(500, 1, shift=0.5))
    assert found["columns_high"] < shifted["columns_low"]
    assert "columns: the one that is met worst is 'size'" in notes[0]
    _, notes = score(rows(500, 1, shares=(0.0, 5.0, 5.0)))
    assert notes == ("columns: the one that is met worst is 'kind', 0.5 from the real one",)


def test_each_column_by_its_kind() -> None:
    a, b = torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([[0.5, 0.0], [1.5, 0.0]])
    assert column_distances(a, b, [0, 3]).tolist() == [0.5, 0.5]
