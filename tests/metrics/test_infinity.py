from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.frechet import Gaussian, distance, gaussian, influence
from sparring.metrics.infinity import FIDInfinity, fid_infinity
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import Summary, moments


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def standard(d: int) -> Gaussian:
    return Gaussian(torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64))


def score(fake: Tensor, seed: int = 0) -> tuple[dict[str, float], list[str]]:
    """Against N(0, I)."""
    N, d = fake.shape
    network: Any = SimpleNamespace(dim=d)
    zero, eye = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    samples = Measured(Summary(N, zero, eye), torch.zeros(0), fake, torch.zeros(N, 0))
    real = samples._replace(summary=Summary(1001, zero, eye * 1000))
    metric, setting = FIDInfinity(), Setting(network, seed)
    return metric.measure(samples, real, setting), [*metric.notes(samples, real, setting, {})]


def test_the_interval_covers_the_value_of_infinitely_many_samples() -> None:
    """N(μ, s²I) against N(0, I): ‖μ‖² + d(1 − s)², in 90 to 99 % of 200 draws; and the mean is free of bias."""
    d, N, mean, scale = 8, 500, 0.3, 1.2
    expected = d * mean**2 + d * (1 - scale) ** 2
    found = [score(draw(seed, N, d) * scale + mean, seed)[0] for seed in range(200)]
    assert 0.90 <= np.mean([f["fid_inf_low"] <= expected <= f["fid_inf_high"] for f in found]) <= 0.99
    assert np.mean([f["fid_inf"] for f in found]) == pytest.approx(expected, abs=0.02)


def test_the_bias_of_equal_laws_is_gone() -> None:
    """d/N + d(d + 1)/4N = .54 for 32 features and 550 samples, and nothing is left of it but a few per cent."""
    d, N = 32, 550
    bias = d / N + d * (d + 1) / (4 * N)
    samples = [draw(seed, N, d) for seed in range(20)]
    plain = np.mean([distance(gaussian(*moments(x)), standard(d)) for x in samples])
    assert plain == pytest.approx(bias, rel=0.05)
    assert abs(np.mean([fid_infinity(x, standard(d)).value for x in samples])) < 0.06 * bias


def test_a_straight_line_is_drawn_through_the_sizes_there_are() -> None:
    """Three sizes by hand, evenly spaced in n, with the subsets that the seed draws."""
    x, reference = draw(0, 300, 3) * 1.5, standard(3)
    found = fid_infinity(x, reference, num_sizes=3, seed=7)
    assert found.smallest == 30
    effect = influence(x, gaussian(*moments(x)), reference)
    generator = torch.Generator().manual_seed(7)
    sizes, values = (30, 165, 300), []
    for size in sizes:
        subset = torch.randperm(300, generator=generator)[:size]
        chance = effect[subset].mean() - effect.mean()
        values.append(distance(gaussian(*moments(x[subset])), reference) - chance.item())
    (slope, intercept), residual, *_ = np.polyfit(1 / np.array(sizes), values, 1, full=True)
    assert found.value == pytest.approx(intercept)
    assert slope > 0
    X = np.stack([np.ones(3), 1 / np.array(sizes)], 1)
    regression = float(residual[0]) * np.linalg.inv(X.T @ X)[0, 0]
    assert found.standard_error == pytest.approx((effect.var().item() / 300 + regression) ** 0.5)


def test_taking_the_chance_of_the_subsets_away_lowers_the_noise() -> None:
    """The spread over seeds of the same samples, beside that of the paper's plain regression."""
    x, reference = draw(0, 400, 4) * 1.3 + 0.5, standard(4)
    found = np.std([fid_infinity(x, reference, seed=seed).value for seed in range(20)])
    plain = []
    sizes = np.linspace(40, 400, 15).round().astype(int)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        subsets = [torch.randperm(400, generator=generator)[:size] for size in sizes]
        plain.append(np.polyfit(1 / sizes, [distance(gaussian(*moments(x[s])), reference) for s in subsets], 1)[1])
    assert found < np.std(plain) / 2


@pytest.mark.parametrize(("N", "smallest"), [(1000, 100), (200, 36), (60, 30), (18, 9)])
def test_sizes_stay_above_the_number_of_features(N: int, smallest: int) -> None:
    assert fid_infinity(draw(0, N, 8), standard(8)).smallest == smallest


def test_few_samples_are_said_to_be_few_and_fewer_give_no_value() -> None:
    values, notes = score(draw(0, 17, 8))
    assert values == {}
    assert notes == ["fid_inf is left out: 17 samples for 8 features; it needs 18"]
    values, notes = score(draw(0, 71, 8))
    assert values.keys() == {"fid_inf", "fid_inf_low", "fid_inf_high"}
    assert notes == [
        "71 samples for 8 features: fid_inf is extrapolated from so few that it may come out too low; keep 72 or more"
    ]
    assert score(draw(0, 72, 8))[1] == []
    with pytest.raises(RequestError, match="in 8 features is extrapolated from at least 18 samples, found 17"):
        fid_infinity(draw(0, 17, 8), standard(8))


def test_the_seed_draws_the_subsets_and_nothing_else_does() -> None:
    x = draw(0, 200, 4)
    before = torch.get_rng_state()
    assert score(x, 1) == score(x, 1)
    assert score(x, 1)[0] != score(x, 2)[0]
    assert torch.equal(torch.get_rng_state(), before)
