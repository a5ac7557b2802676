from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.core.errors import RequestError
from sparring.metrics.frechet import FID, HeldOutFID, frechet_distance, gaussian, influence
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import Summary, moments, summarise


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(features: torch.Tensor) -> Measured:
    return Measured(summarise(features), torch.zeros(0), features, torch.zeros(len(features), 0))


def setting(dim: int) -> Setting:
    network: Any = SimpleNamespace(dim=dim)
    return Setting(network)


@pytest.mark.parametrize(("d", "scale", "shift"), [(1, 2.0, 1.0), (7, 0.5, 0.0), (64, 1.3, -0.2), (5, 0.0, 1.0)])
def test_isotropic_gaussians(d: int, scale: float, shift: float) -> None:
    """N(0, I) and N(μ, s²I): ‖μ‖² + d(1 − s)²."""
    mean, eye = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    found = frechet_distance(mean, eye, mean + shift, scale**2 * eye)
    assert found == pytest.approx(d * shift**2 + d * (1 - scale) ** 2, rel=1e-12)


def test_covariances_that_do_not_commute() -> None:
    zero = torch.zeros(2)
    a, b = torch.diag(torch.tensor([1.0, 4.0])), torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    assert frechet_distance(zero, a, zero, b) == pytest.approx(0.771220, abs=5e-7)
    assert frechet_distance(zero, b, zero, a) == pytest.approx(0.771220, abs=5e-7)


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_agrees_with_a_general_matrix_root(seed: int, d: int) -> None:
    (mean1, cov1), (mean2, cov2) = moments(draw(seed, 40, d)), moments(draw(seed + 1, 40, d) * 2 + 1)
    root = np.atleast_2d(scipy.linalg.sqrtm((cov1 @ cov2).numpy()))
    expected = (mean1 - mean2).square().sum() + (cov1 + cov2).trace() - 2 * np.trace(root).real
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(float(expected), rel=1e-8)


def test_singular_covariances_keep_their_accuracy() -> None:
    """Ten samples of 64 features, some of which never fire; a shift adds its square and nothing else."""
    features = draw(0, 10, 64) * (torch.arange(64) % 3 > 0)
    mean, cov = moments(features)
    assert frechet_distance(mean, cov, mean, cov) < 1e-12 * cov.trace().item()
    shifted = frechet_distance(mean, cov, mean + 1e-3, cov)
    assert shifted == pytest.approx(64e-6, rel=1e-8)
    zero = torch.zeros_like(cov)
    assert frechet_distance(mean, cov, mean, zero) == pytest.approx(cov.trace().item(), rel=1e-12)


def test_small_samples_bias_the_distance_upwards() -> None:
    """One-sided bias with Σ = I: d/N + d(d + 1)/4N = 1.104 for d = 64, N = 1000."""
    mean, eye = torch.zeros(64), torch.eye(64, dtype=torch.float64)
    found = [frechet_distance(*moments(draw(seed, 1000, 64)), mean, eye) for seed in range(8)]
    assert np.mean(found) == pytest.approx(64 / 1000 + 64 * 65 / 4000, rel=0.03)


@pytest.mark.parametrize(("N", "d", "scale"), [(500, 3, 1.0), (2000, 24, 0.1), (2000, 24, 30.0)])
def test_agrees_with_torch_fidelity(N: int, d: int, scale: float, fidelity: Any) -> None:
    fake, real = draw(0, N, d) @ draw(1, d, d) * scale, draw(2, N + 100, d) @ draw(3, d, d) * scale + 0.5
    theirs = fidelity.metric_fid
    statistics = [theirs.fid_features_to_statistics(x) for x in (fake, real)]
    expected = theirs.fid_statistics_to_metric(*statistics, verbose=False)[theirs.KEY_METRIC_FID]
    found = FID().measure(measured(fake), measured(real), setting(d))["fid"]
    assert found == pytest.approx(expected, rel=1e-6)


