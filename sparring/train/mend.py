"""What a run does about its alarms by itself, where it was asked to.

Each mend is a pure decision about `Changes`, the numbers in which the game now differs from its recipe. They are few,
they are stored with every checkpoint, and the clock goes on whatever happens: also after a roll-back, which brings
back weights and the optimisers' state but not time, so that noise and data are others than the first time, the budget
holds, and the learning rate stays a function of progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from sparring.core.errors import RequestError, TrainingError
from sparring.core.game import Game, Penalty, Show
from sparring.core.protocols import DataSpec
from sparring.core.spec import Spec
from sparring.train.health import Watch

SAFE = 8
"""Looks in a row without an alarm after which a state is kept, and after which the one kept before is called good."""
_PENALTY_HELPS = (
    "exploding-gradient",
    "gradient-ratio",
    "overfitting",
    "logit-drift",
    "collapse",
    "discriminator-wins",
)


class Changes(NamedTuple):
    """In what a run has left its recipe. All of it is JSON."""

    penalty: float = 1.0
    """Factor of the weights of all penalties."""
    d_steps: int | None = None
    """None is the recipe's number."""
    g_steps: int | None = None
    augmented: bool = False
    rollbacks: int = 0
    calm: int = 0
    """Looks in a row in which no alarm stood."""
    settled: int = 0
    """Looks since the steps were last changed."""

    def apply(self, game: Game, mends: Sequence[Mend] = ()) -> Game:
        """The game as it is played now, in a run with these mends."""
        if self.penalty != 1:
            penalties = (_raised(penalty, self.penalty) for penalty in getattr(game, "penalties", ()))
            game = game.replace(penalties=tuple(penalties))
        if self.augmented:
            more = (show for mend in mends if isinstance(mend, Augment) for show in mend.show)
            game = game.replace(show=(*getattr(game, "show", ()), *more))
        if self.d_steps is not None and self.g_steps is not None:
            game = game.replace(d_steps=self.d_steps, g_steps=self.g_steps)
        return game


class Mending(NamedTuple):
    """What was done: why, what is so now, and in numbers."""

    name: str
    cause: str
    mend: str
    values: dict[str, float]


Done = tuple[Changes, Mending] | None


class Mend(Spec):
    """One thing that a run may do about an alarm."""

    def check(self, game: Game, data: DataSpec, discriminator: nn.Module) -> None:
        """Raises `RequestError` where this game gives it nothing to do."""

    def act(self, changes: Changes, pressing: Sequence[str], watch: Watch, game: Game) -> Done:
        """After a look: what to change, or None. `pressing` names alarms that are new or have stood for long; `game`
        is as it is played now."""
        raise NotImplementedError(f"{type(self).__name__} must define act()")


class RaisePenalty(Mend):
    """Doubles the weights of the penalties at an alarm that a stronger one helps against, up to `most` times the
    recipe's, and again as long as it stands.

    Under plain SGD a lazy penalty has a limit of weight · every, beyond which it diverges: take `every` of 1 there.
    """

    factor: float = 2.0
    most: float = 16.0

    def __post_init__(self) -> None:
        if not 1 < self.factor <= self.most:
            raise RequestError(f"RaisePenalty: expected 1 < factor <= most, found {self.factor} and {self.most}")

    def check(self, game: Game, data: DataSpec, discriminator: nn.Module) -> None:
        if not getattr(game, "penalties", ()):
            raise RequestError("mend penalty: the game has no penalty to raise: give it one (game.penalties)")

    def act(self, changes: Changes, pressing: Sequence[str], watch: Watch, game: Game) -> Done:
        causes = [name for name in pressing if name in _PENALTY_HELPS]
        penalty = min(self.most, changes.penalty * self.factor)
        if not causes or penalty == changes.penalty:
            return None
        said = f"the penalty's weight is now {penalty:g} times the recipe's"
        return changes._replace(penalty=penalty), Mending(
            "penalty-raised", ", ".join(causes), said, {"penalty": penalty}
        )


