"""The two-player game: a discriminator's turn, then a generator's turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.game import (
    Clock,
    Constraint,
    Critic,
    Exchange,
    Game,
    GeneratorPenalty,
    History,
    Memory,
    Objective,
    Part,
    Penalty,
    Phase,
    Seen,
    Show,
)
from sparring.core.protocols import Batch, DataSpec
from sparring.games.moves import Moves
from sparring.games.objectives import NonSaturating

P = TypeVar("P", bound=Part)


class Adversarial(Game):
    """Algorithm 1 of Goodfellow et al. 2014: `d_steps` moves of the discriminator, each on real samples and noise
    never shown before, then `g_steps` moves of the generator.

    `generator_objective` is what the generator wants where it is not `objective`. `show` is done, in this order, to all
    that the discriminator sees; `history` mixes earlier fakes into its turn. `moves` says which player waits.
    The weights stand before the players' losses. They balance the two under SGD; Adam and RMSprop divide a constant
    factor out again, there the learning rates are the balance.
    """

    objective: Objective = NonSaturating()
    generator_objective: Objective | None = None
    penalties: tuple[Penalty, ...] = ()
    generator_penalties: tuple[GeneratorPenalty, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    show: tuple[Show, ...] = ()
    history: History | None = None
    moves: Moves = Moves()
    d_steps: int = 1
    g_steps: int = 1
    d_weight: float = 1.0
    g_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("d_steps", "g_steps"):
            if getattr(self, name) < 1:
                raise RequestError(f"game.{name}: expected at least 1, found {getattr(self, name)}")
        for name in ("d_weight", "g_weight"):
            if not getattr(self, name) > 0:
                raise RequestError(f"game.{name}: expected more than 0, found {getattr(self, name)}")
        other = self.generator_objective
        if other is not None and other.paired != self.objective.paired:
            paired, single = (other, self.objective) if other.paired else (self.objective, other)
            raise RequestError(
                f"game.generator_objective: {type(paired).__name__} judges pairs of a real and a fake sample and "
                f"{type(single).__name__} judges each alone, so their logits mean different things; take both of a kind"
            )

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Every part with its place in the recipe, such as `penalties.0`."""
        for field in dataclasses.fields(cast(Any, self)):
            value = getattr(self, field.name)
            if isinstance(value, Part):
                yield field.name, value
            elif isinstance(value, tuple):
                yield from ((f"{field.name}.{i}", part) for i, part in enumerate(value))

    def start(self, data: DataSpec, nets: Mapping[str, nn.Module]) -> Memory:
        memory = {f"{place}.{k}": v for place, part in self.parts() for k, v in part.memory(data).items()}
        if self.history is not None:
            memory |= {f"history.{k}": v for k, v in self.history.start(data, nets["generator"]).items()}
        return memory

    def check(self, data: DataSpec, nets: Mapping[str, nn.Module]) -> None:
        for _, part in self.parts():
            player = getattr(part, "player", "generator" if isinstance(part, GeneratorPenalty) else "discriminator")
            part.check(data, nets[player])

    def shown(self, data: DataSpec) -> DataSpec:
        for show in self.show:
            data = show.data(data)
        return data

    def phases(self) -> tuple[Phase, ...]:
        def limits(player: str) -> tuple[Constraint, ...]:
            return tuple(constraint for constraint in self.constraints if constraint.player == player)

        def generator_moves(step: int, memory: Memory) -> bool:
            # The last of each `d_steps`.
            return (step + 1) % self.d_steps == 0 and self.moves.generator(step, _of(memory, "moves"))

        return (
            Phase(
                "discriminator",
                "discriminator",
                self.discriminator_loss,
                lambda step, memory: self.moves.discriminator(step, _of(memory, "moves")),
                constraints=limits("discriminator"),
            ),
            Phase("generator", "generator", self.generator_loss, generator_moves, self.g_steps, limits("generator")),
        )

    def critic(self, nets: Mapping[str, nn.Module], clock: Clock, memory: Memory) -> Critic:
        show = tuple(part.at(clock, _of(memory, f"show.{i}")) for i, part in enumerate(self.show))
        return Critic(nets["discriminator"], show)

    def discriminator_loss(self, exchange: Exchange) -> Tensor:
        """The discriminator's mean loss [] on one batch, with the penalties that are due in this step."""
        critic = self.critic(exchange.nets, exchange.clock, exchange.memory)
        y = exchange.real.y
        real_x, fake = exchange.real.x, Batch(exchange.fake().detach(), y)
        if self.history is not None:
            memory = _of(exchange.memory, "history")
            fake = self.history.draw(memory, fake, exchange.nets["generator"], exchange.z())
        fake_x = fake.x
        due = [(i, p) for i, p in enumerate(self.penalties) if exchange.clock.step % p.every == 0]
        if due:
            real_x, fake_x = real_x.detach().requires_grad_(), fake_x.detach().requires_grad_()
        if getattr(critic.net, "per_sample", False) and not due:
            # One call instead of two, for a network whose logits do not depend on the rest of the batch.
            shown = critic.shown(real_x, y), critic.shown(fake_x, fake.y)
            labels = None if y is None else torch.cat([cast(Tensor, part[1]) for part in shown])
            both = critic.net(torch.cat([shown[0][0], shown[1][0]]), labels)
            real_logits, fake_logits = both.to(real_x.dtype).chunk(2)
        else:
            real_logits, fake_logits = critic(real_x, y), critic(fake_x, fake.y)
        seen = Seen(real_x, y, real_logits), Seen(fake_x, fake.y, fake_logits)
        objective = _now(self.objective, "objective", exchange)
        loss = objective.discriminator(real_logits, fake_logits).mean() * self.d_weight
        exchange.judged = tuple(Seen(s.x.detach(), s.y, s.logits.detach()) for s in seen)  # type: ignore[assignment]
        exchange.seen |= {
            "loss_d": loss.detach(),
            "real_logits": real_logits.detach(),
            "fake_logits": fake_logits.detach(),
        }
        for i, penalty in due:
            term = _now(penalty, f"penalties.{i}", exchange)(critic, *seen).mean()
            exchange.seen[type(penalty).__name__.lower()] = term.detach()
            loss = loss + term * penalty.every
        return loss

    def generator_loss(self, exchange: Exchange) -> Tensor:
        """The generator's mean loss [] on one batch of fakes, with the penalties that are due in this step."""
        loss = self.wanted(exchange, self.critic(exchange.nets, exchange.clock, exchange.memory))
        for i, penalty in enumerate(self.generator_penalties):
            if exchange.clock.step % penalty.every == 0:
                place = f"generator_penalties.{i}"
                generator, z, y = exchange.nets["generator"], exchange.z(), exchange.real.y
                term, remembered = _now(penalty, place, exchange)(generator, z, y)
                exchange.remembered |= {f"{place}.{k}": v.detach() for k, v in remembered.items()}
                exchange.seen[type(penalty).__name__.lower()] = term.detach().mean()
                loss = loss + term.mean() * penalty.every
        return loss

    def wanted(self, exchange: Exchange, critic: Critic) -> Tensor:
        """The generator's mean loss [] without penalties, against any critic."""
        place = "objective" if self.generator_objective is None else "generator_objective"
        objective = _now(self.generator_objective or self.objective, place, exchange)
        fake_logits = critic(exchange.fake(), exchange.real.y)
        if objective.paired:
            with torch.no_grad():  # what the generator does has no influence on D(real)
                real_logits = critic(*exchange.real)
        else:
            real_logits = fake_logits.new_full((), torch.nan).expand_as(fake_logits)
        loss = objective.generator(real_logits, fake_logits).mean() * self.g_weight
        exchange.seen["loss_g"] = loss.detach()
        return loss

    @torch.no_grad()
    def after(self, exchange: Exchange) -> None:
        for name, tensor in exchange.remembered.items():
            exchange.memory[name].copy_(tensor)
        if exchange.memory and exchange.judged is not None:
            for place, part in self.parts():
                part.after(_of(exchange.memory, place), *exchange.judged)
        elif exchange.memory:
            self.moves.waited(_of(exchange.memory, "moves"))
        if self.history is not None:
            fake = Batch(exchange.fake().detach(), exchange.real.y)
            generator = exchange.nets["generator"]
            self.history.keep(_of(exchange.memory, "history"), fake, generator, exchange.clock)


class Simultaneous(Adversarial):
    """Both players move at once: each along its gradient at the point where the step began."""

    order = "simultaneous"


class Extragradient(Adversarial):
    """Korpelevich 1976; Gidel et al. 2019 ("A variational inequality perspective on GANs"), algorithms 2 and 4: both
    players look one step ahead and then move, from where they were, along the gradients found there.

    A step costs two. The optimiser sees both gradients, as in the paper's ExtraAdam.
    """

    order = "extragradient"


def _of(memory: Memory, place: str) -> Memory:
    """The memory of the part at a place."""
    start = f"{place}."
    return {k.removeprefix(start): v for k, v in memory.items() if k.startswith(start)}


def _now(part: P, place: str, exchange: Exchange) -> P:
    return part.at(exchange.clock, _of(exchange.memory, place))
