"""DRAGAN (Kodali et al. 2017, "On convergence and stability of GANs")."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.exchange import Seen
from sparring.core.game import Critic, Penalty
from sparring.games.penalties.gradient import gradients, lengths


class DRAGAN(Penalty):
    """weight · (|∇D(x + δ)| - 1)² around real samples, δ normal with standard deviation `spread` · std(x).

    std(x) is of all values of the batch, as in the authors' code, so that `spread` fits data of any scale (the paper's
    own δ has a fixed variance). For minimax and non-saturating losses, which it keeps from saturating near the data
    without a critic of many steps. Weakness: it wants a slope of 1 also at the equilibrium, where `R1` wants none.
    """

    weight: float = 10.0
    spread: float = 0.5

    per_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.spread > 0:
            raise RequestError(f"DRAGAN: expected spread > 0, found {self.spread}")

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        data = real.x.detach()
        noise = torch.randn(data.shape, dtype=data.dtype, device=data.device)
        x = (data + self.spread * data.std(correction=0) * noise).requires_grad_()
        excess = lengths(gradients(critic(x, real.y), x)) - 1
        return self.weight * excess.square()
