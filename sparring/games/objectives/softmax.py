"""Softmax GAN (Lin 2017, "Softmax GAN", section 3): a softmax over the whole batch, real samples and fakes together.

A common shift of all logits changes nothing, so only differences of logits mean something.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.game import Objective


class SoftmaxGAN(Objective):
    """D wants all of the softmax's mass on the real samples of a batch, in equal shares; G wants it on all samples.

    With Z the sum of exp(D) over both kinds, D minimises E log Z - D(x), and G minimises E log Z - (D(x) + D(G(z)))/2.
    For large batches D*'s logit is log p/(p + q) up to a constant. The paper presents it as importance sampling of the
    original game. All samples of a batch hang together, so it wants large batches.

    Each loss is the paper's less a constant, the log of the number of samples that are to share the mass. So it is the
    Kullback-Leibler divergence of what the player wants from the softmax: 0 where it has its way. With p = q, D is
    left with ln 2.
    """

    paired: ClassVar[bool] = True
    coupled: ClassVar[bool] = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return _log_sum(real_logits, fake_logits) - math.log(len(real_logits)) - real_logits

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        both = len(real_logits) + len(fake_logits)
        return _log_sum(real_logits, fake_logits) - math.log(both) - (real_logits + fake_logits) / 2


def _log_sum(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """log Z, []."""
    return torch.cat([real_logits, fake_logits]).logsumexp(0)
