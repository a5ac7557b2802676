"""What the players want: pure unreduced losses on logits (Goodfellow et al. 2014, "Generative adversarial nets").

With D(x) = sigmoid(logit), log D(x) = -softplus(-logit) and log(1 - D(x)) = -softplus(logit). Written so, no loss
takes the logarithm of a number that was rounded to 0, however sure the discriminator is.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from sparring.core.game import Objective


class Minimax(Objective):
    """Equation 1: D maximises E log D(x) + E log(1 - D(G(z))), and G minimises it.

    The generator's gradient vanishes where the discriminator is sure; `NonSaturating` is what the paper trains with.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-real_logits) + softplus(fake_logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -softplus(fake_logits)


class NonSaturating(Objective):
    """Section 3: the same game for D; G maximises E log D(G(z)) instead, which has the same fixed point."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-real_logits) + softplus(fake_logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-fake_logits)
