"""Time is images seen; everything that changes during a run is a function of it.

A budget says when the run ends. A budget in seconds is turned into images from the pace of the run itself: a plan is
a broken line from images seen to progress in [0, 1], and each bend is written down, so the same plan replays exactly.
"""

from __future__ import annotations

import bisect
import math
import re
from typing import Literal

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock
from sparring.core.spec import Spec

_UNITS = {
    "s": ("seconds", 1),
    "sec": ("seconds", 1),
    "min": ("seconds", 60),
    "h": ("seconds", 3600),
    "img": ("images", 1),
    "kimg": ("images", 1000),
    "mimg": ("images", 1_000_000),
    "epoch": ("epochs", 1),
    "epochs": ("epochs", 1),
}


class Budget(Spec):
    """How long to train: seconds (from the first step to the last, scoring included), images seen, or epochs."""

    amount: float
    unit: Literal["seconds", "images", "epochs"] = "seconds"

    def __post_init__(self) -> None:
        if not (self.amount > 0 and math.isfinite(self.amount)):
            raise RequestError(f"budget: expected more than 0 {self.unit}, found {self.amount}")

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"

    def images(self, num_samples: int) -> int | None:
        """The budget in images, or None when it is in seconds."""
        if self.unit == "seconds":
            return None
        return max(1, round(self.amount * (num_samples if self.unit == "epochs" else 1)))


def parse_budget(text: str) -> Budget:
    """A budget from text such as 90s, 10min, 2h, 500kimg, 2Mimg or 20epochs.

    >>> parse_budget("10min")
    Budget(amount=600.0, unit='seconds')
    >>> parse_budget("1.5kimg").images(60000)
    1500
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise RequestError(f"--budget {text!r}: expected a number and a unit, such as 90s, 10min, 500kimg or 20epochs")
    return Budget(amount=float(match[1]) * unit[1], unit=unit[0])  # type: ignore[arg-type]


class Plan:
    """Progress in [0, 1] as a function of images seen: a broken line through `knots`, (images, progress) pairs.

    Until a budget in seconds knows its pace, there is one knot, (0, 0), and progress stays 0.
    """

    def __init__(self, knots: list[tuple[int, float]]) -> None:
        self.knots = knots

    @classmethod
    def start(cls, images: int | None) -> Plan:
        return cls([(0, 0.0)] if images is None else [(0, 0.0), (images, 1.0)])

    @property
    def total(self) -> int | None:
        """Images at the end, or None while the pace is not known."""
        return self.knots[-1][0] if len(self.knots) > 1 else None

    def progress(self, images: int) -> float:
        """The share of the run that is done, in [0, 1]."""
        if len(self.knots) == 1:
            return 0.0
        if images >= self.knots[-1][0]:
            return 1.0
        at = min(max(bisect.bisect_right(self.knots, (images, 1.0)), 1), len(self.knots) - 1)
        (x0, y0), (x1, y1) = self.knots[at - 1], self.knots[at]
        return y0 + (y1 - y0) * (images - x0) / (x1 - x0)

    def bend(self, images: int, progress: float, total: int) -> None:
        """From here on, the run ends at `total` images; `progress` is where it stands now."""
        self.knots = [k for k in self.knots if k[0] < images and k[1] < 1.0] + [(images, progress), (total, 1.0)]


class Pace:
    """Steps per second between two readings, without the pauses in which no step was made."""

    def __init__(self, step: int, seconds: float) -> None:
        self._step, self._seconds, self._paused = step, seconds, 0.0

    def pause(self, seconds: float) -> None:
        self._paused += seconds

    def read(self, step: int, seconds: float) -> float:
        """The pace since the last reading."""
        rate = (step - self._step) / max(1e-9, seconds - self._seconds - self._paused)
        self._step, self._seconds, self._paused = step, seconds, 0.0
        return rate


def half_cosine(start: float, final: float, share: float) -> float:
    """From `start` at share 0 to `final` at share 1, and there from then on.

    >>> [round(half_cosine(0.9, 0.99, share), 4) for share in (0.0, 0.5, 1.0, 2.0)]
    [0.9, 0.945, 0.99, 0.99]
    """
    return final + (start - final) * (1 + math.cos(math.pi * min(1.0, share))) / 2


class Schedule(Spec):
    """A factor for the learning rate as a function of the clock."""

    def factor(self, clock: Clock) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define factor()")


class Constant(Schedule):
    """The factor 1 throughout."""

    def factor(self, clock: Clock) -> float:
        return 1.0


class Cosine(Schedule):
    """From 1 to `final` along half a cosine (Loshchilov and Hutter 2017, SGDR, equation 5), after a linear warm-up.

    It is there at the share `until` of the run, in (0, 1], and stays there: a burn-in (Huang et al. 2024, R3GAN).
    """

    final: float = 0.0
    warmup_images: int = 0
    until: float = 1.0

    def __post_init__(self) -> None:
        if not (self.final >= 0 and self.warmup_images >= 0 and 0 < self.until <= 1):
            raise RequestError(
                "Cosine: expected final >= 0, warmup_images >= 0 and until in (0, 1], found "
                f"{self.final}, {self.warmup_images} and {self.until}"
            )

    def factor(self, clock: Clock) -> float:
        warm = min(1.0, clock.images / self.warmup_images) if self.warmup_images else 1.0
        return warm * half_cosine(1.0, self.final, clock.progress / self.until)


class InverseDecay(Schedule):
    """1 / (1 + rate · steps made): the `decay` of the first Keras optimisers."""

    rate: float = 0.0

    def factor(self, clock: Clock) -> float:
        return 1 / (1 + self.rate * clock.step)
