"""LeCam regularisation (Tseng et al. 2021, "Regularizing generative adversarial networks under limited data",
section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.exchange import Memory, Seen
from sparring.core.game import Critic, Penalty
from sparring.core.protocols import DataSpec


class LeCam(Penalty):
    """weight · ((D(x) - fake_logit)² + (D(G(z)) - real_logit)²), each real sample with its fake one.

    `real_logit` and `fake_logit` are the moving averages of D(x) and D(G(z)), which keep `decay` of themselves in
    every step; given here are the values that they start from. Draws each side's logits to the other's average, so
    that the discriminator grows less sure: for a few thousand samples, where it would learn them by heart, with
    augmentation. Weakness: it limits logits, not slopes, so it does not stand in for `R1`. (The authors' code lets
    free what lies beyond the other's average; this is the paper's equation.)
    """

    weight: float = 0.3
    decay: float = 0.99
    real_logit: float = 0.0
    fake_logit: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay < 1:
            raise RequestError(f"LeCam: expected decay in [0, 1), found {self.decay}")

    def memory(self, data: DataSpec) -> Memory:
        return {"real_logit": torch.tensor(self.real_logit), "fake_logit": torch.tensor(self.fake_logit)}

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight * ((real.logits - self.fake_logit).square() + (fake.logits - self.real_logit).square())

    def after(self, memory: Memory, real: Seen, fake: Seen) -> None:
        for name, seen in (("real_logit", real), ("fake_logit", fake)):
            memory[name].lerp_(seen.logits.mean().to(memory[name]), 1 - self.decay)
