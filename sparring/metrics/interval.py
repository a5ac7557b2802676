"""How far to trust a number: 95 % intervals of the two kinds that the metrics need.

A value `name` that has an interval is stored beside `name_low` and `name_high`; nothing else is called so.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    def named(self, name: str) -> dict[str, float]:
        """As a metric's values: `name`, `name_low`, `name_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def from_error(value: float, standard_error: float, degrees: float = math.inf) -> Interval:
    """An estimate with a normal error: known (`degrees` infinite) or itself estimated with that many degrees of
    freedom, as from `degrees` + 1 independent values (Student's interval).

    >>> from_error(1.0, 0.5)
    Interval(value=1.0, low=0.0200..., high=1.9799...)
    >>> from_error(1.0, 0.5, 9)
    Interval(value=1.0, low=-0.1310..., high=2.1310...)
    """
    quantile = stats.norm.ppf((1 + LEVEL) / 2) if math.isinf(degrees) else stats.t.ppf((1 + LEVEL) / 2, degrees)
    half = float(quantile) * standard_error
    return Interval(value, value - half, value + half)


def proportion(hits: int, trials: int) -> Interval:
    """The share of hits among independent trials, trials >= 1, with Wilson's interval (1927, JASA 22), which stays
    inside [0, 1] and has a length also where every trial or none was a hit.

    >>> proportion(0, 100)
    Interval(value=0.0, low=0.0, high=0.0369...)
    """
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    share = hits / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    # At the ends the bounds are 0 and 1 but for rounding.
    return Interval(share, 0.0 if hits == 0 else middle - half, 1.0 if hits == trials else middle + half)
