"""Alarms: what goes wrong in a game of two networks, told while it happens, with a likely cause and a way out.

Each alarm is a pure function of the signals of the last looks (`signals.py`), made for those failures that losses do
not show. The limits stand below; they lie far outside of what healthy runs of very different recipes showed
(`bench/health.py`). An alarm is raised when it has held for several looks in a row, once, and again only after it has
cleared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sparring.core.errors import RequestError
from sparring.core.game import Game, Penalty
from sparring.core.spec import Spec
from sparring.train.optimizers import SGD, Optimizers
from sparring.train.signals import Signals

LOOKS = 20
"""How many looks are remembered."""
_ROW = 3  # looks in a row, for failures that are never in doubt
_LONG_ROW = 8  # for states that healthy runs pass through at their beginning
_QUIET = LOOKS  # looks in a row without it until an alarm has cleared: no row is longer
_PRESSING = 10

# Healthy runs: 5 to 20 logits over the distance of two samples, a ratio of 0.9 to 1.7, gaps up to 4 logits, a diversity
# above 0.15 after the first hundred steps, a pull above 1, at least 60 % of the pairs right.
_STEEP = 300.0
_RATIO = 5.0
_BY_HEART, _HEART_GAP = 0.5, 0.5
_DRIFTED = 20.0
_ALIKE = 0.1
_MUTE, _DEAF = 0.01, 0.1
_FLAT, _DEAD = 0.02, 0.001
_SURE, _FAR = 0.99, 8.0
_FOOLED = 0.1


class Health(Spec):
    """How often both players are looked at: on `samples` of each kind in every so many steps, or never with 0.

    A look costs about as much as a step. What it finds is read at the next report.
    """

    every: int = 100
    samples: int = 64

    def __post_init__(self) -> None:
        if self.every < 0 or self.samples < 2:
            raise RequestError(f"health: expected every >= 0 and samples >= 2, found {self.every} and {self.samples}")


class Alarm(NamedTuple):
    """`cause` is the likely one, `mend` names the option that helps, `values` are the signals that say so."""

    name: str
    cause: str
    mend: str
    values: dict[str, float]


class Means(NamedTuple):
    """What a mend can be made with: the game and the optimisers as they are."""

    game: Game
    optimizers: Optimizers


def not_finite(turn: str, bad: Sequence[str], means: Means) -> Alarm:
    """Losses, gradients or weights that are infinite or no number, and in whose turn; they never come back by
    themselves."""
    shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
    return Alarm(
        "non-finite",
        f"{turn}: {shown} no longer finite: the steps are too long, or the discriminator is not held in bounds",
        f"{_slower(means, 'generator', 'discriminator')}; or {_penalise(means)}",
        {},
    )


def exploding_gradient(history: Sequence[Signals], means: Means) -> Alarm | None:
    """The logit would change by more than `_STEEP` over the distance of two samples: in R3GAN's study the slope at
    fakes explodes in every run that diverges (Huang et al. 2024)."""
    steepness = [math.sqrt(s["grad_fake"]) * s["spread"] for s in history]
    if not _lasts(steepness, _ROW, lambda v: v > _STEEP):
        return None
    return Alarm(
        "exploding-gradient",
        f"the discriminator's slope at fakes is {math.sqrt(history[-1]['grad_fake']):.3g} per unit, "
        f"{steepness[-1]:.3g} logits over the distance of two samples: nothing holds it in bounds",
        f"{_penalise(means)}; or {_slower(means, 'discriminator')}",
        _only(history[-1], "grad_fake", "grad_real", "spread", "gap"),
    )


def gradient_ratio(history: Sequence[Signals], means: Means) -> Alarm | None:
    """E|∇D(real)|² and E|∇D(fake)|² are alike in a healthy game and part when it diverges or overfits (DigGAN)."""
    ratios = [s["grad_ratio"] for s in history]
    if not _lasts(ratios, _ROW, lambda v: not 1 / _RATIO < v < _RATIO):
        return None
    real = ratios[-1] > 1
    return Alarm(
        "gradient-ratio",
        f"the discriminator is far steeper at {'real' if real else 'fake'} samples than at "
        f"{'fake' if real else 'real'} ones, {ratios[-1]:.3g} times in |∇D|²: the two are no longer pulled together",
        _penalise(means),
        _only(history[-1], "grad_real", "grad_fake", "grad_ratio"),
    )


def overfitting(history: Sequence[Signals], means: Means) -> Alarm | None:
    """r_v = (D(real) - D(held out)) / (D(real) - D(fake)), of the last looks together, is near 1 where the
    discriminator takes held-out samples for fakes (Karras et al. 2020, StyleGAN2-ADA, equation 1)."""
    share = learned_by_heart(history)
    if share is None or share < _BY_HEART or _mean([s["gap"] for s in history[-_LONG_ROW:]]) < _HEART_GAP:
        return None
    return Alarm(
        "overfitting",
        f"the discriminator knows its training samples by heart: held-out ones lie {share:.0%} of the way from them "
        "to the fakes. That alone is no reason to stop, but the advice that the generator gets grows worse",
        f"train on more samples, or fewer images in all (--budget); or {_penalise(means)}",
        {"overfit": share} | _only(history[-1], "gap", "gap_held", "d_pairs", "d_pairs_held"),
    )


def learned_by_heart(history: Sequence[Signals]) -> float | None:
    """r_v over the last looks: 0 when held-out samples are as real as those trained on, 1 when they count as fakes.

    None without held-out samples or before enough looks.
    """
    last = history[-_LONG_ROW:]
    if len(last) < _LONG_ROW or not all("gap_held" in s for s in last):
        return None
    gap = sum(s["gap"] for s in last)
    return sum(s["gap_held"] for s in last) / gap if gap > 0 else 0.0


def logit_drift(history: Sequence[Signals], means: Means) -> Alarm | None:
    """D(real) - D(fake) is large and still growing: the level of logits means nothing, the growth of the gap does."""
    gaps = [s["gap"] for s in history]
    if not _lasts(gaps, _LONG_ROW, lambda v: v > _DRIFTED) or gaps[-1] <= gaps[-_LONG_ROW]:
        return None
    return Alarm(
        "logit-drift",
        f"the discriminator's logits drift apart, by {gaps[-1]:.3g} now and {gaps[-_LONG_ROW]:.3g} "
        f"{_LONG_ROW - 1} looks ago: it grows surer without bound",
        f"{_penalise(means)}; or {_slower(means, 'discriminator')}",
        _only(history[-1], "gap", "d_pairs", "d_weights"),
    )


def collapse(history: Sequence[Signals], means: Means) -> Alarm | None:
    """Fakes differ from each other by less than a tenth of what reals do."""
    diversity = [s["diversity"] for s in history]
    if not _lasts(diversity, _LONG_ROW, lambda v: v < _ALIKE):
        return None
    return Alarm(
        "collapse",
        f"the generator repeats itself: two of its samples differ by {diversity[-1]:.1%} of what two real ones do",
        f"{_penalise(means)}; or {_slower(means, 'generator')}; or go on from an earlier checkpoint",
        _only(history[-1], "diversity", "spread", "gap", "grad_fake"),
    )


def labels_ignored(history: Sequence[Signals], means: Means) -> Alarm | None:
    """Another label changes a sample by far less than another noise does, from the start or for all that is known."""
    effect = [s.get("label_effect", 1.0) if s["diversity"] > _ALIKE else 1.0 for s in history]
    if not (_lasts(effect, _ROW, lambda v: v < _MUTE) or _lasts(effect, LOOKS, lambda v: v < _DEAF)):
        return None
    return Alarm(
        "labels-ignored",
        "the generator does not listen to labels: another label changes a sample by "
        f"{effect[-1]:.1%} of what another noise does",
        "check that labels fit the samples and that both networks read y; or train without them: --labels ignore",
        _only(history[-1], "label_effect", "diversity"),
    )


def vanishing_gradient(history: Sequence[Signals], means: Means) -> Alarm | None:
    """The generator's loss would hardly fall if its samples moved as far as samples lie apart, and yet the
    discriminator tells them from real ones, or is flat for good."""
    lost = [
        s["g_grad"] * s["spread"] < _FLAT and (s["d_pairs"] > 0.9 or math.sqrt(s["grad_fake"]) * s["spread"] < _DEAD)
        for s in history
    ]
    if not _lasts(lost, _ROW, bool):
        return None
    if history[-1]["g_slope"] < _FLAT:
        cause = f"its loss has no slope where the discriminator is sure (|∂L/∂logit| {history[-1]['g_slope']:.2g})"
        mend = f"take the non-saturating loss; or {_slower(means, 'discriminator')}"
    else:
        cause = f"the discriminator is flat at its samples (|∇D|² {history[-1]['grad_fake']:.2g})"
        mend = _relax(means.game)
    return Alarm(
        "vanishing-gradient",
        f"the generator is told next to nothing: {cause}",
        mend,
        _only(history[-1], "g_grad", "g_slope", "grad_fake", "d_pairs", "gap"),
    )


def discriminator_wins(history: Sequence[Signals], means: Means) -> Alarm | None:
    """The discriminator tells nearly every pair apart, and is sure of it."""
    sure = [min(s["d_pairs"], s.get("d_pairs_held", 1.0)) > _SURE and s["gap"] > _FAR for s in history]
    if not _lasts(sure, _LONG_ROW, bool):
        return None
    return Alarm(
        "discriminator-wins",
        f"the discriminator is right in {history[-1]['d_pairs']:.1%} of all pairs, by {history[-1]['gap']:.3g} logits: "
        "it learns faster than the generator",
        f"{_penalise(means)}; or {_slower(means, 'discriminator')}; or --set game.g_steps=2",
        _only(history[-1], "d_pairs", "d_pairs_held", "gap", "g_slope", "g_grad"),
    )


def generator_wins(history: Sequence[Signals], means: Means) -> Alarm | None:
    """The discriminator takes fakes for more real than real samples, and does not come back."""
    pairs = [s["d_pairs"] for s in history]
    if not _lasts(pairs, _ROW, lambda v: v < _FOOLED):
        return None
    return Alarm(
        "generator-wins",
        f"the discriminator is right in only {pairs[-1]:.1%} of all pairs: the generator runs ahead of it, and is "
        "taught by a judge that knows nothing",
        f"{_slower(means, 'generator')}; or --set game.d_steps=2; or a wider discriminator",
        _only(history[-1], "d_pairs", "gap", "d_zero"),
    )


ALARMS: tuple[Callable[[Sequence[Signals], Means], Alarm | None], ...] = (
    exploding_gradient,
    gradient_ratio,
    overfitting,
    logit_drift,
    collapse,
    labels_ignored,
    vanishing_gradient,
    discriminator_wins,
    generator_wins,
)


class Standing(NamedTuple):
    """An alarm that was raised and has not cleared: looks since then, and looks in a row in which it did not hold."""

    looks: int
    quiet: int


class Watch(NamedTuple):
    """What is remembered between looks: the last signals, oldest first, and the alarms that stand."""

    history: tuple[Signals, ...]
    standing: dict[str, Standing]

    def follow(self, signals: Signals, means: Means) -> tuple[Watch, list[Alarm]]:
        """After another look, all of it finite: the alarms that are new."""
        history = (*self.history, signals)[-LOOKS:]
        held = {alarm.name: alarm for alarm in (find(history, means) for find in ALARMS) if alarm is not None}
        standing = {
            name: Standing(old.looks + 1, 0 if name in held else old.quiet + 1) for name, old in self.standing.items()
        }
        standing = {name: old for name, old in standing.items() if old.quiet < _QUIET}
        new = [alarm for name, alarm in held.items() if name not in self.standing]
        return Watch(history, standing | {alarm.name: Standing(0, 0) for alarm in new}), new

    def pressing(self) -> list[str]:
        """The alarms that are new at this look, or that have held on for another `_PRESSING` looks."""
        return [name for name, old in self.standing.items() if old.quiet == 0 and old.looks % _PRESSING == 0]

    def to_json(self) -> dict[str, Any]:
        return {"history": list(self.history), "standing": {name: list(old) for name, old in self.standing.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Watch:
        return cls(tuple(data["history"]), {name: Standing(*old) for name, old in data["standing"].items()})


def _lasts(values: Sequence[float], looks: int, holds: Callable[[float], bool]) -> bool:
    return len(values) >= looks and all(holds(value) for value in values[-looks:])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _only(signals: Signals, *names: str) -> dict[str, float]:
    return {name: signals[name] for name in names if name in signals}


def _penalise(means: Means) -> str:
    place, penalty = _bound(means.game)
    if penalty is None:
        return "hold the discriminator: --set game.penalties=R1"
    if isinstance(means.optimizers.discriminator, SGD) and penalty.every > 1:
        # Under SGD a lazy penalty is a kick of weight · every, which itself diverges when it is too large.
        return f"penalise in smaller kicks: --set {place}.every=1"
    return f"raise the penalty: --set {place}.weight={2 * penalty.weight:g}"


def _relax(game: Game) -> str:
    place, penalty = _bound(game)
    if penalty is None:
        return "give the discriminator more steps: --set game.d_steps=2"
    return f"lower the penalty: --set {place}.weight={penalty.weight / 10:g}"


def _bound(game: Game) -> tuple[str, Penalty | None]:
    """The first penalty on the discriminator's slopes, which is what holds it, and its place; None without one."""
    for i, penalty in enumerate(getattr(game, "penalties", ())):
        if penalty.per_sample:
            return f"game.penalties.{i}", penalty
    return "game.penalties", None


def _slower(means: Means, *players: str) -> str:
    rates = [f"--set optimizers.{player}.lr={getattr(means.optimizers, player).lr / 3:.2g}" for player in players]
    return f"lower the learning rate: {' '.join(rates)}"
