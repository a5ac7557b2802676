import numpy as np
import pytest
from scipy import stats

from sparring.metrics.interval import LEVEL, Interval, from_error, proportion


def test_names() -> None:
    assert Interval(2.0, 1.0, 4.0).named("fid") == {"fid": 2.0, "fid_low": 1.0, "fid_high": 4.0}


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (7, 7), (1, 2), (3, 40), (9_999, 10_000)])
def test_wilsons_interval_is_that_of_another_implementation(hits: int, trials: int) -> None:
    expected = stats.binomtest(hits, trials).proportion_ci(LEVEL, method="wilson")
    found = proportion(hits, trials)
    assert found == pytest.approx((hits / trials, expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize("trials", [20, 100])
def test_a_proportion_is_covered_on_average(trials: int) -> None:
    """Exactly, by summing the binomial law over all outcomes, for shares evenly spread over (0, 1)."""
    hits = np.arange(trials + 1)
    found = np.array([proportion(int(k), trials)[1:] for k in hits])
    shares = (np.arange(500) + 0.5) / 500
    inside = (found[:, 0] <= shares[:, None]) & (shares[:, None] <= found[:, 1])
    coverage = (stats.binom.pmf(hits, trials, shares[:, None]) * inside).sum(1)
    assert coverage.mean() == pytest.approx(LEVEL, abs=0.005)
    assert coverage.min() > 0.82


@pytest.mark.parametrize("n", [3, 10])
def test_the_mean_of_a_few_values_is_covered(n: int) -> None:
    """Whose error is estimated from themselves; with the normal quantile three of them would be covered to 81 %."""
    values = np.random.default_rng(0).normal(1.0, 2.0, (20_000, n))
    means, errors = values.mean(1), values.std(1, ddof=1) / n**0.5
    found = from_error(0.0, 1.0, n - 1)
    assert np.mean(np.abs(means - 1) <= found.high * errors) == pytest.approx(LEVEL, abs=0.006)
    assert (found.low, found.high) == pytest.approx((-stats.t(n - 1).interval(LEVEL)[1], stats.t(n - 1).ppf(0.975)))
    assert from_error(5.0, 0.1).high == pytest.approx(5 + 0.1 * stats.norm.ppf(0.975))
