"""How far the correlations between the columns of series are apart: which of them move together.

Pearson's correlations of the columns' values at one moment, over all moments of all series; the distance is the mean
of |r − r_real| over the pairs of columns (as the correlational score of Liao et al. 2020, "Conditional Sig-Wasserstein
GANs", arXiv:2006.05421, section 5).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.blocks import FEWEST, against_rest
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.series import series_of


class CrossCorrelation(Metric):
    """`cross_correlation`, the mean difference of the correlations between columns, with its interval;
    `cross_correlation_real`, what as many real series get. Nothing of series of one column.

    It sees columns that move together at one moment, and neither those of which one follows the other later nor what
    is no straight line.
    """

    better: ClassVar[dict[str, Better]] = {"cross_correlation": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"series"})
    fewest: ClassVar[int] = FEWEST

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        found, expected = series_of(fake, setting), series_of(real, setting)
        if found.shape[2] < 2:
            return {}
        return against_rest(found, expected, lambda a, b: (correlations(a) - correlations(b)).abs()).named(
            "cross_correlation"
        )


def correlations(series: Tensor) -> Tensor:
    """Pearson's r of each pair of the columns of series [n, T, C], C >= 2, NaN after their ends: [C (C − 1) / 2],
    float64. A column that is constant has 0 with all others."""
    x = series.flatten(0, 1)
    x = x[~x.isnan().any(1)].double()
    x = x - x.mean(0)
    spread = x.norm(dim=0)
    x = torch.where(spread > 1e-6 * len(x) ** 0.5, x / spread, 0)
    first, second = torch.triu_indices(x.shape[1], x.shape[1], 1)
    return (x.T @ x)[first, second]
