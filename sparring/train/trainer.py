"""The one training loop, in reading order: draw, due phases, averages, clock, look, report, alarm, sample, score, save.

The loop yields events and knows nothing of disks or screens; whoever runs it (the command, a notebook, a test) prints,
draws or stores what they carry. State is what `state` returns and nothing else: all else is a function of the recipe
and the clock, so a run that stops and resumes goes on exactly.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor

from sparring.core.errors import RequestError, SourceError, TrainingError
from sparring.core.exchange import START, Clock, Exchange
from sparring.core.game import Critic
from sparring.core.protocols import Batch, DataSpec, Source
from sparring.core.seeds import derive
from sparring.train.care import Care
from sparring.train.course import Course
from sparring.train.events import Alarmed, Event, Faulted, Judge, Mended, Sampled, Saved, Scored, Stepped
from sparring.train.faults import (
    NotFiniteError,
    OutOfMemoryError,
    memory_watched,
    refuse_not_finite,
    without_frames,
)
from sparring.train.health import Alarm, Means
from sparring.train.mend import Mending
from sparring.train.order import order_of
from sparring.train.phase import Arithmetic, offer, play
from sparring.train.player import Player
from sparring.train.ranks import Ranks
from sparring.train.recipe import Recipe
from sparring.train.report import Report
from sparring.train.returns import cannot_be_divided, with_less_memory, with_other_numbers
from sparring.train.samples import Noise, Samples
from sparring.train.schedule import Budget, Pace
from sparring.train.signals import look
from sparring.train.tried import check_own


class Trainer:
    """Plays a recipe's game on a source of data. `judge` may be None: then nothing is scored.

    `recipe.train.precision` and `matmul` must be settled (not `auto`). Labels in the source make the run conditional.
    `held_out` are real samples that are not trained on; with them the alarms tell whether D learns by heart.
    `ranks` are the processes that play together; each has a trainer of its own, and all go through the same events.
    """

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        device: torch.device,
        judge: Judge | None = None,
        held_out: Source | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.ranks = Ranks() if ranks is None else ranks
        self.source = source.to(device)
        self.held_out = None if held_out is None else held_out.to(device)
        self.judge = judge
        train = recipe.train
        torch.set_float32_matmul_precision(train.matmul)
        self.faults = 0
        """How often the run has gone back because of numbers that were not finite."""
        self._seed("init")
        self.players = _players(recipe, source.spec, device)
        self.nets = {name: player.net for name, player in self.players.items()}
        recipe.game.check(source.spec, self.nets)
        _check_batch(recipe, recipe.game.critic(self.nets, START, {}).together, self.ranks.count)
        for mend in train.mend:
            mend.check(recipe.game, source.spec, self.nets["discriminator"])
        self.memory = {k: v.to(device) for k, v in recipe.game.start(source.spec, self.nets).items()}
        self.care = Care(recipe.game, train.mend)
        self.game, self.phases = recipe.game, recipe.game.phases()
        self.arithmetic: AbstractContextManager[object] = nullcontext()
        if train.precision == "bfloat16":
            self.arithmetic = torch.autocast(device.type, dtype=torch.bfloat16)
        self.micro: int | None = None
        """The most samples that are looked at together, where all of a batch do not fit into memory."""
        self.good: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        """A copy of the state that was last stored: what a run goes back to."""
        self.order = order_of(self.source, self._stream())
        self.report, self.looks = Report(), Report()
        self.noise = Noise(recipe.prior, device)
        average = self.players["generator"].average
        assert average is not None
        self.samples = Samples(average, self.noise, self.source, train.seed, device, self.arithmetic)
        self.course = Course(recipe, len(source))
        self.step = 0
        self.num_grids = 0
        self.owed = False
        """Whether a score is due that a stop has come before."""
        self._asked = self._agreed = False
        """Whether this process is asked to stop, and whether all of several know that one is."""

    @property
    def clock(self) -> Clock:
        images = self.step * self.recipe.train.batch
        return Clock(self.step, images, images / len(self.source), self.course.plan.progress(images))

    @property
    def done(self) -> bool:
        return self.course.over(self.clock.images) and not self.owed

    def set_budget(self, budget: Budget) -> None:
        """A new budget for the whole run, what is done included."""
        self.recipe = self.recipe.replace(train=self.recipe.train.replace(budget=budget))
        images = self.clock.images
        if not self.course.set_budget(budget, images):
            return
        self.num_grids = int(self.recipe.train.grids * self.clock.progress**0.5) + min(1, images)
        self.course.scores = self.course.scores.rebudget(self.recipe.scoring, self.clock)

    def stop(self) -> None:
        """Asks the loop to save and end after the step in progress; safe to call from a signal handler."""
        self._asked = True

    @property
    def _stopping(self) -> bool:
        """Of several processes each asks the same way on, so all go by what they have agreed on."""
        return self._asked if self.ranks.count == 1 else self._agreed

    def run(self) -> Iterator[Event]:
        """Trains until the budget is spent or `stop` is called; the last event is a `Saved`.

        A step along numbers that are not finite is not made: the run goes back to what it stored last, up to `TIMES`
        times, each with another order of the data and other noise. Where a step does not fit into memory, it goes back
        and takes smaller parts of a batch at a time. Raises `TrainingError` when that does not help, or when the data
        can no longer be read; what was saved before stays good.
        """
        train = self.recipe.train
        if not self.care.kept:
            self.care.keep(self._positions())
        self._remembered()  # also the plan, which a new budget may have changed since it was stored
        started = time.perf_counter() - self.course.seconds
        self._saved_at, self._pace = self.course.seconds, Pace(self.step, self.course.seconds)
        while True:
            try:
                with memory_watched():
                    if self.step == 0 and train.grids and not self.num_grids:
                        yield self.sample_grid()
                    if self.owed and not self._stopping:
                        yield from self._judged(started)
                    if self.done or self._stopping:
                        saved = self.saved("end" if self.done else "stop")
                        self._asked = self._agreed = False  # heard: whoever runs the loop again means it
                        yield saved
                        return
                    yield from self._round(started)
                continue
            except (NotFiniteError, OutOfMemoryError, SourceError) as error:
                fault = error
            without_frames(fault)  # before anything else is done: they hold what filled the memory
            if isinstance(fault, SourceError):
                yield from self._cut_off(fault)
            else:
                yield self._go_back(fault)
            del fault
            self._pace = Pace(self.step, time.perf_counter() - started)

    def _round(self, started: float) -> Iterator[Event]:
        """A step, and what is due after it."""
        train = self.recipe.train
        self.take_step()
        if train.health.every and self.step % train.health.every == 0:
            with self.ranks.as_one():
                self.look()
        self._agreed, self.course.seconds = self.ranks.agree(self._asked, time.perf_counter() - started)
        reported = self.step % train.report_every == 0
        if reported:
            values, alarms, looked = self._read()
            self.course.hold(self.clock.images)
            yield Stepped(self.clock, values, self._pace.read(self.step, time.perf_counter() - started) * train.batch)
            for alarm in alarms:
                yield Alarmed(self.clock, alarm)
            for mending in self._mend() if looked else []:
                yield Mended(self.clock, mending)
        paused = time.perf_counter()
        if train.grids and train.grids * self.clock.progress**0.5 >= self.num_grids:
            yield self.sample_grid()
        if self.judge is not None and self.course.score_is_due(self.clock):
            yield from self._judged(started)
        if self.course.seconds - self._saved_at > train.save_seconds and reported:
            self._saved_at = self.course.seconds
            yield self.saved("time")
        self._pace.pause(time.perf_counter() - paused)

    def _judged(self, started: float) -> Iterator[Event]:
        """A score; where the run is asked to stop meanwhile, it is owed, and comes first when the run goes on."""
        found = self.score()
        self.owed = found is None
        # What is saved now must count what scoring took.
        self._agreed, self.course.seconds = self.ranks.agree(self._asked, time.perf_counter() - started)
        if found is not None:
            yield found[0]
            if found[1]:
                yield self.saved("score")

    def take_step(self) -> None:
        """One batch of real samples through every phase that is due.

        Raises `NotFiniteError` or `OutOfMemoryError`, after which some players may have moved and others not, and
        `SourceError` before anything has.
        """
        train, step, clock = self.recipe.train, self.step, self.clock
        self._seed("step", step)
        rows = self.ranks.rows(train.batch)
        index = self.order.indices(clock.images, train.batch)[rows.start : rows.stop]
        due = [phase for phase in self.phases if phase.when(step, self.memory)]
        arithmetic = Arithmetic(self.arithmetic, self.ranks, self.micro)
        with self.ranks.as_one():
            exchange = Exchange(
                self.nets,
                self.source.take(index),
                lambda draw: self.noise.draw(train.batch, self._stream(), "noise", step, draw)[rows.start : rows.stop],
                clock=clock,
                memory=self.memory,
                generator_moves=any(phase.player == "generator" for phase in due),
                rows=rows,
            )
            # While this step is computed, a source that is not in memory reads the next.
            self.source.ahead(self.order.indices(clock.images + train.batch, train.batch)[rows.start : rows.stop])
        offer(exchange, arithmetic)
        try:
            play(self.game.order, due, exchange, self.players, clock, arithmetic)
        except NotFiniteError as fault:
            x, y = exchange.real
            fault.batch = {"real": x, "z": exchange.z(), "index": index} | ({} if y is None else {"y": y})
            raise
        if self.memory:
            exchange.gather(self.ranks.gather)
        self.game.after(exchange)
        self.step += 1
        for player in self.players.values():
            player.update_average(self.step, train.batch)
        self.report.add(exchange.seen)

    def look(self) -> None:
        """Measures how both players are, on the samples that are next; moves nothing and waits for nothing."""
        train, step = self.recipe.train, self.step
        together = self.critic().together
        count = min(train.health.samples, train.batch) // together * together
        real = self.source.take(self.order.indices(self.clock.images, count))
        held_out = None
        if self.held_out is not None:
            order = order_of(self.held_out, derive(train.seed, "held out"))
            index = order.indices(step // train.health.every * count, count)
            held_out = self.held_out.take(index)
        loss = next(phase.loss for phase in self.phases if phase.player == "generator")
        with self.arithmetic:
            exchange = Exchange(
                self.nets,
                real,
                lambda _: self.noise.draw(count, train.seed, "look", step),
                clock=self.clock,
                memory=self.memory,
            )
            self.looks.add(look(exchange, self.critic(), loss, held_out))

    def sample(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Samples float32 [N, *shape] in [-1, 1] of the averaged generator, on the CPU."""
        return self.samples.of(z, y)

    def sample_grid(self) -> Sampled:
        """A grid of samples, and the plane where data lie in one."""
        # A plan that starts late may pass several marks at once: they count as one.
        self.num_grids = max(self.num_grids, int(self.recipe.train.grids * self.clock.progress**0.5)) + 1
        with self.ranks.as_one():
            return Sampled(self.clock, *self.samples.grid(self.critic()), self.samples.plane(self.critic()))

    def score(self) -> tuple[Scored, bool] | None:
        """What the judge says of the averaged generator now, and whether it is among the best so far; None when the
        run is asked to stop before all is judged.

        Where the wait for a better score is over, the run is brought to its end.
        """
        assert self.judge is not None
        started, clock = time.perf_counter(), self.clock
        train, scoring = self.recipe.train, self.recipe.scoring
        told = None
        with self.ranks.as_one(), suppress(_AskedToStop):
            if self.ranks.first:
                found = self.judge.score(
                    self._judged_samples,
                    num_samples=scoring.samples,
                    seed=train.seed,
                    weights="ema",
                    arithmetic=train.precision,
                )
                told = [found.values, found.provenance, found.notes, time.perf_counter() - started]
        told = self.ranks.tell(told)
        if told is None:
            return None
        values, provenance, notes, seconds = told
        entered = self.course.enter(clock, values, provenance, self.judge.better, seconds)
        anew = ("earlier scores were made in another way and don't compare: the best is sought anew",)
        said = (*notes, *(anew if entered.anew else ()))
        return Scored(clock, values, provenance, said, entered.best), entered.leads

    def why_ended(self) -> str:
        """Why a run that is done came to its end, in one sentence."""
        return self.course.why_ended(self.clock.images)

    def saved(self, why: str) -> Saved:
        """The state, to be stored now; it is also what the run goes back to.

        Raises `NotFiniteError` where something that the players hold is not finite.
        """
        refuse_not_finite(self._positions())
        return Saved(self.clock, *self._remembered(), why)

    def _remembered(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The state, which all processes must have alike, and of which a copy is kept."""
        tensors, meta = self.state()
        if not self.ranks.same(self._positions()):
            raise TrainingError(
                f"the processes have come apart after {self.clock.images} images: their weights are not the same any "
                "more; go on from the last checkpoint with sparring resume"
            )
        self.good = {name: tensor.clone() for name, tensor in tensors.items()}, copy.deepcopy(meta)
        return tensors, meta

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything the run's future depends on: live tensors by name, and plain data."""
        tensors = {f"report.{k}": self.ranks.gather(v) for k, v in self.report.state().items()}
        tensors |= {f"looks.{k}": v for k, v in self.looks.state().items()}
        kept, care = self.care.state()
        tensors |= kept | self._positions()
        meta = {
            "step": self.step,
            "num_grids": self.num_grids,
            **self.course.state(),
            **care,
            "faults": self.faults,
            "micro": self.micro,
            "ranks": self.ranks.count,
            "owed": self.owed,
        }
        return tensors, meta

    def load(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Takes a state back in: the run goes on from there as if it had never stopped."""
        parts: dict[str, dict[str, Tensor]] = {
            name: {} for name in ("report", "looks", "game", "good", "newer", *self.players)
        }
        for key, tensor in tensors.items():
            part, _, rest = key.partition(".")
            parts[part][rest] = tensor
        for name, player in self.players.items():
            player.load(parts[name])
        for key, tensor in self.memory.items():
            tensor.copy_(parts["game"][key])
        report, count = parts["report"], self.ranks.count
        if count > 1 and meta.get("ranks") == count:
            report = {name: tensor.chunk(count)[self.ranks.rank] for name, tensor in report.items()}
        self.report.load({name: tensor.to(self.device) for name, tensor in report.items()})
        self.looks.load({name: tensor.to(self.device) for name, tensor in parts["looks"].items()})
        self.care.load(parts["good"], parts["newer"], meta)
        self.game = self.care.game
        self.phases = self.game.phases()
        self.step = meta["step"]
        self.num_grids = meta["num_grids"]
        self.course.load(meta)
        self.faults, self.micro = meta.get("faults", 0), meta.get("micro")
        self.owed = bool(meta.get("owed")) and self.judge is not None
        self.order = order_of(self.source, self._stream())

    def _cut_off(self, error: SourceError) -> Iterator[Event]:
        """The end of a run that has no more data: its state is saved where it can be."""
        try:
            yield self.saved("stop")
        except NotFiniteError as worse:
            raise TrainingError(f"{error}, and {worse}; the last checkpoint is good") from None
        raise TrainingError(f"{error}; the state before it is saved: sparring resume goes on from it")

    def _go_back(self, fault: NotFiniteError | OutOfMemoryError) -> Faulted:
        """To the state that was stored last, and what is done so that it goes otherwise from there.

        Raises `TrainingError` when nothing is left to do.
        """
        assert self.good is not None
        failed, faults, micro, seconds = self.clock, self.faults, self.micro, self.course.seconds
        batch: dict[str, Tensor] = {}
        if isinstance(fault, NotFiniteError):
            means = Means(self.game, self.recipe.optimizers)
            faults, alarm, said = with_other_numbers(fault, faults, failed.images, means)
            batch = {name: tensor.detach().cpu() for name, tensor in fault.batch.items()}
        else:
            if self.ranks.count > 1 and not fault.agreed:
                raise TrainingError(
                    f"process {self.ranks.rank} of {self.ranks.count} is out of memory ({fault}) where the others "
                    "can't wait for it: take a smaller --set train.batch; the last checkpoint is good"
                )
            whole = self.recipe.train.batch
            rows = micro or whole // self.ranks.count
            if not self.game.divides:
                raise cannot_be_divided(fault, rows)
            micro, alarm, said = with_less_memory(fault, rows, self.critic().together, whole)
        self.load(*self.good)
        self.faults, self.micro, self.course.seconds = faults, micro, seconds
        self.order = order_of(self.source, self._stream())
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        done = f"back to the state at {self.clock.images} images, with {said}"
        mending = Mending("went-back", alarm.name, done, {"at_images": float(failed.images)})
        return Faulted(self.clock, failed, alarm, mending, batch)

    def _stream(self) -> int:
        """The seed of data and noise: another one after every return from numbers that were not finite."""
        seed = self.recipe.train.seed
        return derive(seed, "again", self.faults) if self.faults else seed

    def _read(self) -> tuple[dict[str, float], list[Alarm], bool]:
        """What was found since the last report, what is new to be alarmed at, and whether there was a look.

        Raises `NotFiniteError`.
        """
        means = Means(self.game, self.recipe.optimizers)
        found = self.report.drain()
        signals, found = self.ranks.tell([self.looks.drain(), self.ranks.mean(found)])
        remembered = {k: float(v) for k, v in self.memory.items() if v.dim() == 0 and v.is_floating_point()}
        values: dict[str, float] = found | signals | remembered
        bad = tuple(name for name, value in values.items() if not math.isfinite(value))
        if bad:
            raise NotFiniteError("report", bad)
        if not signals:
            return values, [], False
        alarms, more = self.care.follow(signals, means)
        return values | more, alarms, True

    def _mend(self) -> list[Mending]:
        """After a look: what the recipe lets the run do about its alarms."""
        mendings = self.care.act(self.game, self._positions())
        if mendings:
            self.game = self.care.game
            self.phases = self.game.phases()
        return mendings

    def _positions(self) -> dict[str, Tensor]:
        """Live tensors of the players and of the game's memory."""
        tensors = {f"game.{name}": tensor for name, tensor in self.memory.items()}
        for name, player in self.players.items():
            tensors |= {f"{name}.{k}": v for k, v in player.state().items()}
        return tensors

    def critic(self) -> Critic:
        """The discriminator behind what it is shown at this moment."""
        return self.game.critic(self.nets, self.clock, self.memory)

    def _judged_samples(self, start: int, count: int) -> Batch:
        if self._asked:
            raise _AskedToStop
        return self.samples.numbered(start, count)

    def _seed(self, purpose: str, *position: int) -> None:
        """Seeds what networks draw themselves: initial weights and dropout."""
        seed = derive(self._stream(), purpose, *position)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # ten times as quick as seeding every device
        else:
            torch.manual_seed(seed)


def _players(recipe: Recipe, data: DataSpec, device: torch.device) -> dict[str, Player]:
    """Both players on a device, with initial weights."""
    generator = recipe.generator.build(data, recipe.prior.dim).to(device)
    discriminator = recipe.discriminator.build(recipe.game.shown(data), recipe.prior.dim).to(device)
    check_own(recipe, data, generator, discriminator)
    if data.is_image:
        # What nn.Module.to declares for this keyword is narrower than what it takes.
        generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return {
        "discriminator": Player(discriminator, recipe.optimizers.discriminator, None),
        "generator": Player(generator, recipe.optimizers.generator, recipe.train.average),
    }


def _check_batch(recipe: Recipe, together: int, count: int) -> None:
    """Raises `RequestError` for a batch that packs of `together` samples, or so many processes, don't divide."""
    batch = recipe.train.batch
    if batch % together:
        raise RequestError(f"train.batch: expected a multiple of {together}, a pack of samples, found {batch}")
    if count > 1 and not recipe.game.divides:
        raise RequestError(f"{type(recipe.game).__name__} can't be divided among processes; start one alone")
    if batch % (count * together):
        raise RequestError(
            f"train.batch: expected a multiple of {count * together}, so that {count} processes have equal parts, "
            f"found {batch}"
        )


class _AskedToStop(Exception):  # noqa: N818 - no error
    """A signal came while samples were judged."""
