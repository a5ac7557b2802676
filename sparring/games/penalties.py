"""What keeps the discriminator in bounds (Mescheder, Geiger and Nowozin 2018, "Which training methods for GANs do
actually converge?")."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.game import Critic, Penalty, Seen


class R1(Penalty):
    """Equation 9: weight/2 · |∇ D(x)|² at real samples, per sample, summed over pixels; the weight is the paper's γ."""

    per_sample: ClassVar[bool] = True

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        # Each sample's logit depends on its own x alone (in a discriminator without batch statistics), so the
        # gradient of the sum holds every sample's gradient.
        (gradient,) = torch.autograd.grad(real.logits.sum(), real.x, create_graph=True)
        return self.weight / 2 * gradient.square().flatten(1).sum(1)
