"""The discriminator as an encoder (Liu et al. 2021, "Towards faster and stabilized GAN training for high-fidelity few-
shot image synthesis", section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Seen
from sparring.core.game import Critic, Penalty
from sparring.core.protocols import DataSpec


class SelfReconstruction(Penalty):
    """Equation 2: weight · how far real images, made again from what the discriminator sees in them, are from
    themselves [B], as they are shown.

    The discriminator's module has a method `reconstruction(x, y) -> [B]` and decoders of its own, which learn by this
    alone: `FastGANDiscriminator(decoders=True)`. For a hundred to some thousand images, where a discriminator that only
    has to tell them from fakes learns them by heart. Its price is one more reading of the real images in each step.
    """

    def check(self, data: DataSpec, net: nn.Module) -> None:
        if not hasattr(net, "reconstruction"):
            raise RequestError(
                "SelfReconstruction: the discriminator has no decoders; take FastGANDiscriminator(decoders=True), or a "
                "module with a method reconstruction(x, y) that gives an error for every sample"
            )

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        reconstruction = cast(Callable[[Tensor, Tensor | None], Tensor], critic.net.reconstruction)
        return self.weight * reconstruction(*critic.shown(real.x.detach(), real.y)).to(real.x.dtype)
