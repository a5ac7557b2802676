"""Consistency regularisation, of real samples (Zhang et al. 2020, "Consistency regularization for generative
adversarial networks", algorithm 1) and of both (Zhao et al. 2021, "Improved consistency regularization for GANs",
algorithm 1)."""

from __future__ import annotations

import copy
from typing import Self

from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock, Memory, Seen
from sparring.core.game import Critic, Penalty, Show
from sparring.core.protocols import DataSpec


class Consistency(Penalty):
    """CR: weight · (D(x) - D(T(x)))² at real samples, T being what `show` does, in this order.

    Teaches the discriminator that T changes nothing: for T that leave the data's law as it is (mirroring, shifting,
    cutting out), on small data, with any objective. T is not part of the game: neither player's loss sees T(x).
    Weakness: with reals alone, the generator may learn to make what T makes; `BalancedConsistency` is against that.
    """

    weight: float = 10.0
    show: tuple[Show, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.show:
            raise RequestError(f"{type(self).__name__}: expected at least one augmentation in show, found none")

    def at(self, clock: Clock, memory: Memory) -> Self:
        now = copy.copy(super().at(clock, memory))
        object.__setattr__(now, "show", tuple(show.at(clock, {}) for show in self.show))
        return now

    def check(self, data: DataSpec, net: nn.Module) -> None:
        super().check(data, net)
        for show in self.show:
            name = f"{type(self).__name__}: {type(show).__name__}"
            if show.memory(data):
                raise RequestError(f"{name} adapts itself to the game; take augmentations that do not")
            if show.data(data) != data:
                raise RequestError(f"{name} changes what a sample is, its shape or its labels; take one that does not")
            show.check(data, net)

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight * self.change(critic, real)

    def change(self, critic: Critic, seen: Seen) -> Tensor:
        """(D(x) - D(T(x)))² [B]."""
        x, y = seen.x, seen.y
        for show in self.show:
            x, y = show(x, y)
        logits: Tensor = critic(x, y)
        return (seen.logits - logits).square()


class BalancedConsistency(Consistency):
    """bCR: weight · ((D(x) - D(T(x)))² + fake_share · (D(G(z)) - D(T(G(z))))²), each real sample with its fake one.

    As `Consistency`, without its weakness, for one more forward pass: the discriminator may not tell reals from fakes
    by whether they look augmented. `fake_share` is λ_fake / λ_real of the paper.
    """

    fake_share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fake_share >= 0:
            raise RequestError(f"BalancedConsistency: expected fake_share >= 0, found {self.fake_share}")

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight * (self.change(critic, real) + self.fake_share * self.change(critic, fake))
