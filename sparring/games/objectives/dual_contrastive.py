"""The dual contrastive loss (Yu et al. 2021, "Dual contrastive loss and attention for GANs", section 3).

A common shift of all logits changes nothing, so only differences of logits mean something.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from sparring.core.game import Objective


class DualContrastive(Objective):
    """D picks each real sample out from among all fakes of the batch, and each fake from among all real samples.

    D minimises E_x log(1 + Σ_z exp(D(G(z)) - D(x))) + E_z log(1 + Σ_x exp(D(G(z)) - D(x))). The paper lets G maximise
    this; here G minimises it with the kinds exchanged, as in `Relativistic`, so that its gradient does not vanish where
    D is sure. For large batches D* is log p/q up to a constant, and D's least loss falls short of 2 log B by the two
    KL divergences together. With one sample of each kind it is twice `Relativistic`. Take it with large batches: it is
    noisy in small ones.
    """

    paired: ClassVar[bool] = True
    coupled: ClassVar[bool] = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return _pick(real_logits, fake_logits) + _pick(-fake_logits, -real_logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self.discriminator(fake_logits, real_logits)


def _pick(one: Tensor, others: Tensor) -> Tensor:
    """-log softmax [B] of each of `one` among itself and all `others`."""
    return softplus(others.logsumexp(0) - one)
