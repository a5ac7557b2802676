"""How far the values of series are from the real ones, each column by itself and whenever they were met.

The Wasserstein distance of order 1 between the values of a column, the area between the two distribution functions
(Vallender 1974, Theory of Probability and its Applications 18), in units of the reference's standard deviation.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.blocks import FEWEST, against_rest
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.series import form_of, series_of

BINS = 2000
"""Values are brought to the middle of one of so many equal parts of [-1, 1]: wrong by half a thousandth at most."""


class Marginals(Metric):
    """`marginals`, the mean over the columns of the distance of their values, in standard deviations of the reference,
    with its interval; `marginals_real`, what as many real series get. Where series are ragged, their lengths count as
    one more column.

    Nothing of time is in it: series whose moments were shuffled get as little as real ones.
    """

    better: ClassVar[dict[str, Better]] = {"marginals": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"series"})
    fewest: ClassVar[int] = FEWEST

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        found, expected = series_of(fake, setting), series_of(real, setting)
        if form_of(setting).ragged:
            found, expected = with_lengths(found), with_lengths(expected)
        values = expected.flatten(0, 1)
        centred = values - values.nanmean(0)
        deviation = centred.square().nanmean(0).sqrt().clamp(min=1 / BINS)
        return against_rest(binned(found), binned(expected), lambda a, b: areas(a, b) / deviation).named("marginals")


def with_lengths(series: Tensor) -> Tensor:
    """Series [n, T, C] with one more column: at the first moment the length, from 0 to 1 for T, and NaN after it."""
    lengths = torch.full_like(series[..., :1], torch.nan)
    lengths[:, 0, 0] = (~series[..., 0].isnan()).float().mean(1)
    return torch.cat([series, lengths], 2)


def binned(series: Tensor) -> Tensor:
    """The number of the part in which each value in [-1, 1] lies: int64, −1 for NaN."""
    found = ((series + 1) * (BINS / 2)).floor().clamp(0, BINS - 1)
    return found.nan_to_num(-1).long()


def areas(a: Tensor, b: Tensor) -> Tensor:
    """Between the distribution functions of each column of parts a [n, T, C] and b [m, T, C]: float64 [C]."""
    return torch.stack([_area(*pair) for pair in zip(a.unbind(2), b.unbind(2), strict=True)])


def _area(a: Tensor, b: Tensor) -> Tensor:
    counts = [torch.bincount((x + 1).flatten(), minlength=BINS + 1)[1:].double() for x in (a, b)]
    functions = [count.cumsum(0) / count.sum() for count in counts]
    return (functions[0] - functions[1]).abs().sum() * (2 / BINS)