def nudged(x: torch.Tensor, mean: torch.Tensor, cov: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Moments of a law of which a share has been moved to the single point x."""
    deviation = x - mean
    return mean + share * deviation, (1 - share) * (cov + share * torch.outer(deviation, deviation))


@pytest.mark.parametrize("d", [1, 2, 9])
def test_influence_is_the_derivative_towards_a_sample(d: int) -> None:
    """Also for samples that the law itself would hardly give; by central differences."""
    fake, real = moments(draw(0, 60, d) @ draw(1, d, d) + 0.7), moments(draw(2, 80, d) @ draw(3, d, d))
    x = draw(4, 5, d) * 3
    step = 1e-5
    up, down = ([frechet_distance(*nudged(row, *fake, s), *real) for row in x] for s in (step, -step))
    expected = [(a - b) / (2 * step) for a, b in zip(up, down, strict=True)]
    assert influence(x, gaussian(*fake), gaussian(*real)).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_map_is_the_one_of_the_paper() -> None:
    """T = Σr^½ (Σr^½ Σf Σr^½)^{-½} Σr^½ carries Σf to Σr; IF(μ + v) + IF(μ − v) is 2 vᵀ(I − T)v less a constant."""
    (mean1, cov1), (_, cov2) = fake, real = moments(draw(0, 60, 4) @ draw(1, 4, 4)), moments(draw(2, 80, 4) + 1)
    root = scipy.linalg.sqrtm(cov2.numpy())
    T = torch.from_numpy(root @ np.linalg.inv(scipy.linalg.sqrtm(root @ cov1.numpy() @ root)) @ root).double()
    assert torch.allclose(T @ cov1 @ T, cov2)
    v = draw(4, 10, 4)
    a, b = gaussian(*fake), gaussian(*real)
    both = influence(mean1 + v, a, b) + influence(mean1 - v, a, b)
    expected = 2 * torch.einsum("ni,ij,nj->n", v, torch.eye(4) - T, v)
    constant = torch.full_like(both, 2 * ((torch.eye(4) - T) @ cov1).trace())
    assert torch.allclose(both, expected - constant)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_influence_of_the_same_law_or_of_one_shifted(shift: float) -> None:
    """For equal covariances T is the identity: nothing but the shift is left, also where features never fire."""
    x = draw(0, 200, 6) * (torch.arange(6) < 4)
    mean, cov = moments(x)
    found = influence(x, gaussian(mean, cov), gaussian(mean - shift, cov))
    assert torch.allclose(found, 2 * shift * (x - mean).sum(1), atol=1e-9)


def test_influence_with_fewer_samples_than_features() -> None:
    """Derivatives towards the samples themselves exist: they move the law only where it has variance."""
    x = draw(0, 6, 10)
    fake, real = moments(x), moments(draw(1, 50, 10))
    step = 1e-5
    up, down = ([frechet_distance(*nudged(row, *fake, s), *real) for row in x] for s in (step, -step))
    expected = [(a - b) / (2 * step) for a, b in zip(up, down, strict=True)]
    assert influence(x, gaussian(*fake), gaussian(*real)).tolist() == pytest.approx(expected, rel=1e-5)
    alike = torch.ones(5, 10)
    assert influence(alike, gaussian(*moments(alike)), gaussian(*real)).abs().max() < 1e-12


def test_the_interval_covers_what_so_many_samples_are_expected_to_give() -> None:
    """N(μ, s²I) against N(0, I): ‖μ‖² + d(1 − s)² + d s²/N + s d(d + 1)/4N, in 90 to 99 % of 200 draws."""
    d, N, mean, scale = 8, 500, 0.3, 1.2
    expected = d * mean**2 + d * (1 - scale) ** 2 + d * scale**2 / N + scale * d * (d + 1) / (4 * N)
    zero, eye = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    real = Measured(Summary(N + 1, zero, eye * N), torch.zeros(0), draw(0, N, d), torch.zeros(N, 0))
    found = [FID().measure(measured(draw(seed, N, d) * scale + mean), real, setting(d)) for seed in range(200)]
    assert np.mean([f["fid"] for f in found]) == pytest.approx(expected, abs=3 * np.std([f["fid"] for f in found]) / 14)
    assert 0.90 <= np.mean([f["fid_low"] <= expected <= f["fid_high"] for f in found]) <= 0.99


def test_the_interval_is_of_all_samples_though_fewer_are_kept() -> None:
    x, real = draw(0, 4000, 5) * 1.3 + 0.2, measured(draw(1, 4000, 5))
    whole = FID().measure(measured(x), real, setting(5))
    some = FID().measure(measured(x)._replace(features=x[:1000]), real, setting(5))
    lengths = [values["fid_high"] - values["fid_low"] for values in (whole, some)]
    assert some["fid"] == whole["fid"]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.1)


def test_the_floor_is_of_as_many_real_samples() -> None:
    x, y = draw(0, 300, 4), draw(1, 900, 4)
    real = measured(y)._replace(features=y[:500])
    floor = [FID().measure(measured(x[:n]), real, setting(4))["fid_real"] for n in (100, 300)]
    assert floor == pytest.approx([frechet_distance(*moments(y[:n]), *moments(y)) for n in (100, 300)])
    assert floor[1] < floor[0]


def test_a_distance_is_never_said_to_be_negative() -> None:
    found = [
        FID().measure(measured(draw(seed, 200, 1)), measured(draw(seed + 50, 200, 1)), setting(1)) for seed in range(20)
    ]
    assert min(f["fid_low"] for f in found) == 0
    assert all(f["fid_low"] <= f["fid"] <= f["fid_high"] for f in found)


def test_few_samples_are_said_to_be_few() -> None:
    few, enough, real = measured(draw(0, 8, 8)), measured(draw(0, 9, 8)), measured(draw(1, 50, 8))
    said = "8 samples for 8 features: the covariance is singular and fid far too high"
    assert [*FID().notes(few, real, setting(8), {})] == [said]
    assert [*FID().notes(few, real, setting(8), {"fid_real": 1.0})] == [f"{said}; compare it with fid_real"]
    assert [*FID().notes(enough, real, setting(8), {})] == []
    assert FID().measure(few, real, setting(8))["fid_high"] > 0


def test_the_distance_to_what_was_set_aside() -> None:
    x, trained, aside = draw(0, 300, 4), draw(1, 900, 4), draw(2, 200, 4) + 0.5
    found = HeldOutFID().measure(measured(x), measured(trained), setting(4)._replace(held_out=measured(aside)))
    plain = FID().measure(measured(x), measured(aside), setting(4))
    assert found["fid_held_out"] == pytest.approx(frechet_distance(*moments(x), *moments(aside)))
    assert (found["fid_held_out_low"], found["fid_held_out_high"]) == (plain["fid_low"], plain["fid_high"])
    with pytest.raises(RequestError, match="name them as held out"):
        HeldOutFID().measure(measured(x), measured(trained), setting(4))
