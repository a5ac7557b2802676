"""Instance noise (Sønderby et al. 2017, "Amortised MAP inference for image super-resolution"; Arjovsky and
Bottou 2017, "Towards principled methods for training generative adversarial networks", section 3).

Real and fake samples lie on thin sets that hardly meet, where a perfect discriminator has no gradient to teach with.
With Gaussian noise on both, their densities overlap everywhere: D compares p * N(0, σ²) with q * N(0, σ²).
"""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock, Memory
from sparring.core.game import Show


class InstanceNoise(Show):
    """x + σ ε, ε standard normal for every number of x [B, ...]; σ falls from `sigma` in a straight line to 0 at the
    share `until` of the run, so that the end is trained on the data themselves.

    Take it where the discriminator wins at once. Its weakness: σ is in units of the data, the same for every direction,
    and while it is large all that is finer than σ cannot be learnt.
    """

    sigma: float = 0.1
    until: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma >= 0 or not 0 < self.until <= 1:
            raise RequestError(
                f"InstanceNoise: expected sigma >= 0 and 0 < until <= 1, found {self.sigma} and {self.until}"
            )

    def at(self, clock: Clock, memory: Memory) -> Self:
        now = copy.copy(super().at(clock, memory))
        object.__setattr__(now, "sigma", self.sigma * max(0.0, 1 - clock.progress / self.until))
        return now

    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return (x + self.sigma * torch.randn_like(x) if self.sigma else x), y
