"""What a game is made of: what each player wants, what keeps it in bounds, what it is shown, and who moves when.

Every part is a `Spec`, so a game is configuration. A part that remembers something from step to step (the balance of
BEGAN, the strength of adaptive augmentation) keeps it as tensors in the game's memory, which is stored with the run;
`at` gives the part as it is at this moment, so that what it computes stays a pure function of its arguments.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import Batch, DataSpec
from sparring.core.spec import Spec

Memory = dict[str, Tensor]
"""What a part or a game remembers from step to step, by name; brought up to date in place."""


class Clock(NamedTuple):
    """Where a run stands: steps made, images seen, passes over the data, share of the run that is done."""

    step: int
    images: int
    epoch: float
    progress: float


START = Clock(0, 0, 0.0, 0.0)


class Prior(Spec):
    """The law of z. `draw` gives float32 [count, dim] on the random generator's device.

    `truncation` keeps to the middle of the law, for likelier and less varied samples; None is the law itself.
    """

    dim: int

    def draw(self, count: int, random: torch.Generator, truncation: float | None = None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define draw()")


class Seen(NamedTuple):
    """Samples as the discriminator saw them: x [B, ...] before anything that is done to them for show, y [B, ...] or
    None, and its logits [B]."""

    x: Tensor
    y: Tensor | None
    logits: Tensor


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


class Rows(NamedTuple):
    """Rows start .. stop - 1 of a batch of `total`: what of a step is looked at in one place or at one time."""

    start: int
    stop: int
    total: int

    @property
    def share(self) -> float:
        """The part of the whole, in (0, 1]."""
        return (self.stop - self.start) / self.total


class Exchange:
    """What one step shows to the players, each thing made once: real samples, noise, and the fakes made from it.

    The fake batch keeps its graph when the generator moves in the same step, so its turn needs no second forward
    pass; the discriminator sees it detached.

    An exchange may hold only some `rows` of the step's batch (all, if not said): the step's loss is then the sum of the
    losses of its parts, each times its rows' share.
    """

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        real: Batch,
        noise: Callable[[int], Tensor],
        *,
        clock: Clock = START,
        memory: Memory | None = None,
        generator_moves: bool = True,
        rows: Rows | None = None,
    ) -> None:
        self.nets = nets
        self.real = real
        self.rows = Rows(0, len(real.x), len(real.x)) if rows is None else rows
        self.peers: tuple[Tensor, Tensor] | None = None
        """Real and fake logits of the step's whole batch, without gradients, where a loss compares all of them."""
        self.clock = clock
        self.memory: Memory = {} if memory is None else memory
        self.seen: dict[str, Tensor] = {}
        """What the step reports: name -> detached tensor of any shape, averaged when it is read."""
        self.generator_moves = generator_moves
        self.judged: tuple[Seen, Seen] | None = None
        """Real and fake samples of the discriminator's last turn, without gradients."""
        self.offered: Batch | None = None
        """The generator's fakes in the discriminator's last turn, before any of earlier were mixed in."""
        self.remembered: Memory = {}
        """New values for the memory, found while losses were computed, to be taken up after the step."""
        self._noise = noise
        self._draws = 0
        self._fake: Tensor | None = None
        self._z: Tensor | None = None

    def z(self) -> Tensor:
        """The noise [B, dim] of the current fakes."""
        if self._z is None:
            self._z = self._noise(self._draws)
            self._draws += 1
        return self._z

    def fake(self) -> Tensor:
        """The current fakes [B, ...], one for each label of the real batch."""
        if self._fake is None:
            with torch.set_grad_enabled(self.generator_moves):
                # In the data's precision, also where networks compute in bfloat16.
                self._fake = self.nets["generator"](self.z(), self.real.y).to(self.real.x.dtype)
        return self._fake

    def cut(self, size: int, *, generator_moves: bool) -> list[Exchange]:
        """The exchange in parts of `size` rows, or fewer in the last."""
        parts = []
        for start in range(0, len(self.real.x), size):
            own = slice(start, start + size)
            x, y = self.real
            real = Batch(x[own], None if y is None else y[own])
            part = Exchange(
                self.nets,
                real,
                lambda _, own=own: self.z()[own],  # type: ignore[misc]
                clock=self.clock,
                memory=self.memory,
                generator_moves=generator_moves,
                rows=Rows(self.rows.start + start, self.rows.start + start + len(real.x), self.rows.total),
            )
            parts.append(part)
        return parts

    def join(self, parts: Sequence[Exchange]) -> None:
        """Takes over what was found in the parts that it was cut into."""
        shares = [len(part.real.x) / len(self.real.x) for part in parts]

        def joined(found: Sequence[Tensor]) -> Tensor:
            if found[0].dim():
                return torch.cat(list(found))
            return torch.stack([value * share for value, share in zip(found, shares, strict=True)]).sum()

        self.seen |= {name: joined([part.seen[name] for part in parts]) for name in parts[0].seen}
        self.remembered |= {name: joined([part.remembered[name] for part in parts]) for name in parts[0].remembered}
        judged = [part.judged for part in parts if part.judged is not None]
        if judged:
            real, fake = ([pair[side] for pair in judged] for side in (0, 1))
            self.judged = _joined_seen(real), _joined_seen(fake)
        offered = [part.offered for part in parts if part.offered is not None]
        if offered:
            y = None if offered[0].y is None else torch.cat([cast(Tensor, batch.y) for batch in offered])
            self.offered = Batch(torch.cat([batch.x for batch in offered]), y)

    def gather(self, gathered: Callable[[Tensor], Tensor]) -> None:
        """Brings together what was found of the rows that others have, which are as many, for what the game remembers
        of all of them."""
        if self.judged is not None:
            real, fake = (
                Seen(*(None if t is None else gathered(t) for t in seen))  # type: ignore[arg-type]
                for seen in self.judged
            )
            self.judged = real, fake
        if self.offered is not None:
            x, y = self.offered
            self.offered = Batch(gathered(x), None if y is None else gathered(y))
        self.remembered = {name: gathered(value[None]).mean(0) for name, value in self.remembered.items()}

    def among(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of the step's whole batch, of which these are this exchange's rows and record gradients."""
        if self.peers is None:
            return real_logits, fake_logits
        whole = []
        for own, peers in zip((real_logits, fake_logits), self.peers, strict=True):
            first = self.rows.start * len(peers) // self.rows.total  # packs have one logit for several rows
            whole.append(torch.cat([peers[:first], own, peers[first + len(own) :]]))
        return whole[0], whole[1]

    @property
    def has_fakes(self) -> bool:
        """Whether the current fakes have been made."""
        return self._fake is not None

    def forget_fakes(self) -> None:
        """The fakes are made again when they are asked for, from the same noise."""
        self._fake = None

    def moved(self, player: str) -> None:
        """Forgets the fakes when the generator has moved: they came from weights that are no more."""
        if player == "generator":
            self._fake = self._z = None


def _joined_seen(parts: Sequence[Seen]) -> Seen:
    y = None if parts[0].y is None else torch.cat([cast(Tensor, part.y) for part in parts])
    return Seen(torch.cat([part.x for part in parts]), y, torch.cat([part.logits for part in parts]))


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
