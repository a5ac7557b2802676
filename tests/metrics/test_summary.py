import functools

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.metrics.summary import MOST_FEATURES, merge, moments, moments_of, nothing, summarise


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


def test_float32_features_are_summed_in_float64() -> None:
    features = draw(2, 3000, 2).float() + 1000
    mean, cov = moments(features)
    assert mean.dtype == cov.dtype == torch.float64
    assert torch.allclose(cov, torch.from_numpy(np.cov(features.double().numpy(), rowvar=False)), rtol=1e-10)


def test_of_many_features_only_the_mean_is_kept() -> None:
    x = torch.randn(7, MOST_FEATURES + 1, generator=torch.Generator().manual_seed(0))
    found = merge(merge(nothing(x.shape[1]), summarise(x[:3])), summarise(x[3:]))
    assert found.num == 7
    assert torch.allclose(found.mean, x.double().mean(0))
    with pytest.raises(RequestError, match="a covariance is kept of at most 4,096 features, found 4,097; choose other"):
        moments_of(found)
    cov = moments_of(summarise(x[:, 1:]))[1]
    assert cov.shape == (MOST_FEATURES, MOST_FEATURES)
