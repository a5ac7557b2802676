"""Fréchet distance between two sets of features, each taken as a Gaussian (Heusel et al. 2017, arXiv:1706.08500).

    d² = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½)

Called FID only when the features are Inception's; here it is always named beside its feature network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.metric import Better, Measured, Metric, Setting
from sparring.metrics.summary import moments, moments_of


class FID(Metric):
    """`fid`, the Fréchet distance in the judge's features; `fid_real`, what as many samples of the reference itself
    get (as many as are kept at most): the floor that the number of samples sets, since the distance falls as that
    number grows."""

    better: ClassVar[dict[str, Better]] = {"fid": "lower"}

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        reference = moments_of(real.summary)
        floor = moments(real.features[: max(2, fake.summary.num)])
        return {
            "fid": frechet_distance(*moments_of(fake.summary), *reference),
            "fid_real": frechet_distance(*floor, *reference),
        }

    def notes(self, fake: Measured, real: Measured, setting: Setting) -> Iterable[str]:
        num, dim = fake.summary.num, setting.network.dim
        if num <= dim:
            yield (
                f"{num} samples for {dim} features: the covariance is singular and fid far too high; compare it "
                f"with fid_real"
            )


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
