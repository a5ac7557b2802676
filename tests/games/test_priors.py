from __future__ import annotations

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.games.priors import Coins, Gaussian, Uniform


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gaussian_moments_and_determinism() -> None:
    z = Gaussian(dim=3).draw(100_000, random())
    assert z.shape == (100_000, 3)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(3), atol=0.02, rtol=0)
    torch.testing.assert_close(z, Gaussian(dim=3).draw(100_000, random()), atol=0, rtol=0)


def test_truncated_gaussian_is_the_conditional_law() -> None:
    """The variance of a standard normal given |z| < 1 is 1 - 2 φ(1) / (2 Φ(1) - 1) = 0.291125."""
    z = Gaussian(dim=1).draw(200_000, random(), truncation=1.0)
    assert float(z.abs().max()) <= 1
    assert float(z.var()) == pytest.approx(0.291125, abs=0.003)


def test_uniform_range_and_truncation() -> None:
    z = Uniform(dim=2, low=-1, high=3).draw(50_000, random())
    assert -1 <= float(z.min()) < -0.99
    assert 2.99 < float(z.max()) <= 3
    middle = Uniform(dim=2, low=-1, high=3).draw(50_000, random(), truncation=0.5)
    assert 0 <= float(middle.min()) < 0.01
    assert 1.99 < float(middle.max()) <= 2


def test_out_of_range_is_refused() -> None:
    for wrong in (lambda: Gaussian(dim=0), lambda: Uniform(dim=-1), lambda: Uniform(low=1, high=1)):
        with pytest.raises(RequestError):
            wrong()
    with pytest.raises(RequestError, match="more than 0"):
        Gaussian().draw(1, random(), truncation=0.0)
    with pytest.raises(RequestError, match="at most 1"):
        Uniform().draw(1, random(), truncation=1.5)


def test_coins_are_fair_and_the_rest_is_normal() -> None:
    z = Coins(dim=5, coins=3).draw(50_000, random())
    assert z.shape == (50_000, 5)
    assert z.dtype == torch.float32
    assert set(z[:, :3].unique().tolist()) == {-1.0, 1.0}
    pieces = ((z[:, :3] > 0).long() * torch.tensor([4, 2, 1])).sum(1).bincount(minlength=8) / len(z)
    torch.testing.assert_close(pieces, torch.full((8,), 1 / 8), atol=0.01, rtol=0)
    torch.testing.assert_close(z[:, 3:].std(0), torch.ones(2), atol=0.02, rtol=0)
    cut = Coins(dim=5, coins=3).draw(1000, random(), truncation=0.5)
    assert float(cut[:, 3:].abs().max()) <= 0.5
    assert set(cut[:, :3].unique().tolist()) == {-1.0, 1.0}
    assert set(Coins(dim=4, coins=4).draw(100, random()).unique().tolist()) == {-1.0, 1.0}
    for coins in (0, 6):
        with pytest.raises(RequestError, match=r"prior\.coins: expected 1 to 5, the dimension"):
            Coins(dim=5, coins=coins)
