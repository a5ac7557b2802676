"""What a game is made of: what each player wants, what keeps it in bounds, what it is shown, and who moves when.

Every part is a `Spec`, so a game is configuration. A part that remembers something from step to step (the balance of
BEGAN, the strength of adaptive augmentation) keeps it as tensors in the game's memory, which is stored with the run;
`at` gives the part as it is at this moment, so that what it computes stays a pure function of its arguments.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock, Exchange, Memory, Seen
from sparring.core.protocols import Batch, DataSpec
from sparring.core.spec import Spec


class Prior(Spec):
    """The law of z. `draw` gives float32 [count, dim] on the random generator's device.

    `truncation` keeps to the middle of the law, for likelier and less varied samples; None is the law itself.
    """

    dim: int

    def draw(self, count: int, random: torch.Generator, truncation: float | None = None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define draw()")


class Part(Spec):
    """A part of a game. Most parts have no memory and are the same throughout."""

    def memory(self, data: DataSpec) -> Memory:
        """What is remembered before the first step; a tensor named like a field stands in for it."""
        return {}

    def at(self, clock: Clock, memory: Memory) -> Self:
        """The part as it is at this moment: fields that the memory holds are its tensors."""
        if not memory:
            return self
        now = copy.copy(self)
        for name, tensor in memory.items():
            object.__setattr__(now, name, tensor)
        return now

    def after(self, memory: Memory, real: Seen, fake: Seen) -> None:
        """After a step in which the discriminator moved: brings the memory up to date, in place."""

    def check(self, data: DataSpec, net: nn.Module) -> None:
        """Raises `RequestError` where the part contradicts the data or the network of the player that it is for."""


class Objective(Part):
    """What the players want: unreduced losses [B], pure functions of logits [B], each to be minimised.

    The generator's loss reads `real_logits` only where `paired` says so; elsewhere they are not computed and are NaN.
    """

    paired: ClassVar[bool] = False
    coupled: ClassVar[bool] = False
    """Whether a sample's loss depends on the logits of the rest of its batch."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define discriminator()")

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define generator()")


class Show(Part):
    """What is done to every sample, real or fake, before the discriminator sees it, in both players' turns.

    It is differentiable in x, and draws from torch's default random generator, which the loop seeds for every step.
    """

    @property
    def together(self) -> int:
        """How many samples are shown as one."""
        return 1

    def data(self, data: DataSpec) -> DataSpec:
        """What the discriminator then sees; its network is built for that."""
        return data

    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x [B, *shape] and y as they are shown."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__()")


class Critic:
    """The discriminator behind what it is shown: `critic(x, y)` are logits [B] of samples x [B, *shape], in the
    precision of x; fewer of them where samples are shown in packs."""

    # Not a module: one is made in every turn, and to make a module takes as long as a small network's layer.
    __slots__ = ("net", "show")

    def __init__(self, net: nn.Module, show: Sequence[Show] = ()) -> None:
        self.net = net
        self.show = show

    def shown(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x and y after all that is done to them."""
        for show in self.show:
            x, y = show(x, y)
        return x, y

    @property
    def together(self) -> int:
        """How many samples have one logit."""
        return math.prod(show.together for show in self.show)

    def each(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """A logit [B] for every sample, in whatever packs they are shown: that of its pack, whose gradient is counted
        once. Where packs do not divide the samples, the last is filled up from the beginning."""
        size, count = self.together, len(x)
        if size == 1:
            return self(x, y)
        index = torch.arange(-(-count // size) * size, device=x.device) % count
        logits = self(x[index], None if y is None else y[index])
        return torch.stack([logits, *[logits.detach()] * (size - 1)], 1).flatten()[:count]

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        # Losses are of the data's precision also where networks compute in bfloat16.
        logits: Tensor = self.net(*self.shown(x, y)).to(x.dtype)
        return logits


class Penalty(Part):
    """What keeps the discriminator in bounds: an unreduced term for its loss, [B] or, where it is of the weights, [].

    `every` steps it is due; its weight is multiplied by `every` then, so that laziness keeps the mean
    (Karras et al. 2020, StyleGAN2, appendix B). In a step where one is due, x of what is seen records gradients.
    """

    weight: float = 1.0
    final: float | None = None
    """The weight to which it moves along half a cosine; None keeps it as it is."""
    until: float = 1.0
    """The share of the run, in (0, 1], after which it is there."""
    every: int = 1

    per_sample: ClassVar[bool] = False
    """Whether it takes the gradient of the sum of logits for each sample's own, which batch statistics falsify."""

    apart: ClassVar[bool] = False
    """Whether it differentiates the logits of one side alone: cheaper where real and fake were read in two calls."""

    def __post_init__(self) -> None:
        ends = (self.weight,) if self.final is None else (self.weight, self.final)
        if not all(end >= 0 for end in ends) or self.every < 1 or not 0 < self.until <= 1:
            found = f"{', '.join(map(str, ends))}; {self.every} and {self.until}"
            raise RequestError(
                f"{type(self).__name__}: expected weights >= 0, every >= 1 and until in (0, 1], found {found}"
            )

    def at(self, clock: Clock, memory: Memory) -> Self:
        now = super().at(clock, memory)
        if self.final is None:
            return now
        now = copy.copy(now)
        share = (1 + math.cos(math.pi * min(1.0, clock.progress / self.until))) / 2
        object.__setattr__(now, "weight", self.final + (self.weight - self.final) * share)
        return now

    def check(self, data: DataSpec, net: nn.Module) -> None:
        if self.per_sample and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules()):
            raise RequestError(
                f"{type(self).__name__}: the discriminator has batch normalisation, through which a sample's gradient "
                "depends on the rest of its batch; take a discriminator without it, or another penalty"
            )

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define __call__()")


