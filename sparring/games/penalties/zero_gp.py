"""Zero-centred gradient penalty between real and fake samples (Thanh-Tung, Tran and Venkatesh 2019, "Improving
generalization and stability of generative adversarial networks")."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from sparring.core.exchange import Seen
from sparring.core.game import Critic, Penalty
from sparring.games.penalties.gradient import gradients_between


class ZeroGP(Penalty):
    """weight · |∇D(x̂)|² at one point x̂ between each real and its fake sample; the weight is the paper's λ.

    Keeps the discriminator flat on the way from fakes to data, where it would learn single samples by heart: for small
    data, with the non-saturating loss. Weakness: another forward pass, and the line between two samples is mostly
    where neither players nor data ever are; `R1` is cheaper and as stable near the equilibrium.
    """

    weight: float = 10.0

    per_sample: ClassVar[bool] = True

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight * gradients_between(critic, real, fake).square().sum(1)
