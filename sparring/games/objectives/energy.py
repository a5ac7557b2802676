"""Energy-based GAN (Zhao, Mathieu and LeCun 2017, "Energy-based generative adversarial networks", equations 1 and 2).

D gives every sample an energy of at least 0, low where it looks real: the error with which an autoencoder reconstructs
it. The logit is minus the energy, so that higher is more real, as everywhere.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from sparring.core.errors import RequestError
from sparring.core.game import Objective
from sparring.core.protocols import DataSpec


class Energy(Objective):
    """What the energy-based games share: they are bounded only where energies are."""

    def check(self, data: DataSpec, net: nn.Module) -> None:
        if not any(getattr(module, "is_energy", False) for module in net.modules()):
            raise RequestError(
                f"{type(self).__name__}: expected a discriminator whose logits are minus an energy, never above 0, "
                f"found {type(net).__name__}: take AutoencoderDiscriminator, or say is_energy = True in your module"
            )

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -fake_logits


class EBGAN(Energy):
    """D minimises the energy of real samples and max(0, margin - energy) of fakes; G the energy of its fakes.

    D* gives 0 where p > q and the margin where p < q, and its least loss is margin · (1 - TV(p, q)). Take it for a
    D that learns from every number of a sample instead of from one. The right margin depends on the data: too wide, and
    D is busy raising energies; too narrow, and it soon has nothing to say of fakes. `MAGAN` lets it follow.
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise RequestError(f"{type(self).__name__}: expected a margin above 0, found {self.margin}")

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return relu(self.margin + fake_logits) - real_logits
