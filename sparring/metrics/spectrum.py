"""How far the power spectra of series are apart: which frequencies they hold, and how strongly.

Of each series x [T], less the mean of its column in the reference, the periodogram |Σ x_t e^{-2πi f t / T}|² / t at the
frequencies f = 0 .. T/2, t its length (Brockwell and Davis 1991, Time Series: Theory and Methods, §10.1), averaged over
the series. Spectra are compared as engineers do, in decibels: the mean of |10 log₁₀ of their quotient|
over frequencies and columns (a log-spectral distance; Gray and Markel 1976, IEEE Trans. ASSP 24).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.blocks import FEWEST, against_rest
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.series import series_of

QUIET = 1e-4
"""Of a column's mean power: what lies below, 40 dB down, counts as that much, so that silence is not compared."""


class Spectrum(Metric):
    """`spectrum`, the mean difference of the power spectra in decibels, with its interval; `spectrum_real`, what as
    many real series get.

    It sees how much series vary and how fast, noise and smoothness included, and each column by itself: neither which
    columns move together, nor the shape of what is periodic, nor how a series differs from the next.
    """

    better: ClassVar[dict[str, Better]] = {"spectrum": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"series"})
    fewest: ClassVar[int] = FEWEST

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        reference = series_of(real, setting)
        mean = reference.nanmean((0, 1))
        power, expected = periodogram(series_of(fake, setting) - mean), periodogram(reference - mean)
        quiet = QUIET * expected.mean((0, 1))
        return against_rest(power, expected, lambda a, b: decibels(a.mean(0), b.mean(0), quiet)).named("spectrum")


def periodogram(series: Tensor) -> Tensor:
    """The power of series [n, T, C] at each frequency: [n, T // 2 + 1, C]. NaN, after the end, counts as 0."""
    lengths = (~series.isnan()).sum(1, keepdim=True).clamp(min=1)
    power: Tensor = torch.fft.rfft(series.nan_to_num(0), dim=1).abs().square() / lengths
    return power


def decibels(a: Tensor, b: Tensor, quiet: Tensor) -> Tensor:
    """The mean difference of powers [F, C] in decibels in each column [C], where none counts as less than `quiet` [C];
    a column that is quiet everywhere differs by nothing."""
    least = torch.maximum(quiet, torch.tensor(torch.finfo(quiet.dtype).tiny))
    difference: Tensor = 10 * (a.clamp(min=least) / b.clamp(min=least)).log10()
    return difference.abs().mean(0)
