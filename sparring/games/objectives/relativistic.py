"""Relativistic games (Jolicoeur-Martineau 2019, "The relativistic discriminator"; 2020, "On relativistic
f-divergences"): D says which of a real and a fake sample is the more real, not how real each is.

A common shift of all logits changes nothing, so only differences of logits mean something.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from sparring.core.game import Objective


class Relativistic(Objective):
    """RpGAN: D minimises E softplus(-(D(x) - D(G(z)))) over independent pairs, and G the same with signs turned.

    D*'s logit is log p/q up to a constant, and D's least loss is ln 2 - JSD(p⊗q, q⊗p). Take it, with R1 and R2, for
    the game of R3GAN (Huang et al. 2024, equation 2): each fake is judged beside a real sample, so G cannot win by
    moving all fakes to one side, which is where modes are lost. It needs both penalties.
    """

    paired: ClassVar[bool] = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(fake_logits - real_logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(real_logits - fake_logits)


class RelativisticAverage(Objective):
    """RaGAN (2019): each sample is judged against the mean logit of the batch of the other kind.

    D minimises E softplus(-(D(x) - m_fake)) + E softplus(D(G(z)) - m_real), and G the same with the kinds exchanged.
    Take it for larger batches; it is the loss of ESRGAN. The batch's mean stands for an expectation inside a
    non-linear function, so the loss is biased, the more the smaller the batch (2020), and all samples of a batch hang
    together.
    """

    paired: ClassVar[bool] = True
    coupled: ClassVar[bool] = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(fake_logits.mean() - real_logits) + softplus(fake_logits - real_logits.mean())

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(real_logits.mean() - fake_logits) + softplus(real_logits - fake_logits.mean())
