"""Columns that say when: time stamps in the usual ways of writing them, and counters of steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NAMES = re.compile(r"t|step|time|date|datetime|timestamp|date[ _/-]?time|time[ _-]?stamp", re.IGNORECASE)
"""What a column of moments is called, with a unit in brackets or without: `Time (UTC)`."""
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d-%m-%Y")
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
_FORMATS = (
    *_DATES,
    *(f"{date} {clock}" for date, clock in product(_DATES, _CLOCKS)),
    *_CLOCKS,
    "%Y-%m",
    "%Y/%m",
    "%m/%Y",
    "%b %Y",
    "%d %b %Y",
    "%b %d, %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
)
_TRIED = 50
_SECOND = 1.0
_PERIODS = (
    (60 * _SECOND, 60, "an hour"),
    (300 * _SECOND, 288, "a day"),
    (600 * _SECOND, 144, "a day"),
    (900 * _SECOND, 96, "a day"),
    (1800 * _SECOND, 48, "a day"),
    (3600 * _SECOND, 24, "a day"),
    (86400 * _SECOND, 28, "four weeks"),
    (7 * 86400 * _SECOND, 52, "a year"),
)
_MONTH = (28 * 86400, 31 * 86400)


class Period(NamedTuple):
    """How many rows make a stretch of time that has a name."""

    rows: int
    name: str


def named_like_time(name: str) -> bool:
    """Whether a column is called like one of moments.

    >>> [named_like_time(name) for name in ("Date", "time (s)", "date_of_birth", "lifetime")]
    [True, True, False, False]
    """
    return bool(NAMES.fullmatch(re.sub(r"\s*[(\[].*[)\]]$", "", name).strip()))


def stamps(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Seconds since 1970 of time stamps, those without a zone taken as UTC; None where some are none.

    Days before months and months before days are told apart by what all cells allow, and else by which of the two
    makes them increase.

    >>> stamps(["2024-03-01", "2024-03-02"]) / 86400
    array([19783., 19784.])
    >>> stamps(["01/02/2024", "13/02/2024"]) / 86400
    array([19754., 19766.])
    >>> stamps(["1.5", "2"]) is None
    True
    """
    head = [cell for cell in cells[:_TRIED] if cell]
    if not head or not all(re.search(r"\d[-/.: ]|[a-z]{3} \d|\dT\d", cell, re.IGNORECASE) for cell in head):
        return None
    if any(re.fullmatch(r"[+-]?\d*\.?\d*(e[+-]?\d+)?", cell, re.IGNORECASE) for cell in head):
        return None
    try:
        return _seconds([datetime.fromisoformat(cell) for cell in cells])
    except ValueError:
        pass
    found: NDArray[np.float64] | None = None
    for form in _FORMATS:
        if not all(_fits(cell, form) for cell in head):
            continue
        try:
            moments = _seconds([datetime.strptime(cell, form) for cell in cells])
        except ValueError:
            continue
        if (np.diff(moments) >= 0).all():
            return moments
        found = moments if found is None else found
    return found


def evenly_spaced(values: NDArray[np.float64]) -> bool:
    """Whether numbers increase by the same step, to what their digits allow."""
    if len(values) < 3 or not np.isfinite(values).all():
        return False
    steps = np.diff(values)
    return bool(steps.min() > 0 and np.ptp(steps) <= 1e-6 * steps.max() + 1e-9 * np.abs(values).max())


def is_ordered(moments: NDArray[np.float64]) -> bool:
    """Whether moments only increase, or only decrease, and at least half of them differ."""
    steps = np.diff(moments)
    return bool(((steps >= 0).all() or (steps <= 0).all()) and (steps != 0).sum() * 2 >= len(steps))


def period_of(moments: NDArray[np.float64]) -> Period | None:
    """The named stretch of time that fits to the usual step of time stamps, in seconds; None where none does.

    >>> period_of(np.arange(5) * 3600.0)
    Period(rows=24, name='a day')
    """
    if len(moments) < 2:
        return None
    step = abs(float(np.median(np.diff(moments))))
    if _MONTH[0] <= step <= _MONTH[1]:
        return Period(12, "a year")
    return next((Period(rows, name) for length, rows, name in _PERIODS if abs(step - length) < 0.01 * length), None)


def has_gaps(moments: NDArray[np.float64]) -> bool:
    """Whether some steps are more than half as long again as the usual one."""
    steps = np.abs(np.diff(moments))
    return len(steps) > 0 and bool(steps.max() > 1.5 * np.median(steps))


def _seconds(moments: list[datetime]) -> NDArray[np.float64]:
    return np.array([(m if m.tzinfo else m.replace(tzinfo=UTC)).timestamp() for m in moments], np.float64)


def _fits(cell: str, form: str) -> bool:
    try:
        datetime.strptime(cell, form)
    except ValueError:
        return False
    return True
