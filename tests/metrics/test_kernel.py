from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.kernel import KID, kid, mmd2
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import nothing


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_agrees_with_a_double_sum_over_another_kernel() -> None:
    x, y = draw(0, 30, 5), draw(1, 20, 5) + 0.5
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    expected = (
        np.mean([xx[i, j] for i in range(30) for j in range(30) if i != j])
        + np.mean([yy[i, j] for i in range(20) for j in range(20) if i != j])
        - 2 * xy.mean()
    )
    assert mmd2(x, y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("N", "d"), [(50, 1), (200, 64)])
def test_agrees_with_torch_fidelity_on_given_subsets(N: int, d: int, fidelity: Any) -> None:
    fake, real = draw(0, 300, d).double() + 0.2, draw(1, 300, d).double()
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        x, y = (z[torch.randperm(300, generator=generator)[:N]] for z in (fake, real))
        expected = fidelity.metric_kid.kernel_mmd(x.numpy(), y.numpy())
        assert mmd2(x, y) == pytest.approx(expected, rel=1e-6)


def test_shift_by_one() -> None:
    """N(0, 1) and N(1, 1) in one dimension: 22."""
    found = kid(draw(0, 40_000, 1), draw(1, 40_000, 1) + 1, num_subsets=100, subset_size=400)
    assert found.standard_error < 1
    assert abs(found.value - 22) < 3 * found.standard_error


def test_scale() -> None:
    """N(0, I) and N(0, s²I): 3(1 − s²)²/d, .84375 for s = 2 and d = 32."""
    found = kid(draw(0, 40_000, 32), draw(1, 40_000, 32) * 2, num_subsets=40)
    assert found.standard_error < 0.03
    assert abs(found.value - 0.84375) < 3 * found.standard_error


@pytest.mark.parametrize("N", [40, 400])
def test_unbiased_whatever_the_number_of_samples(N: int) -> None:
    """Alike sets average to zero; with the diagonal kept, as in the biased statistic, they would not."""
    found = torch.tensor([mmd2(draw(2 * i, N, 4), draw(2 * i + 1, N, 4)) for i in range(200)])
    error = found.std().item() / 200**0.5
    assert abs(found.mean().item()) < 3 * error
    bias = 2 * (2.0**3) / N  # what each diagonal would add, at least: k(x, x) >= 1, 8 on a typical sample
    assert error < bias / 3


def test_the_standard_error_is_the_spread_of_the_estimate() -> None:
    found = [kid(draw(3 * i, 400, 4), draw(3 * i + 1, 400, 4) + 0.3) for i in range(60)]
    spread = np.std([f.value for f in found], ddof=1)
    assert np.sqrt(np.mean([f.standard_error**2 for f in found])) == pytest.approx(spread, rel=0.35)


def test_the_interval_covers_the_kernel_distance() -> None:
    """3(1 − s²)²/d = .84375 for s = 2 and d = 32, in 90 to 99 % of 200 draws."""
    network: Any = None
    inside = []
    for seed in range(200):
        x, y = draw(2 * seed, 600, 32) * 2, draw(2 * seed + 1, 600, 32)
        fake, real = (Measured(nothing(32), torch.zeros(0), features, torch.zeros(600, 0)) for features in (x, y))
        found = KID().measure(fake, real, Setting(network, seed))
        inside.append(found["kid_low"] <= 0.84375 <= found["kid_high"])
    assert 0.90 <= np.mean(inside) <= 0.99


def test_the_metric_passes_its_settings_on() -> None:
    network: Any = None
    x, y = draw(0, 90, 3) + 0.3, draw(1, 90, 3)
    fake, real = (Measured(nothing(3), torch.zeros(0), features, torch.zeros(90, 0)) for features in (x, y))
    found = KID(num_subsets=4, subset_size=15).measure(fake, real, Setting(network, 5))
    expected = kid(x, y, num_subsets=4, subset_size=15, seed=5)
    assert found["kid"] == expected.value
    assert found["kid_high"] == pytest.approx(expected.value + 3.182446 * expected.standard_error)  # t, 3 degrees


def test_subsets_follow_the_seed_and_the_samples_there_are() -> None:
    fake, real = draw(0, 500, 3), draw(1, 700, 3)
    assert kid(fake, real, seed=1) == kid(fake, real, seed=1)
    assert kid(fake, real, seed=1).value != kid(fake, real, seed=2).value
    assert kid(fake, real)[2:] == (10, 50)
    assert kid(fake, real, subset_size=20)[2:] == (10, 20)
    assert kid(fake[:5], real)[2:] == (2, 2)
    with pytest.raises(RequestError, match="at least 4 samples on each side, found 3"):
        kid(fake[:3], real)


def test_subsets_are_spread_over_sets_that_come_sorted() -> None:
    """By class, say. Cut in the order given, subsets would differ far more than chance has it."""
    shuffled, ordered = draw(0, 4000, 1), draw(1, 4000, 1).sort(0).values
    for fake, real in ((shuffled, ordered), (ordered, shuffled)):
        found = kid(fake, real)
        assert found[2:] == (10, 400)
        assert abs(found.value) < 0.2
        assert found.standard_error < 0.1
    assert kid(draw(0, 12_000, 1), draw(1, 11_000, 1))[2:] == (10, 1000)


def test_the_global_random_state_stays() -> None:
    before = torch.get_rng_state()
    kid(draw(0, 50, 3), draw(1, 50, 3))
    assert torch.equal(torch.get_rng_state(), before)
