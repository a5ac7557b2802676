"""What a game is made of: the exchange that one step shows to the players, and the phases in which they move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparring.core.protocols import Batch
from sparring.core.spec import Spec


class Prior(Spec):
    """The law of z. `draw` gives float32 [count, dim] on the random generator's device.

    `truncation` keeps to the middle of the law, for likelier and less varied samples; None is the law itself.
    """

    dim: int

    def draw(self, count: int, random: torch.Generator, truncation: float | None = None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define draw()")


class Seen(NamedTuple):
    """Samples as the discriminator saw them: x [B, ...], y [B] or None, and its logits [B]."""

    x: Tensor
    y: Tensor | None
    logits: Tensor


class Objective(Spec):
    """What the players want: unreduced losses [B], pure functions of logits, each to be minimised."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define discriminator()")

    def generator(self, fake_logits: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define generator()")


class Penalty(Spec):
    """What keeps the discriminator in bounds: an unreduced term [B] for its loss.

    `every` steps it is due; its weight is multiplied by `every` then, so that laziness keeps the mean
    (Karras et al. 2020, StyleGAN2, appendix B). In a step where one is due, x of what is seen records gradients.
    """

    weight: float = 1.0
    every: int = 1

    def __call__(self, discriminator: nn.Module, real: Seen, fake: Seen) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define __call__()")


class Exchange:
    """What one step shows to the players, each thing made once: real samples, noise, and the fakes made from it.

    The fake batch keeps its graph when the generator moves in the same step, so its turn needs no second forward
    pass; the discriminator sees it detached.
    """

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        real: Batch,
        noise: Callable[[int], Tensor],
        *,
        step: int,
        generator_moves: bool,
    ) -> None:
        self.nets = nets
        self.real = real
        self.step = step
        self.seen: dict[str, Tensor] = {}
        """What the step reports: name -> detached tensor of any shape, averaged when it is read."""
        self.generator_moves = generator_moves
        self._noise = noise
        self._draws = 0
        self._fake: Tensor | None = None

    def fake(self) -> Tensor:
        """The current fakes [B, ...], one for each label of the real batch."""
        if self._fake is None:
            z = self._noise(self._draws)
            with torch.set_grad_enabled(self.generator_moves):
                self._fake = self.nets["generator"](z, self.real.y)
            self._draws += 1
        return self._fake

    def moved(self, player: str) -> None:
        """Forgets the fakes when the generator has moved: they came from weights that are no more."""
        if player == "generator":
            self._fake = None


class Phase(NamedTuple):
    """One player's move: the loss [] whose gradient moves it, due every so many steps, made `repeat` times."""

    name: str
    player: str
    loss: Callable[[Exchange], Tensor]
    every: int = 1
    repeat: int = 1

    def due(self, step: int) -> bool:
        """Whether the player moves in the step with this number, counted from 0; the last of each `every`."""
        return (step + 1) % self.every == 0


class Game(Spec):
    """Who moves when, and for what."""

    def phases(self) -> tuple[Phase, ...]:
        raise NotImplementedError(f"{type(self).__name__} must define phases()")
