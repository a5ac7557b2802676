"""Zero-centred gradient penalties at the data and at the fakes (Mescheder, Geiger and Nowozin 2018, "Which training
methods for GANs do actually converge?", equations 9 and 10)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.exchange import Seen
from sparring.core.game import Critic, Penalty
from sparring.games.penalties.gradient import gradients


class R1(Penalty):
    """Equation 9: weight/2 · |∇ D(x)|² at real samples, per sample, summed over pixels; the weight is the paper's γ.

    The first choice for every objective on logits: training converges near the equilibrium, and being lazy
    (`every=16`) costs little. It knows nothing of the discriminator away from the data: objectives that need it held
    at the fakes too, relativistic pairing among them, take `R2` beside it, both in every step.
    """

    per_sample: ClassVar[bool] = True
    apart: ClassVar[bool] = True

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight / 2 * gradients(real.logits, real.x).square().sum(1)


class R2(Penalty):
    """Equation 10: weight/2 · |∇ D(x)|² at fake samples, per sample; the weight is the paper's γ.

    Taken together with `R1` (Huang et al. 2024, "The GAN is dead; long live the GAN!"), where R1 alone lets the
    discriminator become steep at the fakes. On its own it has the same guarantee near the equilibrium, but
    holds the discriminator nowhere near the data while the generator is still far from them.
    """

    per_sample: ClassVar[bool] = True
    apart: ClassVar[bool] = True

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight / 2 * gradients(fake.logits, fake.x).square().sum(1)


class R1R2(Penalty):
    """`R1` and `R2` of one weight, in one pass: what R3GAN's games take in every step (Huang et al. 2024).

    The same sum as of the two, sample by sample, for about two thirds of their time where the discriminator reads real
    and fake samples in one call.
    """

    per_sample: ClassVar[bool] = True

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        logits = real.logits.sum() + fake.logits.sum()
        slopes = torch.autograd.grad(logits, (real.x, fake.x), create_graph=True)
        at_real, at_fake = (slope.flatten(1).square().sum(1) for slope in slopes)
        return self.weight / 2 * (at_real + at_fake)
