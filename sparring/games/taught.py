"""Generators of texts that are also taught by the texts themselves, token by token (Williams and Zipser 1989, "teacher
forcing"), as nearly all that play this game are before it begins (Yu et al. 2017, "SeqGAN", section 3.2; Nie et al.
2019, "RelGAN", section 3). With p the generator's probability of a token after those before it:

    loss_G + w(t) · mean over tokens of -log p(x_t | x_1 .. x_{t-1})

w falls from `teaching` along half a cosine, to `taught` at the share `until` of the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock, Exchange
from sparring.core.game import Critic
from sparring.core.protocols import DataSpec
from sparring.games.adversarial import Adversarial


class Taught(Adversarial):
    """The generator's loss has the likelihood of the real batch in it, of weight `teaching` at first and `taught` from
    the share `until` of the run on.

    Likelihood teaches what may follow what in a fraction of the time that a discriminator's gradient takes through
    tokens that are drawn; but it is of each token after real ones, so that texts drift apart as they get longer, and a
    generator that only hears it spreads over all that is not quite impossible. The game then makes it choose. For
    generators whose module has `log_likelihood(x, z, y)`: recurrent ones with feedback.
    """

    teaching: float = 1.0
    taught: float = 0.0
    until: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teaching < 0 or self.taught < 0 or not 0 < self.until <= 1:
            raise RequestError(
                f"Taught: expected weights >= 0 and until in (0, 1], found {self.teaching}, {self.taught} and "
                f"{self.until}"
            )

    def check(self, data: DataSpec, nets: Mapping[str, nn.Module]) -> None:
        super().check(data, nets)
        if not hasattr(nets["generator"], "log_likelihood"):
            raise RequestError(
                "Taught: the generator tells no likelihoods; take RecurrentGenerator(feedback=True), a module with "
                "log_likelihood(x, z, y), or play Adversarial"
            )

    def weight(self, clock: Clock) -> float:
        """w at a moment."""
        share = (1 + math.cos(math.pi * min(1.0, clock.progress / self.until))) / 2
        return self.taught + (self.teaching - self.taught) * share

    def wanted(self, exchange: Exchange, critic: Critic) -> Tensor:
        loss = super().wanted(exchange, critic)
        weight, real = self.weight(exchange.clock), exchange.real
        # A look asks what the samples feel of the loss, with a generator that only holds them.
        log_likelihood: Any = getattr(exchange.nets["generator"], "log_likelihood", None)
        if not weight or log_likelihood is None:
            return loss
        surprise: Tensor = -log_likelihood(real.x, exchange.z(), real.y).mean()
        exchange.seen["surprise"] = surprise.detach()
        return loss + weight * surprise.to(loss.dtype)
