"""Mean and covariance of features that come in parts: float64, in memory that does not grow with the number of samples.

Covariances divide by N − 1 (`ddof=1`: numpy's, TTUR's and torch-fidelity's convention; StyleGAN divides by N).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparring.core.errors import RequestError

DDOF = 1
MOST_FEATURES = 4096
"""Beyond so many features no covariance is kept: it would take more memory than the samples, and hours to compare."""


class Summary(NamedTuple):
    """All that the distance needs of a set of features, in float64, however many there were."""

    num: int
    mean: Tensor
    """[d]"""
    scatter: Tensor
    """Sum of outer products of deviations from the mean [d, d]; [0, 0] for d > `MOST_FEATURES`."""


def nothing(dim: int) -> Summary:
    """The summary of no features, to merge others into."""
    kept = dim if dim <= MOST_FEATURES else 0
    return Summary(0, torch.zeros(dim, dtype=torch.float64), torch.zeros(kept, kept, dtype=torch.float64))


def summarise(features: Tensor) -> Summary:
    """The summary of features [N, d], N >= 1."""
    features = features.detach().cpu().double()
    mean = features.mean(0)
    if features.shape[1] > MOST_FEATURES:
        return nothing(features.shape[1])._replace(num=len(features), mean=mean)
    deviation = features - mean
    return Summary(len(features), mean, deviation.T @ deviation)


def merge(a: Summary, b: Summary) -> Summary:
    """The summary of both sets together (Chan, Golub and LeVeque 1979), one of them not empty.

    Deviations are merged, not raw second moments, in which a mean far from zero would cancel most digits.
    """
    num = a.num + b.num
    delta = b.mean - a.mean
    mean = a.mean + delta * (b.num / num)
    if not len(a.scatter):
        return Summary(num, mean, a.scatter)
    return Summary(num, mean, a.scatter + b.scatter + torch.outer(delta, delta) * (a.num * b.num / num))


def moments_of(summary: Summary, ddof: int = DDOF) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d], float64, of what a summary holds. Raises `RequestError` for N <= ddof, and
    for more than `MOST_FEATURES` features."""
    if summary.num <= ddof:
        raise RequestError(f"a covariance needs at least {ddof + 1} samples, found {summary.num}; ask for more")
    if not len(summary.scatter):
        raise RequestError(
            f"a covariance is kept of at most {MOST_FEATURES:,} features, found {len(summary.mean):,}; choose other "
            "features, such as pca"
        )
    return summary.mean, summary.scatter / (summary.num - ddof)


def moments(features: Tensor, ddof: int = DDOF) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d] of features [N, d], float64; the covariance divides by N − ddof."""
    return moments_of(summarise(features), ddof)
