"""BEGAN (Berthelot, Schumm and Metz 2017, "BEGAN: boundary equilibrium generative adversarial networks", section 3.4).

L(x) is the error with which D, an autoencoder, reconstructs x; the logit is -L(x).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.exchange import Memory, Seen
from sparring.core.protocols import DataSpec
from sparring.games.objectives.energy import Energy


class BEGAN(Energy):
    """D minimises L(x) - k L(G(z)), G minimises L(G(z)), and k is moved so that E L(G(z)) = gamma E L(x) is kept.

    After every turn of D, k moves by rate · (gamma E L(x) - E L(G(z))) and is kept in [0, 1]. The memory also holds the
    paper's measure of convergence, E L(x) + |gamma E L(x) - E L(G(z))|, which falls as a run gets better. Take it for
    smooth images of one kind, such as faces. A low gamma gives clear samples of few kinds, a high one variety, and
    none is right for all data.
    """

    gamma: float = 0.5
    """The fakes' error as a share of the real samples' that is aimed at, the paper's diversity ratio."""
    k: float = 0.0
    """How much raising the fakes' error counts for D, at first."""
    rate: float = 0.001
    """How fast k moves, the paper's λ_k."""

    def __post_init__(self) -> None:
        if not (0 < self.gamma <= 1 and 0 <= self.k <= 1 and self.rate > 0):
            raise RequestError(
                "BEGAN: expected gamma above 0 and at most 1, k from 0 to 1 and rate above 0, found "
                f"{self.gamma}, {self.k} and {self.rate}"
            )

    def memory(self, data: DataSpec) -> Memory:
        return {"k": torch.tensor(self.k), "convergence": torch.tensor(0.0)}

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self.k * fake_logits - real_logits

    def after(self, memory: Memory, real: Seen, fake: Seen) -> None:
        real_error, fake_error = -real.logits.mean(), -fake.logits.mean()
        balance = self.gamma * real_error - fake_error
        memory["k"].add_(self.rate * balance).clamp_(0, 1)
        memory["convergence"].copy_(real_error + balance.abs())
