"""The law of the noise z from which a generator makes its samples."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.game import Prior


class Gaussian(Prior):
    """Independent standard normal coordinates; truncation T > 0 conditions each on |z| < T (Brock et al. 2019)."""

    dim: int = 64

    def __post_init__(self) -> None:
        _check(self.dim)

    def draw(self, count: int, random: torch.Generator, truncation: float | None = None) -> Tensor:
        if truncation is None:
            return torch.randn(count, self.dim, generator=random, device=random.device)
        if not truncation > 0:
            raise RequestError(f"truncation of a Gaussian prior: expected more than 0, found {truncation}")
        unit = torch.rand(count, self.dim, generator=random, device=random.device, dtype=torch.float64)
        tail = torch.special.ndtr(torch.tensor(-truncation, dtype=torch.float64)).item()
        z: Tensor = torch.special.ndtri(tail + unit * (1 - 2 * tail))
        return z.float()


class Uniform(Prior):
    """Independent coordinates, uniform on [low, high); truncation T in (0, 1] keeps to the middle share T of it."""

    dim: int = 100
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check(self.dim)
        if not self.low < self.high:
            raise RequestError(f"Uniform: expected low < high, found {self.low} and {self.high}")

    def draw(self, count: int, random: torch.Generator, truncation: float | None = None) -> Tensor:
        share = 1.0 if truncation is None else truncation
        if not 0 < share <= 1:
            raise RequestError(f"truncation of a uniform prior: expected more than 0 and at most 1, found {share}")
        unit = torch.rand(count, self.dim, generator=random, device=random.device)
        middle, width = (self.low + self.high) / 2, self.high - self.low
        return unit.sub_(0.5).mul_(width * share).add_(middle)


class Coins(Prior):
    """`coins` fair coins of ±1, then dim - coins independent standard normal coordinates.

    A continuous generator maps what is connected to what is connected: between two modes apart it must leave samples
    (Khayatkhoei et al. 2018, "Disconnected manifold learning for GANs"; Tanielian et al. 2020, "Learning disconnected
    manifolds: a no GAN's land"). Coins break the noise itself into 2^coins equally likely pieces, each of which can go
    to a mode of its own, as the discrete codes of DeLiGAN (Gurumurthy et al. 2017) and ClusterGAN (Mukherjee et al.
    2019) do. Truncation T conditions the normal coordinates, as in `Gaussian`, and leaves the coins.
    """

    dim: int = 12
    coins: int = 10

    def __post_init__(self) -> None:
        _check(self.dim)
        if not 1 <= self.coins <= self.dim:
            raise RequestError(f"prior.coins: expected 1 to {self.dim}, the dimension, found {self.coins}")

    def draw(self, count: int, random: torch.Generator, truncation: float | None = None) -> Tensor:
        sides = torch.randint(2, (count, self.coins), generator=random, device=random.device)
        if self.dim == self.coins:
            return sides * 2.0 - 1
        normal = Gaussian(dim=self.dim - self.coins).draw(count, random, truncation)
        return torch.cat([sides * 2.0 - 1, normal], 1)


def _check(dim: int) -> None:
    if dim < 1:
        raise RequestError(f"prior.dim: expected at least 1, found {dim}")