class GeneratorPenalty(Part):
    """What keeps the generator in bounds: an unreduced term [B] or [] for its loss, and the memory's new values.

    `every` as for `Penalty`.
    """

    weight: float = 1.0
    every: int = 1

    def __call__(self, generator: nn.Module, z: Tensor, y: Tensor | None) -> tuple[Tensor, Memory]:
        raise NotImplementedError(f"{type(self).__name__} must define __call__()")


class Constraint(Part):
    """A bound on a player that no loss expresses: on its gradients before it moves, on its weights afterwards."""

    player: Literal["discriminator", "generator"] = "discriminator"

    def limit(self, gradients: Sequence[Tensor]) -> None:
        """Changes the gradients in place."""

    def project(self, parameters: Sequence[Tensor]) -> None:
        """Changes the parameters in place, after the move."""


class History(Part):
    """Fakes of earlier in the game, mixed into those that the discriminator is trained on."""

    def start(self, data: DataSpec, generator: nn.Module) -> Memory:
        """What is remembered before the first step."""
        return {}

    def draw(self, memory: Memory, fake: Batch, generator: nn.Module, z: Tensor) -> Batch:
        """The fakes that the discriminator sees in place of `fake`: as many, detached."""
        raise NotImplementedError(f"{type(self).__name__} must define draw()")

    def keep(self, memory: Memory, fake: Batch | None, generator: nn.Module, clock: Clock) -> None:
        """After the step: brings the memory up to date, in place. `fake` are the generator's of the discriminator's
        turn, None in a step in which it had none."""
        raise NotImplementedError(f"{type(self).__name__} must define keep()")


class Phase(NamedTuple):
    """One player's move: the loss [] whose gradient moves it, within constraints, when it is due, made `repeat` times.

    `when(step, memory)` is asked before each step, counted from 0.
    """

    name: str
    player: str
    loss: Callable[[Exchange], Tensor]
    when: Callable[[int, Memory], bool] = lambda step, memory: True
    repeat: int = 1
    constraints: tuple[Constraint, ...] = ()
    logits: Callable[[Exchange], tuple[Tensor, Tensor]] | None = None
    """Real and fake logits of this move, where its loss compares the samples of a batch with each other: computed
    beforehand, in the same random order, when the batch is divided."""


class Game(Spec):
    """Who moves when, and for what."""

    divides: ClassVar[bool] = True
    """Whether a step is the sum of the parts of its batch, so that it may be computed in parts."""

    def start(self, data: DataSpec, nets: Mapping[str, nn.Module]) -> Memory:
        """What the game remembers before the first step."""
        return {}

    def check(self, data: DataSpec, nets: Mapping[str, nn.Module]) -> None:
        """Raises `RequestError` where parts contradict each other, the data or the networks."""

    def shown(self, data: DataSpec) -> DataSpec:
        """What the discriminator sees of the data; its network is built for that."""
        return data

    order: ClassVar[Literal["alternating", "simultaneous", "extragradient"]] = "alternating"

    def critic(self, nets: Mapping[str, nn.Module], clock: Clock, memory: Memory) -> Critic:
        """The discriminator behind what it is shown at this moment."""
        return Critic(nets["discriminator"])

    def phases(self) -> tuple[Phase, ...]:
        raise NotImplementedError(f"{type(self).__name__} must define phases()")

    def after(self, exchange: Exchange) -> None:
        """After the step's moves: brings the memory up to date, in place."""
