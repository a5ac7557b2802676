"""The game of Goodfellow et al. 2014, "Generative adversarial nets".

With D(x) = sigmoid(logit), log D(x) = -softplus(-logit) and log(1 - D(x)) = -softplus(logit). Written so, no loss
takes the logarithm of a number that was rounded to 0, however sure the discriminator is.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from sparring.games.objectives.unpaired import Unpaired


class Minimax(Unpaired):
    """Equation 1: D maximises E log D(x) + E log(1 - D(G(z))), and G minimises it.

    D*'s logit is log p/q, and V(D*) = 2 JSD(p, q) - 2 ln 2. The generator's gradient vanishes where the discriminator
    is sure; `NonSaturating` is what the paper trains with. Take it to see just that.
    """

    def real(self, logits: Tensor) -> Tensor:
        return softplus(-logits)

    def fake(self, logits: Tensor) -> Tensor:
        return softplus(logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -softplus(fake_logits)


class NonSaturating(Minimax):
    """Section 3: the same game for D; G maximises E log D(G(z)) instead, which has the same fixed point.

    G's gradient is (1 - D)/D times that of `Minimax`: large where D is sure. The default of most work; it needs a
    gradient penalty to converge (Mescheder et al. 2018), and can leave modes out.
    """

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-fake_logits)
