"""WGAN-div (Wu et al. 2018, "Wasserstein divergence for GANs", algorithm 1)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.exchange import Seen
from sparring.core.game import Critic, Penalty
from sparring.games.penalties.gradient import gradients_between, lengths


class WGANDiv(Penalty):
    """weight · |∇D(x̂)|^power at one point x̂ between each real and its fake sample; the paper's k and p.

    With the Wasserstein loss: the optimum is then a divergence for any k > 0 and p > 1, without the critic having to be
    1-Lipschitz. Weakness: at p = 6 the penalty is next to nothing below a slope of 1 and very steep above it, which
    large learning rates do not forgive.
    """

    weight: float = 2.0
    power: float = 6.0

    per_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.power > 1:
            raise RequestError(f"WGANDiv: expected power > 1, found {self.power}")

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight * lengths(gradients_between(critic, real, fake)) ** self.power
