"""The hinge loss (Lim and Ye 2017, "Geometric GAN", section 3; Miyato et al. 2018, equations 16 and 17)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu

from sparring.games.objectives.unpaired import Unpaired


class Hinge(Unpaired):
    """D minimises E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))), and G minimises -E D(G(z)), with D the logit itself.

    D* = sign(p - q), and D's least loss is 2 (1 - TV(p, q)). A sample beyond the margin gives D no gradient, so D does
    not grow surer of what it knows. Take it with spectral normalisation, as SNGAN and BigGAN do. G's loss
    has no bound: without a bound on D's slope it is as wild as D.
    """

    def real(self, logits: Tensor) -> Tensor:
        return relu(1 - logits)

    def fake(self, logits: Tensor) -> Tensor:
        return relu(1 + logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -fake_logits
