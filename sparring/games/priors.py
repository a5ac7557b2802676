"""The law of the noise z from which a generator makes its samples."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.game import Prior


class Gaussian(Prior):
    """Independent standard normal coordinates."""

    dim: int = 64

    def __post_init__(self) -> None:
        _check(self.dim)

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        return torch.randn(count, self.dim, generator=random, device=random.device)


class Uniform(Prior):
    """Independent coordinates, uniform on [low, high)."""

    dim: int = 100
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check(self.dim)
        if not self.low < self.high:
            raise RequestError(f"Uniform: expected low < high, found {self.low} and {self.high}")

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        unit = torch.rand(count, self.dim, generator=random, device=random.device)
        return unit.mul_(self.high - self.low).add_(self.low)


def _check(dim: int) -> None:
    if dim < 1:
        raise RequestError(f"prior.dim: expected at least 1, found {dim}")
