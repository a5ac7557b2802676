"""How far the autocorrelations of series are apart: what their past says of their future, moment by moment.

Of each column of a series x_1 .. x_t the sample autocorrelation (Brockwell and Davis 1991, Time Series: Theory and
Methods, eq. 7.2.1 and definition 1.5.1)

    ρ(l) = Σ_{s=1}^{t-l} (x_s − x̄)(x_{s+l} − x̄) / Σ_s (x_s − x̄)²

averaged over the series; the distance is the mean of |ρ(l) − ρ_real(l)| over the lags l = 1 .. T/2 and the columns,
as for generated series by Wiese et al. 2020, "Quant GANs", arXiv:1907.06673, section 5 (there the root of the squares).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.blocks import FEWEST, against_rest
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.series import series_of


class Autocorrelation(Metric):
    """`autocorrelation`, the mean difference of the autocorrelations, with its interval; `autocorrelation_real`, what
    as many real series get.

    Where each series lies and how widely it swings is not seen, only how it goes on. The mean over all series hides
    what kinds of them there are: half too smooth and half too rough look right.
    """

    better: ClassVar[dict[str, Better]] = {"autocorrelation": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"series"})
    fewest: ClassVar[int] = FEWEST

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        found, expected = (autocorrelations(series_of(side, setting)) for side in (fake, real))
        if not expected.shape[1]:
            return {}
        return against_rest(found, expected, mean_differences).named("autocorrelation")


def autocorrelations(series: Tensor) -> Tensor:
    """ρ(1) .. ρ(T // 2) of each of series [n, T, C], NaN after their ends: [n, T // 2, C]. Series that are constant, or
    over before the lag, have 0."""
    T = series.shape[1]
    x = (series - series.nanmean(1, keepdim=True)).nan_to_num(0)
    spectrum = torch.fft.rfft(x, n=2 * T, dim=1)
    products = torch.fft.irfft(spectrum.abs().square(), n=2 * T, dim=1)[:, : T // 2 + 1]
    still = x.square().sum(1, keepdim=True) < torch.finfo(x.dtype).eps
    found: Tensor = torch.where(still, 0, products / products[:, :1])[:, 1:]
    return found


def mean_differences(a: Tensor, b: Tensor) -> Tensor:
    """The mean difference, in each column, of the averages of a [n, L, C] and b [m, L, C]: [C]."""
    return (a.mean(0) - b.mean(0)).abs().mean(0)
