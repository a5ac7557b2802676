import functools

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.core.errors import RequestError
from sparring.metrics.frechet import frechet_distance
from sparring.metrics.summary import merge, moments, moments_of, nothing, summarise


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


def test_ddof() -> None:
    """Population (0) and sample (1) covariances differ by N / (N − 1), and only the latter is the default."""
    features = draw(3, 5, 3)
    assert torch.allclose(moments(features)[1], torch.from_numpy(np.cov(features.numpy(), rowvar=False)))
    population = torch.from_numpy(np.cov(features.numpy(), rowvar=False, ddof=0))
    assert torch.allclose(moments(features, ddof=0)[1], population)
    assert not torch.allclose(moments(features)[1], population)


def test_one_sample_has_no_sample_covariance() -> None:
    with pytest.raises(RequestError, match="at least 2 samples, found 1"):
        moments(draw(0, 1, 3))


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_merged_chunks_are_the_whole(chunk: int) -> None:
    """Also where the mean is a million deviations away, which sums of squares in float64 would not survive."""
    features = draw(1, 100, 4) + 1e6
    whole, parts = moments(features), functools.reduce(merge, map(summarise, features.split(chunk)), nothing(4))
    mean, cov = moments_of(parts)
    assert parts.num == 100
    assert torch.allclose(mean, whole[0], rtol=1e-14)
    assert torch.allclose(cov, whole[1], rtol=1e-8, atol=1e-9)
    raw = features.T @ features / 99 - 100 / 99 * torch.outer(mean, mean)
    assert not torch.allclose(raw, whole[1], rtol=1e-8, atol=1e-9)


def test_small_samples_bias_the_distance_upwards() -> None:
    """One-sided bias with Σ = I: d/N + d(d + 1)/4N = 1.104 for d = 64, N = 1000."""
    mean, eye = torch.zeros(64), torch.eye(64, dtype=torch.float64)
    found = [frechet_distance(*moments(draw(seed, 1000, 64)), mean, eye) for seed in range(8)]
    assert np.mean(found) == pytest.approx(64 / 1000 + 64 * 65 / 4000, rel=0.03)