class AdaptSteps(Mend):
    """Keeps the two players about equally strong, by the share of pairs that the discriminator tells apart.

    Where its mean over `looks` looks is above `high`, the discriminator gets one step less, or where it has only one
    the generator one more, up to `most`; below `low` the other way round.
    """

    low: float = 0.55
    high: float = 0.99
    looks: int = 5
    most: int = 4

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high <= 1 and self.looks >= 1 and self.most >= 2):
            raise RequestError(
                "AdaptSteps: expected 0 <= low < high <= 1, looks >= 1 and most >= 2, found "
                f"{self.low}, {self.high}, {self.looks}, {self.most}"
            )

    def check(self, game: Game, data: DataSpec, discriminator: nn.Module) -> None:
        if game.order != "alternating":
            raise RequestError(f"mend steps: {type(game).__name__} moves both players at once; leave it out")
        if not (hasattr(game, "d_steps") and hasattr(game, "g_steps")):
            raise RequestError(f"mend steps: {type(game).__name__} has no d_steps and g_steps to adapt; leave it out")

    def act(self, changes: Changes, pressing: Sequence[str], watch: Watch, game: Game) -> Done:
        last = [signals["d_pairs"] for signals in watch.history[-self.looks :]]
        if len(last) < self.looks or changes.settled < self.looks:
            return None
        right = sum(last) / len(last)
        d_steps, g_steps = int(getattr(game, "d_steps")), int(getattr(game, "g_steps"))  # noqa: B009
        before = (d_steps, g_steps)
        if right > self.high:
            d_steps, g_steps = (d_steps - 1, g_steps) if d_steps > 1 else (1, min(self.most, g_steps + 1))
        elif right < self.low:
            d_steps, g_steps = (d_steps, g_steps - 1) if g_steps > 1 else (min(self.most, d_steps + 1), 1)
        if before == (d_steps, g_steps):
            return None
        return changes._replace(d_steps=d_steps, g_steps=g_steps, settled=0), Mending(
            "steps-adapted",
            f"the discriminator was right in {right:.1%} of all pairs over {self.looks} looks",
            f"d_steps is now {d_steps}, g_steps {g_steps}",
            {"d_pairs": right, "d_steps": d_steps, "g_steps": g_steps},
        )


class Augment(Mend):
    """Shows the discriminator augmented samples, real and fake, from the first alarm of `on` to the end of the run.

    `show` is what is done to them; it must remember nothing and leave the shape as it is.
    """

    show: tuple[Show, ...]
    on: tuple[str, ...] = ("overfitting",)

    def check(self, game: Game, data: DataSpec, discriminator: nn.Module) -> None:
        if not hasattr(game, "show"):
            raise RequestError(f"mend augment: {type(game).__name__} shows samples as they are; leave it out")
        for show in self.show:
            show.check(data, discriminator)
            if show.memory(data) or show.data(data) != data:
                raise RequestError(
                    f"mend augment: {type(show).__name__} has a memory or another shape, so it can't begin in the "
                    "middle of a run; put it into game.show"
                )

    def act(self, changes: Changes, pressing: Sequence[str], watch: Watch, game: Game) -> Done:
        causes = ", ".join(name for name in pressing if name in self.on)
        if not causes or changes.augmented:
            return None
        names = ", ".join(type(show).__name__ for show in self.show)
        said = f"the discriminator now sees augmented samples ({names})"
        return changes._replace(augmented=True), Mending("augmented", causes, said, {"augmented": 1.0})


class Rollback(Mend):
    """Goes back to the last good weights at one of the alarms `on`, at most `times` times.

    (From numbers that are not finite every run goes back by itself, and in time, too.)
    Good is a state after which no alarm was raised for `SAFE` looks; before there is one, the state at the beginning.
    """

    on: tuple[str, ...] = ("exploding-gradient", "collapse")
    times: int = 3

    def __post_init__(self) -> None:
        if self.times < 1:
            raise RequestError(f"Rollback: expected times >= 1, found {self.times}")

    def act(self, changes: Changes, pressing: Sequence[str], watch: Watch, game: Game) -> Done:
        """Raises `TrainingError` when it has been done often enough."""
        causes = ", ".join(name for name in pressing if name in self.on)
        if not causes:
            return None
        if changes.rollbacks == self.times:
            raise TrainingError(
                f"{causes} again after {self.times} returns to good weights: the recipe itself does not hold; lower "
                "the learning rates or raise the penalty's weight"
            )
        done = changes._replace(rollbacks=changes.rollbacks + 1)
        said = f"back to the last good weights, for the {_ordinal(done.rollbacks)} of {self.times} times"
        return done, Mending("rolled-back", causes, said, {"rollbacks": done.rollbacks})


def _raised(penalty: Penalty, factor: float) -> Penalty:
    final = None if penalty.final is None else penalty.final * factor
    return penalty.replace(weight=penalty.weight * factor, final=final)


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
