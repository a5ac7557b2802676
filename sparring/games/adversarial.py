"""The two-player game: a discriminator's turn, then a generator's turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock, Exchange, Memory, Seen
from sparring.core.game import (
    Constraint,
    Critic,
    Game,
    GeneratorPenalty,
    History,
    Objective,
    Part,
    Penalty,
    Phase,
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

    reads_classes: ClassVar[bool] = False
    """Whether a discriminator that tells classes is asked for them."""
    real_logits_depend: ClassVar[bool] = False
    """Whether D(real) depends on what the generator does, so that its gradient must go through it, too."""

    def __post_init__(self) -> None:
        for name in ("d_steps", "g_steps"):
            if getattr(self, name) < 1:
                raise RequestError(f"game.{name}: expected at least 1, found {getattr(self, name)}")
        for name in ("d_weight", "g_weight"):
            if not getattr(self, name) > 0:
                raise RequestError(f"game.{name}: expected more than 0, found {getattr(self, name)}")
        if self.order != "alternating" and self.g_steps > 1:
            raise RequestError(
                f"game.g_steps: {type(self).__name__} moves both players at once, so the generator can't make "
                f"{self.g_steps} moves to one; take Adversarial, or leave g_steps out"
            )
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
        if hasattr(nets["discriminator"], "forward_with_classes") and not self.reads_classes:
            raise RequestError(
                f"{type(self).__name__}: the discriminator tells classes, which this game never asks for, so labels "
                "would have no say; play AuxiliaryClassifier, or give the discriminator another condition"
            )
        for show in self.show[:-1]:
            if show.together > 1:
                raise RequestError(
                    f"game.show: {type(show).__name__} must come last, as the others take single samples"
                )
        for show in self.show:
            if getattr(show, "paired", self.objective.paired) != self.objective.paired:
                say = "true" if self.objective.paired else "false"
                raise RequestError(
                    f"game.show: {type(show).__name__} must read logits as {type(self.objective).__name__} means them: "
                    f"say {type(show).__name__}(paired={say})"
                )
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
                logits=self._discriminator_logits if self.objective.coupled else None,
            ),
            Phase(
                "generator",
                "generator",
                self.generator_loss,
                generator_moves,
                self.g_steps,
                limits("generator"),
                self._generator_logits if (self.generator_objective or self.objective).coupled else None,
            ),
        )

    def critic(self, nets: Mapping[str, nn.Module], clock: Clock, memory: Memory) -> Critic:
        show = tuple(part.at(clock, _of(memory, f"show.{i}")) for i, part in enumerate(self.show))
        return Critic(nets["discriminator"], show)

    def discriminator_loss(self, exchange: Exchange) -> Tensor:
        """The discriminator's mean loss [] on one batch, with the penalties that are due in this step."""
        critic = self.critic(exchange.nets, exchange.clock, exchange.memory)
        real, fake = exchange.real, self._fakes(exchange)
        if self._due(exchange):
            real, fake = (Batch(x.detach().requires_grad_(), y) for x, y in (real, fake))
        loss, seen, found = self.judgement(exchange, critic, real, fake)
        seen_real, seen_fake = (Seen(s.x.detach(), s.y, s.logits.detach()) for s in seen)
        exchange.judged = seen_real, seen_fake
        exchange.seen |= found | {"real_logits": seen_real.logits, "fake_logits": seen_fake.logits}
        return loss

    def judgement(
        self, exchange: Exchange, critic: Critic, real: Batch, fake: Batch
    ) -> tuple[Tensor, tuple[Seen, Seen], dict[str, Tensor]]:
        """The discriminator's mean loss [] with the penalties that are due, what it saw, and its loss and each penalty
        by name. Where a penalty is due, x of both must record gradients."""
        due = self._due(exchange)
        real_logits, fake_logits = self._logits(exchange, critic, real, fake)
        seen = Seen(*real, real_logits), Seen(*fake, fake_logits)
        objective = _now(self.objective, "objective", exchange)
        loss = _mean(exchange, objective, objective.discriminator, real_logits, fake_logits) * self.d_weight
        found = {"loss_d": loss.detach()}
        for i, penalty in due:
            term = _now(penalty, f"penalties.{i}", exchange)(critic, *seen)
            # The mean over what was judged: packs have one logit, and a term for each of their samples.
            term = term.sum() / len(real_logits) if term.dim() == 1 else term
            name = type(penalty).__name__.lower()
            found[f"{name}_{i}" if name in found else name] = term.detach()
            loss = loss + term * penalty.every
        return loss, seen, found

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
        real_logits, fake_logits = self._logits_of_turn(exchange, critic, objective)
        loss = _mean(exchange, objective, objective.generator, real_logits, fake_logits) * self.g_weight
        exchange.seen["loss_g"] = loss.detach()
        return loss

    def _logits_of_turn(self, exchange: Exchange, critic: Critic, objective: Objective) -> tuple[Tensor, Tensor]:
        """Real and fake logits of the generator's turn."""
        fake_logits = critic(exchange.fake(), exchange.real.y)
        if not objective.paired:
            return fake_logits.new_full((), torch.nan).expand_as(fake_logits), fake_logits
        with torch.set_grad_enabled(self.real_logits_depend and torch.is_grad_enabled()):
            return critic(*exchange.real), fake_logits

    def _fakes(self, exchange: Exchange) -> Batch:
        """What the discriminator is shown as fake in its turn, detached."""
        exchange.offered = fake = Batch(exchange.fake().detach(), exchange.real.y)
        if self.history is None:
            return fake
        memory = _of(exchange.memory, "history")
        return self.history.draw(memory, fake, exchange.nets["generator"], exchange.z())

    def _logits(self, exchange: Exchange, critic: Critic, real: Batch, fake: Batch) -> tuple[Tensor, Tensor]:
        """Real and fake logits of the discriminator's turn."""
        if not getattr(critic.net, "per_sample", False) or any(penalty.apart for _, penalty in self._due(exchange)):
            return critic(*real), critic(*fake)
        # One call instead of two, for a network whose logits do not depend on the rest of the batch.
        shown = critic.shown(*real), critic.shown(*fake)
        labels = None if real.y is None else torch.cat([cast(Tensor, y) for _, y in shown])
        both = critic.net(torch.cat([x for x, _ in shown]), labels).to(real.x.dtype)
        real_logits, fake_logits = both.chunk(2)
        return real_logits, fake_logits

    def _discriminator_logits(self, exchange: Exchange) -> tuple[Tensor, Tensor]:
        critic = self.critic(exchange.nets, exchange.clock, exchange.memory)
        return self._logits(exchange, critic, exchange.real, self._fakes(exchange))

    def _generator_logits(self, exchange: Exchange) -> tuple[Tensor, Tensor]:
        critic = self.critic(exchange.nets, exchange.clock, exchange.memory)
        return self._logits_of_turn(exchange, critic, self.generator_objective or self.objective)

    def _due(self, exchange: Exchange) -> list[tuple[int, Penalty]]:
        return [(i, p) for i, p in enumerate(self.penalties) if exchange.clock.step % p.every == 0]

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
            generator = exchange.nets["generator"]
            self.history.keep(_of(exchange.memory, "history"), exchange.offered, generator, exchange.clock)


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


def _mean(
    exchange: Exchange,
    objective: Objective,
    loss: Callable[[Tensor, Tensor], Tensor],
    real_logits: Tensor,
    fake_logits: Tensor,
) -> Tensor:
    """The mean loss [] of the exchange's rows, each judged among the whole batch where the objective compares them."""
    if exchange.peers is None or not objective.coupled:
        return loss(real_logits, fake_logits).mean()
    # The mean over the batch has all that these rows do to the others. As parts are added up by their shares, its
    # gradient is divided by this one's, and its value is not.
    mean = loss(*exchange.among(real_logits, fake_logits)).mean()
    return mean + (mean - mean.detach()) * (1 / exchange.rows.share - 1)


def _now(part: P, place: str, exchange: Exchange) -> P:
    return part.at(exchange.clock, _of(exchange.memory, place))
