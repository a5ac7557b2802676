"""Fréchet distance between two sets of features, each taken as a Gaussian (Heusel et al. 2017, arXiv:1706.08500).

    d² = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½)

Called FID only when the features are Inception's; here it is always named beside its feature network. Covariances
divide by N − 1 (`ddof=1`: numpy's, TTUR's and torch-fidelity's convention; StyleGAN divides by N).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparring.core.errors import RequestError

DDOF = 1


class Summary(NamedTuple):
    """All that the distance needs of a set of features, in float64, however many there were."""

    num: int
    mean: Tensor
    """[d]"""
    scatter: Tensor
    """Sum of outer products of deviations from the mean [d, d]."""


def nothing(dim: int) -> Summary:
    """The summary of no features, to merge others into."""
    return Summary(0, torch.zeros(dim, dtype=torch.float64), torch.zeros(dim, dim, dtype=torch.float64))


def summarise(features: Tensor) -> Summary:
    """The summary of features [N, d], N >= 1."""
    features = features.detach().cpu().double()
    mean = features.mean(0)
    deviation = features - mean
    return Summary(len(features), mean, deviation.T @ deviation)


def merge(a: Summary, b: Summary) -> Summary:
    """The summary of both sets together (Chan, Golub and LeVeque 1979), one of them not empty.

    Deviations are merged, not raw second moments, in which a mean far from zero would cancel most digits.
    """
    num = a.num + b.num
    delta = b.mean - a.mean
    scatter = a.scatter + b.scatter + torch.outer(delta, delta) * (a.num * b.num / num)
    return Summary(num, a.mean + delta * (b.num / num), scatter)


def moments_of(summary: Summary, ddof: int = DDOF) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d], float64, of what a summary holds. Raises `RequestError` for N <= ddof."""
    if summary.num <= ddof:
        raise RequestError(f"a covariance needs at least {ddof + 1} samples, found {summary.num}; ask for more")
    return summary.mean, summary.scatter / (summary.num - ddof)


def moments(features: Tensor, ddof: int = DDOF) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d] of features [N, d], float64; the covariance divides by N − ddof."""
    return moments_of(summarise(features), ddof)


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians; >= 0, 0 only for equal ones.

    With Σᵢ = AᵢAᵢᵀ, the eigenvalues of (Σ₁Σ₂)^½ are the singular values of A₁ᵀA₂. Taking them so, and not as square
    roots of the eigenvalues of Σ₁^½Σ₂Σ₁^½, keeps full accuracy where covariances are singular (fewer samples than
    dimensions, features that never fire), where a root would turn an error of 1e-16 into 1e-8.
    """
    mean1, cov1, mean2, cov2 = (t.detach().cpu().double() for t in (mean1, cov1, mean2, cov2))
    root_trace = torch.linalg.svdvals(_factor(cov1).T @ _factor(cov2)).sum()
    squared = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * root_trace
    return max(0.0, float(squared))


def _factor(cov: Tensor) -> Tensor:
    """A with A Aᵀ = cov; eigenvalues that rounding made negative count as zero."""
    values, vectors = torch.linalg.eigh(cov)
    factor: Tensor = vectors * values.clamp(min=0).sqrt()
    return factor
