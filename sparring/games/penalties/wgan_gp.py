"""WGAN-GP (Gulrajani et al. 2017, "Improved training of Wasserstein GANs", equation 3)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from sparring.core.exchange import Seen
from sparring.core.game import Critic, Penalty
from sparring.games.penalties.gradient import gradients_between, lengths


class WGANGP(Penalty):
    """weight · (|∇D(x̂)| - 1)² at one point x̂ between each real and its fake sample.

    With `one_sided`, weight · max(0, |∇D(x̂)| - 1)² (section 4): slopes below 1 are free. For the Wasserstein loss,
    whose critic it keeps nearly 1-Lipschitz, with about five moves of the critic to one of the generator. Weakness:
    it holds the slope only between today's samples, at the price of another forward pass, and as it wants a slope of 1
    even where real and fake agree, training circles the equilibrium rather than reach it (Mescheder et al. 2018).
    """

    weight: float = 10.0
    one_sided: bool = False

    per_sample: ClassVar[bool] = True

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        excess = lengths(gradients_between(critic, real, fake)) - 1
        return self.weight * (excess.clamp(min=0) if self.one_sided else excess).square()
