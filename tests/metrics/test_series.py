"""Metrics of series against statsmodels' formula, numpy, scipy and laws that are known."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms import Series
from sparring.core.protocols import Batch
from sparring.metrics.autocorrelation import Autocorrelation, autocorrelations
from sparring.metrics.cross_correlation import CrossCorrelation, correlations
from sparring.metrics.discriminative import Discriminative, accuracy, by_chance, whole_logits
from sparring.metrics.judge import Judge
from sparring.metrics.marginals import BINS, Marginals, areas, binned, with_lengths
from sparring.metrics.metric import Measured, Metric, Setting
from sparring.metrics.predictive import Predictive, absolute_errors, errors
from sparring.metrics.recurrent import standardised, trained, window
from sparring.metrics.series import series_of


def normal(count: int, T: int, seed: int, *, past: float = 0.8, tied: float = 0.0) -> Tensor:
    """Autoregressive series of two columns: x_t = past x_{t−1} + e_t, the e of both columns with correlation `tied`."""
    random = torch.Generator().manual_seed(seed)
    e = torch.randn(count, T + 30, 2, generator=random)
    e[..., 1] = tied * e[..., 0] + (1 - tied**2) ** 0.5 * e[..., 1]
    x = [e[:, 0]]
    for t in range(1, T + 30):
        x.append(past * x[-1] + e[:, t])
    return (torch.stack(x[30:], 1) * (1 - past**2) ** 0.5 / 5).clamp(-1, 1)


FORM = Series(columns=("a", "b"), low=(0.0, -5.0), high=(1.0, 20.0))


def values(held: Any, metric: Metric, fake: Tensor, real: Tensor, form: Series = FORM) -> dict[str, float]:
    judge = Judge(held(real, form=form), metrics=(metric,))
    take = lambda start, count: Batch(fake[start : start + count], None)  # noqa: E731
    return judge.score(take, num_samples=len(fake), seed=1).values


def test_series_are_as_they_would_be_written(held: Any) -> None:
    form = FORM.replace(decimals=(1, -1), ragged=True)
    x = torch.tensor([[[0.33, 0.5, 1.0], [2.0, -2.0, 0.2], [0.0, 0.0, -0.1]]]).repeat(12, 1, 1)
    judge = Judge(held(x, form=form), metrics=(Marginals(),))
    found = series_of(judge.real, Setting(judge.network, data=judge.data))
    assert found.shape == (12, 3, 2)
    assert found[0, :2].tolist() == [[pytest.approx(0.4), 0.5], [1.0, -1.0]]  # .665 is written .7
    assert found[0, 2].isnan().all()


def test_series_that_are_too_long_are_fewer(held: Any) -> None:
    judge = Judge(held(normal(50, 8, 0), form=FORM), metrics=(Marginals(),))
    setting = Setting(judge.network, data=judge.data)
    assert series_of(judge.real, setting, most=30 * 16).shape == (30, 8, 2)
    assert torch.allclose(series_of(judge.real, setting).flatten(1), judge.real.features * 2 - 1, atol=1e-6)


def test_autocorrelations_are_their_formula() -> None:
    x = normal(3, 11, 0).double()
    x[1, 7:] = torch.nan
    x[2, :, 1] = 0.25
    found = autocorrelations(x)
    assert found.shape == (3, 5, 2)
    for n in range(3):
        for c in range(2):
            row = x[n, :, c][~x[n, :, c].isnan()].numpy()
            row = row - row.mean()
            expected = [(row[: len(row) - lag] * row[lag:]).sum() / max((row**2).sum(), 1e-9) for lag in range(1, 6)]
            assert found[n, :, c].tolist() == pytest.approx(expected, abs=1e-9)


def test_a_known_autocorrelation_and_a_known_distance(held: Any) -> None:
    """ρ(l) = φ^l of an autoregressive series, but for the bias of a finite one."""
    found = autocorrelations(normal(400, 300, 0, past=0.8)).mean((0, 2))
    assert found[:5].tolist() == pytest.approx([0.8**lag for lag in range(1, 6)], abs=0.05)
    real, same, other = normal(2000, 20, 0), normal(500, 20, 1), normal(500, 20, 2, past=0.5)
    floor, apart = (values(held, Autocorrelation(), fake, real) for fake in (same, other))
    assert floor["autocorrelation"] == pytest.approx(floor["autocorrelation_real"], rel=0.6)
    assert floor["autocorrelation_high"] < apart["autocorrelation_low"]


def test_correlations_are_numpys(held: Any) -> None:
    x = torch.randn(20, 7, 3, generator=torch.Generator().manual_seed(0))
    x[3, 2:] = torch.nan
    pooled = x.flatten(0, 1)
    expected = np.corrcoef(pooled[~pooled[:, 0].isnan()].double().numpy().T)
    assert correlations(x).tolist() == pytest.approx([expected[0, 1], expected[0, 2], expected[1, 2]])
    x[..., 1] = 0.3
    assert correlations(x)[0] == 0
    real, tied = normal(2000, 10, 0), normal(500, 10, 1, tied=0.6)
    assert values(held, CrossCorrelation(), tied, real)["cross_correlation"] == pytest.approx(0.6, abs=0.05)
    one = FORM.replace(columns=("a",), low=(0.0,), high=(1.0,))
    judge = Judge(held(real[..., :1], form=one), metrics=(CrossCorrelation(),))
    assert CrossCorrelation().measure(judge.real, judge.real, Setting(judge.network, data=judge.data)) == {}


def test_areas_are_scipys() -> None:
    random = torch.Generator().manual_seed(0)
    a, b = (torch.rand(count, 6, 2, generator=random) * 1.6 - 0.8 for count in (30, 40))
    expected = [stats.wasserstein_distance(a[..., c].flatten(), b[..., c].flatten() * 0.5) for c in range(2)]
    assert areas(binned(a), binned(b * 0.5)).tolist() == pytest.approx(expected, abs=2 / BINS)
    assert binned(torch.tensor([-1.0, 1.0, math.nan])).tolist() == [0, BINS - 1, -1]


def test_marginals_of_a_shift(held: Any) -> None:
    """A shift of half a standard deviation is half a standard deviation away."""
    real, fake = normal(2000, 10, 0, past=0.2), normal(500, 10, 1, past=0.2)
    floor, shifted = (values(held, Marginals(), x, real) for x in (fake, (fake + 0.1).clamp(-1, 1)))
    assert floor["marginals"] == pytest.approx(floor["marginals_real"], rel=0.6)
    assert shifted["marginals"] == pytest.approx(0.5, abs=0.05)


def ragged(count: int, T: int, seed: int, least: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    there = torch.arange(T)[:, None] < torch.randint(least, T + 1, (count, 1, 1), generator=random)
    return torch.cat([normal(count, T, seed).where(there, 0), torch.where(there, 1.0, -1.0)], 2)


def test_lengths_count_where_series_are_ragged(held: Any) -> None:
    form = FORM.replace(ragged=True)
    real, same, longer = ragged(2000, 10, 0, 2), ragged(500, 10, 1, 2), ragged(500, 10, 1, 8)
    first, other = (values(held, Marginals(), x, real, form) for x in (same, longer))
    assert first["marginals_high"] < other["marginals_low"]
    lengths = with_lengths(torch.tensor([[[0.5], [math.nan]], [[0.1], [0.2]]]))[..., 1]
    assert lengths[:, 0].tolist() == [0.5, 1.0]
    assert lengths[:, 1].isnan().all()


QUICK = {"repeats": 2, "steps": 80, "hidden": 8, "most": 300}


def test_a_classifier_finds_what_differs(held: Any) -> None:
    """What follows what is all that differs: the values have one law."""
    real, fake = normal(400, 8, 0, past=0.95), normal(400, 8, 1, past=0.95)
    state = torch.get_rng_state()
    same = values(held, Discriminative(**QUICK), fake, real)
    assert torch.equal(state, torch.get_rng_state())
    assert values(held, Discriminative(**QUICK), fake, real) == same
    assert same["discriminative"] < 0.12
    other = values(held, Discriminative(**QUICK), normal(400, 8, 1, past=-0.5), real)
    assert other["discriminative"] > 0.3
    assert same["discriminative_real"] == by_chance(2 * 75)


def test_a_classifier_sees_where_series_end(held: Any) -> None:
    form = FORM.replace(ragged=True)
    judge = Judge(held(ragged(300, 8, 0, 2), form=form), metrics=(Discriminative(),))
    real = series_of(judge.real, Setting(judge.network, data=judge.data))
    fake = real.clone()
    fake[:, 3:] = torch.nan
    assert accuracy(fake, real, 75, 80, 8, 0) > 0.65


def test_long_series_are_seen_in_stretches() -> None:
    network = trained(2, 4, 1, 1, 0, lambda network, random: network(torch.rand(2, 3, 2, generator=random)).sum())
    series = normal(3, 150, 0)
    parts = [series[:, :64], series[:, 64:128], series[:, 128:]]
    with torch.no_grad():
        expected = torch.cat([network(part)[..., 0] for part in parts], 1).mean(1)
        assert torch.allclose(whole_logits(network, series), expected, atol=1e-6)
    random = torch.Generator().manual_seed(0)
    numbered = torch.arange(150.0).expand(2, 150)[..., None]
    starts = {int(window(numbered, random)[0, 0, 0]) for _ in range(2000)}
    assert starts == set(range(87))
    assert window(numbered, random).shape == (2, 64, 1)
    assert window(numbered[:, :64], random).shape == (2, 64, 1)


def test_columns_are_brought_to_one_scale() -> None:
    x = torch.tensor([[[1.0, 5.0], [3.0, 5.0]], [[math.nan, math.nan], [5.0, 5.0]]])
    (found,) = standardised(x)
    deviation = (8 / 3) ** 0.5
    assert found[0, :, 0].tolist() == pytest.approx([-2 / deviation, 0])
    assert found[..., 1].nan_to_num(0).tolist() == [[0, 0], [0, 0]]


def test_chance_is_the_mean_of_a_binomial() -> None:
    drawn = np.random.default_rng(0).binomial(150, 0.5, 200_000)
    assert by_chance(150) == pytest.approx(np.abs(drawn / 150 - 0.5).mean(), rel=0.01)
    assert by_chance(2) == pytest.approx(0.25)


def test_what_series_teach(held: Any) -> None:
    """The best foretelling of an autoregressive series errs by the mean of |e|, √(2/π) σ."""
    real, fake = normal(700, 8, 0), normal(400, 8, 1)
    found = values(held, Predictive(**QUICK), fake, real)
    least = 0.2 * (1 - 0.8**2) ** 0.5 * (2 / math.pi) ** 0.5 / 2
    assert found["predictive"] == pytest.approx(least, rel=0.07)
    assert found["predictive"] == pytest.approx(found["predictive_real"], rel=0.05)
    steps = 0.2 * (2 * (1 - 0.8)) ** 0.5 * (2 / math.pi) ** 0.5 / 2
    assert found["predictive_last"] == pytest.approx(steps, rel=0.05)
    backwards = values(held, Predictive(**QUICK), normal(400, 8, 1, past=-0.8), real)
    assert backwards["predictive"] > 1.5 * found["predictive"]


def test_errors_are_those_of_moments_that_are_there() -> None:
    series = torch.tensor([[[0.0], [0.5], [math.nan]], [[0.0], [0.0], [0.25]]])
    sums, count = absolute_errors(None, series)
    assert (sums.tolist(), count) == ([0.75], 3)
    long = torch.arange(150.0)[None, :, None] ** 2
    parts = [long[:, :64], long[:, 64:128], long[:, 128:]]
    assert errors(None, long).item() == pytest.approx(
        torch.cat([(part[:, 1:] - part[:, :-1]).flatten() for part in parts]).mean().item()
    )


def test_what_is_no_series_is_refused(held: Any) -> None:
    judge = Judge(held(torch.rand(20, 2)))
    with pytest.raises(RequestError, match="metrics of series: expected data whose form is Series"):
        series_of(Measured(*judge.real), Setting(judge.network, data=judge.data))
    with pytest.raises(RequestError, match="Marginals: it is for series, and made holds vectors"):
        Judge(held(torch.rand(20, 2)), metrics=(Marginals(),))
