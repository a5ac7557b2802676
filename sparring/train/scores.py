"""What a run remembers of its scores: when the next is due, which is the best, and how long ago the last gain was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sparring.core.exchange import Clock
from sparring.train.recipe import Scoring
from sparring.train.stopping import Progress

LEADERS = 3
"""How many of the best are remembered, to be told apart by more samples at the end."""
_NORMAL_95 = 1.96  # standard errors from the middle of a 95 % interval to its end


class Leader(NamedTuple):
    """One of the best scores: images seen, and its value. All of it is JSON."""

    images: int
    value: float


class Entered(NamedTuple):
    """What became of a score: the best so far, one of the leaders (of which the best is one); `anew` when those before
    it were made in another way and don't compare with it."""

    best: bool = False
    leads: bool = False
    anew: bool = False


class Ledger(NamedTuple):
    """A run's scores so far. All of it is JSON."""

    marks: int = 0
    """How many of the moments that the recipe asks for are past, scored or not."""
    at: int = 0
    """Images seen at the last score."""
    seconds: float = 0.0
    """Spent on scoring."""
    leaders: tuple[Leader, ...] = ()
    """The best scores so far, the very best first."""
    gain: Progress | None = None
    made_by: str = ""
    """What the scores so far share, see `_made_by`."""

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Ledger:
        """From JSON."""
        gain = data["gain"]
        leaders = tuple(Leader(*leader) for leader in data["leaders"])
        return cls(**{**data, "leaders": leaders, "gain": None if gain is None else Progress(*gain)})

    def due(self, scoring: Scoring, clock: Clock, *, done: bool, seconds: float | None) -> bool:
        """Whether a score is due now; `seconds` are those of the run so far where its budget is in seconds."""
        if scoring.times == 0:
            return False
        if done:
            return self.at < clock.images
        if scoring.times * clock.progress < self.marks + 1:
            return False
        if seconds is not None and self.marks and self.seconds * (1 + 1 / self.marks) > scoring.most * seconds:
            return False
        return clock.images - self.at >= scoring.spacing * scoring.samples

    def to_come(self, scoring: Scoring) -> float:
        """Seconds that the scores still asked for will take, by those before."""
        return max(0, scoring.times - self.marks) * self.seconds / max(1, self.marks)

    def spent(self, scoring: Scoring, clock: Clock, seconds: float) -> Ledger:
        """After a score that took so many seconds."""
        marks = max(self.marks + 1, int(scoring.times * clock.progress))
        return self._replace(marks=marks, at=clock.images, seconds=self.seconds + seconds)

    def enter(
        self, clock: Clock, values: Mapping[str, float], provenance: Mapping[str, Any], better: Mapping[str, str]
    ) -> tuple[Ledger, Entered]:
        """After a score's values, of which the first that can rank counts."""
        ranking = next((name for name in values if name in better), None)
        if ranking is None:
            return self, Entered()
        made_by = _made_by(ranking, provenance)
        anew = self.made_by not in ("", made_by)
        value, lower = values[ranking], better[ranking] == "lower"
        error = (values.get(f"{ranking}_high", value) - values.get(f"{ranking}_low", value)) / (2 * _NORMAL_95)
        entry = Leader(clock.images, value)
        if self.gain is None or anew:
            first = Progress(clock.images, value, error)
            return self._replace(leaders=(entry,), gain=first, made_by=made_by), Entered(True, True, anew)
        gain = self.gain.follow(clock.images, value, error, lower=lower)
        # Sorting is stable: a score that only equals an earlier one comes after it.
        ranked = sorted((*self.leaders, entry), key=lambda leader: leader.value if lower else -leader.value)
        leaders = tuple(ranked[:LEADERS])
        return self._replace(leaders=leaders, gain=gain), Entered(leaders[0] is entry, entry in leaders, False)

    def rebudget(self, scoring: Scoring, clock: Clock) -> Ledger:
        """After a new budget: the wait for a better score begins again."""
        gain = None if self.gain is None else self.gain._replace(since=0)
        return self._replace(marks=int(scoring.times * clock.progress), gain=gain)


def _made_by(ranking: str, provenance: Mapping[str, Any]) -> str:
    """All that two scores must share to be compared."""
    free = ("seed", "value_range", "sparring")
    return json.dumps([ranking, {k: v for k, v in provenance.items() if k not in free}], sort_keys=True)
