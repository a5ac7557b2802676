"""Who may move in a step: always both, the discriminator alone at first, in turns of many steps, or who is weaker."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.exchange import Memory, Seen
from sparring.core.game import Part
from sparring.core.protocols import DataSpec


class Moves(Part):
    """Both players, in every step."""

    def discriminator(self, step: int, memory: Memory) -> bool:
        """Whether the discriminator moves in the step with this number, counted from 0."""
        return True

    def generator(self, step: int, memory: Memory) -> bool:
        """Whether the generator does."""
        return True

    def waited(self, memory: Memory) -> None:
        """After a step in which the discriminator did not move: brings the memory up to date, in place."""


class Pretrained(Moves):
    """The discriminator alone for the first `steps` steps, then both."""

    steps: int = 100

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise RequestError(f"Pretrained: expected steps >= 0, found {self.steps}")

    def generator(self, step: int, memory: Memory) -> bool:
        return step >= self.steps


class Switch(Moves):
    """`d` steps of the discriminator alone, then `g` of the generator alone, over and over."""

    d: int = 10
    g: int = 10

    def __post_init__(self) -> None:
        if self.d < 1 or self.g < 1:
            raise RequestError(f"Switch: expected d >= 1 and g >= 1, found {self.d} and {self.g}")

    def discriminator(self, step: int, memory: Memory) -> bool:
        return step % (self.d + self.g) < self.d

    def generator(self, step: int, memory: Memory) -> bool:
        return not self.discriminator(step, memory)


class Balanced(Moves):
    """A player that is too strong waits.

    Strength is the share of pairs of a real and a fake sample that the discriminator puts in the right order, averaged
    over about `window` of its turns: .5 is chance. Above `high` the discriminator waits, below `low` the generator
    does. While the discriminator waits nothing is measured, so the average is moved towards chance instead, and it
    moves again after a few steps. The share, unlike an accuracy, is the same for every objective.
    """

    low: float = 0.55
    high: float = 0.9
    window: int = 20

    def __post_init__(self) -> None:
        if not 0.5 <= self.low < self.high <= 1 or self.window < 1:
            raise RequestError(
                "Balanced: expected 0.5 <= low < high <= 1 and window >= 1, found "
                f"{self.low}, {self.high}, {self.window}"
            )

    def memory(self, data: DataSpec) -> Memory:
        return {"strength": torch.tensor((self.low + self.high) / 2)}

    def discriminator(self, step: int, memory: Memory) -> bool:
        return float(memory["strength"]) <= self.high

    def generator(self, step: int, memory: Memory) -> bool:
        return float(memory["strength"]) >= self.low

    def after(self, memory: Memory, real: Seen, fake: Seen) -> None:
        memory["strength"].lerp_(share_in_order(real.logits, fake.logits), 1 / self.window)

    def waited(self, memory: Memory) -> None:
        memory["strength"].lerp_(torch.full_like(memory["strength"], 0.5), 1 / self.window)


def share_in_order(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The share [] of all pairs with D(real) > D(fake); a tie counts half."""
    difference = real_logits[:, None] - fake_logits
    return ((difference > 0).float() + (difference == 0).float() / 2).mean()
