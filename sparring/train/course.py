"""The course of a run: how far it is, when it is judged, and when it comes to its end.

All of it is a few plain numbers. A budget in seconds is a plan that is bent as the pace changes, and so is the early
end of a run whose score gets no better: the learning rate, a function of progress, comes to its end with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparring.core.exchange import Clock
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget, Plan
from sparring.train.scores import Entered, Ledger

_SECONDS_UNTIL_PLAN = 0.05  # share of a budget in seconds after which the pace is known well enough to plan by
_DRIFT = 0.01  # a plan that would miss the budget by more than this share is bent


class Course:
    """The plan, the seconds spent, and the scores of a run of `recipe` on so many samples."""

    def __init__(self, recipe: Recipe, num_samples: int) -> None:
        self.budget, self.scoring = recipe.train.budget, recipe.scoring
        self.schedules = recipe.optimizers.generator.schedule, recipe.optimizers.discriminator.schedule
        self.num_samples = num_samples
        self.plan = Plan.start(self.budget.images(num_samples))
        self.seconds = 0.0
        """Spent so far, scoring included."""
        self.scores = Ledger()
        self.landing: int | None = None
        """Images seen when the wait for a better score was over."""

    def over(self, images: int) -> bool:
        """Whether the run is at its end when so many images have been seen."""
        return self.plan.total is not None and images >= self.plan.total

    def set_budget(self, budget: Budget, images: int) -> bool:
        """A new budget for the whole run, of which so many images are done; returns whether anything is left of it."""
        self.budget = budget
        total = budget.images(self.num_samples)
        if total is None and self.seconds >= budget.amount:
            return False
        if total is not None:
            self.plan.bend(images, min(1.0, images / total), max(images, total))
        else:
            pace = images / max(1e-9, self.seconds - self.scores.seconds)
            self.plan.bend(images, self.seconds / budget.amount, images + round((budget.amount - self.seconds) * pace))
        self.landing = None  # whoever gives a new budget wants to go on
        return True

    def hold(self, images: int) -> None:
        """Holds a budget in seconds: the plan is bent where the run would end more than 1 % beside its budget."""
        budget = self.budget
        if budget.unit != "seconds" or self.seconds < _SECONDS_UNTIL_PLAN * budget.amount:
            return
        if self.over(images):  # a little early: with the learning rate at its end there is nothing to go on for
            return
        pace = images / (self.seconds - self.scores.seconds)
        left = budget.amount - self.seconds - self.scores.to_come(self.scoring)
        total = images + max(1, round(left * pace))
        if self.plan.total is None:
            self.plan.bend(images, self.seconds / budget.amount, total)
        elif self.landing is None and abs(total - self.plan.total) > _DRIFT * self.plan.total:
            self.plan.bend(images, self.plan.progress(images), total)

    def score_is_due(self, clock: Clock) -> bool:
        seconds = self.seconds if self.budget.unit == "seconds" else None
        return self.scores.due(self.scoring, clock, done=self.over(clock.images), seconds=seconds)

    def enter(
        self,
        clock: Clock,
        values: Mapping[str, float],
        provenance: Mapping[str, Any],
        better: Mapping[str, str],
        seconds: float,
    ) -> Entered:
        """After a score that took so many seconds. Where the wait for a better one is over, the run is brought to its
        end: over a short span where a learning rate has still to fall, else at once."""
        scores, entered = self.scores.enter(clock, values, provenance, better)
        self.scores = scores.spent(self.scoring, clock, seconds)
        gain, patience = scores.gain, self.scoring.patience
        if gain is not None and self.landing is None and gain.over(patience, clock.images):
            end = clock._replace(progress=1.0)
            falls = any(schedule.factor(end) < 0.99 * schedule.factor(clock) for schedule in self.schedules)
            span = round(patience.landing * clock.images) if falls else 0
            if not self.over(clock.images + span):
                self.landing = clock.images
                self.plan.bend(clock.images, clock.progress, clock.images + span)
        return entered

    def why_ended(self, images: int) -> str:
        """Why a run that is done after so many images came to its end, in one sentence."""
        gain = self.scores.gain
        if self.landing is None or gain is None:
            return f"the budget of {self.budget} is spent"
        since = f"no clearly better score since {gain.images:,} images"
        if self.landing < images:
            return f"{since}, so from {self.landing:,} images on the learning rate was brought to its end"
        return since

    def state(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "seconds": self.seconds,
            "scoring_seconds": self.scores.seconds,
            "plan": [list(knot) for knot in self.plan.knots],
            "scores": self.scores._asdict(),
            "landing": self.landing,
        }

    def load(self, meta: Mapping[str, Any]) -> None:
        """Takes a state back in."""
        self.seconds, self.landing = meta["seconds"], meta["landing"]
        self.plan = Plan([(int(x), float(y)) for x, y in meta["plan"]])
        self.scores = Ledger.load(meta["scores"])
