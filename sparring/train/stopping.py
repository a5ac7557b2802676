"""When to stop: on the score of the averaged generator, never on losses.

A run whose score has stopped getting better is not cut off but landed: its learning rate is brought to the end of its
schedule within a short span, because the steps at a small rate are those that polish, and then the run ends. A rate
that does not fall has no end to be brought to; such a run stops at once.
"""

from __future__ import annotations

from typing import NamedTuple

from sparring.core.errors import RequestError
from sparring.core.spec import Spec


class Patience(Spec):
    """How long to wait for a better score.

    The wait is over when the last clear gain is at least `scores` scores and the share `factor` of the images that it
    took to reach it behind: a run that was slow to get good is given as much longer to get better. A gain is clear
    when it is more than a standard error of the score that it beats. `landing` is the share of the images seen in
    which the learning rate is then brought to its end. `scores` of 0 never stops.
    """

    scores: int = 5
    factor: float = 0.5
    landing: float = 0.25

    def __post_init__(self) -> None:
        if self.scores < 0 or self.factor < 0 or not 0 <= self.landing <= 1:
            raise RequestError(
                "patience: expected scores >= 0, factor >= 0 and landing in [0, 1], found "
                f"{self.scores}, {self.factor}, {self.landing}"
            )


class Progress(NamedTuple):
    """The last clear gain: when and what it was, and how many scores have passed since. All of it is JSON."""

    images: int
    value: float
    error: float
    """Standard error of the value, 0 where it is not known."""
    since: int = 0

    def follow(self, images: int, value: float, error: float, *, lower: bool) -> Progress:
        """After another score."""
        gain = self.value - value if lower else value - self.value
        if gain > self.error:
            return Progress(images, value, error)
        return self._replace(since=self.since + 1)

    def over(self, patience: Patience, images: int) -> bool:
        """Whether the wait is over."""
        enough = 0 < patience.scores <= self.since
        return enough and images >= (1 + patience.factor) * self.images
