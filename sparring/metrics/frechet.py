"""Fréchet distance between two sets of features, each taken as a Gaussian (Heusel et al. 2017, arXiv:1706.08500).

    d² = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½)

Called FID only when the features are Inception's; here it is always named beside its feature network.

Its derivative towards a single sample x of the first set is the influence function

    IF(x) = 2 (μ₁ − μ₂)·(x − μ₁) + (x − μ₁)ᵀ (I − T) (x − μ₁) − tr((I − T) Σ₁)

where T = Σ₂^½ (Σ₂^½ Σ₁ Σ₂^½)^{-½} Σ₂^½ is the map that carries N(0, Σ₁) to N(0, Σ₂) (Takatsu 2011, Osaka J. Math. 48).
The standard deviation of IF over √N is the standard error of the distance (the delta method; for this distance Rippl,
Munk and Sturm 2016, arXiv:1507.04090).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.interval import Interval, from_error
from sparring.metrics.metric import Better, Measured, Metric, Needs, Setting
from sparring.metrics.summary import moments, moments_of


class FID(Metric):
    """`fid`, the Fréchet distance in the judge's features, with its interval; `fid_real`, what as many samples of the
    reference itself get (as many as are kept at most): the floor that the number of samples sets, since the distance
    falls as that number grows. It is a little too low, as those samples are part of the reference, and left out where
    they would be all of it.

    The interval is for what this many samples of the generator are expected to give against this very reference. It
    holds the chance in the draw of the samples, and not the distance's bias, which two scores of as many samples
    share; `FIDInfinity` takes that away.

    Where not to trust it: as the law of the samples approaches the reference's, the influence function goes to zero,
    what is left of it is estimation noise, and the interval becomes too wide, by two fifths for 1,000 samples of 64
    features (so near `fid_real` two intervals may overlap that belong to different values). As wide is it with fewer
    samples than features, where the covariance is singular and the distance not smooth.
    """

    better: ClassVar[dict[str, Better]] = {"fid": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"moments"})

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        reference = gaussian(*moments_of(real.summary))
        values = _with_interval(fake, reference).named("fid")
        kept = real.features[: fake.summary.num]
        if len(kept) < real.summary.num:
            values["fid_real"] = distance(gaussian(*moments(kept)), reference)
        return values

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        num, dim = fake.summary.num, setting.network.dim
        if num <= dim:
            floor = "; compare it with fid_real" if "fid_real" in values else ""
            yield f"{num} samples for {dim} features: the covariance is singular and fid far too high{floor}"


class HeldOutFID(Metric):
    """`fid_held_out`, the Fréchet distance to real samples that were set aside and not trained on, with its interval.

    It rises when a generator draws nearer to its training set than to what that was drawn from, which the distance to
    the training set itself cannot show. Fewer real samples make it larger: compare it with none but its like.
    """

    better: ClassVar[dict[str, Better]] = {"fid_held_out": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"held_out", "moments"})

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        if setting.held_out is None:
            raise RequestError("fid_held_out compares with real samples that were set aside: name them as held out")
        return _with_interval(fake, gaussian(*moments_of(setting.held_out.summary))).named("fid_held_out")


def _with_interval(fake: Measured, reference: Gaussian) -> Interval:
    """The distance of a set of samples, with the interval that `FID` describes."""
    samples = gaussian(*moments_of(fake.summary))
    error = influence(fake.features, samples, reference).std().item() / fake.summary.num**0.5
    found = from_error(distance(samples, reference), error)
    return found._replace(low=max(0.0, found.low))


class Gaussian(NamedTuple):
    """A normal law, float64 on the CPU."""

    mean: Tensor
    """[d]"""
    factor: Tensor
    """A [d, d] with A Aᵀ the covariance and columns that are orthogonal to each other."""


def gaussian(mean: Tensor, cov: Tensor) -> Gaussian:
    """The normal law of that mean [d] and covariance [d, d]; eigenvalues that rounding may have made count as zero."""
    mean, cov = (t.detach().cpu().double() for t in (mean, cov))
    values, vectors = torch.linalg.eigh(cov)
    real = values > values.max() * len(values) * torch.finfo(values.dtype).eps
    return Gaussian(mean, vectors * torch.where(real, values, 0).sqrt())


def distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Fréchet distance of two Gaussians; >= 0, 0 only for equal ones.

    With Σᵢ = AᵢAᵢᵀ, the eigenvalues of (Σ₁Σ₂)^½ are the singular values of A₁ᵀA₂. Taking them so, and not as square
    roots of the eigenvalues of Σ₁^½Σ₂Σ₁^½, keeps full accuracy where covariances are singular (fewer samples than
    dimensions, features that never fire), where a root would turn an error of 1e-16 into 1e-8. For the same reason
    `gaussian` takes eigenvalues of that size for zero.
    """
    root_trace = torch.linalg.svdvals(a.factor.T @ b.factor).sum()
    traces = a.factor.square().sum() + b.factor.square().sum()
    return max(0.0, float((a.mean - b.mean).square().sum() + traces - 2 * root_trace))


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """`distance` of the Gaussians of means [d] and covariances [d, d]."""
    return distance(gaussian(mean1, cov1), gaussian(mean2, cov2))


def influence(x: Tensor, a: Gaussian, b: Gaussian) -> Tensor:
    """IF of samples x [N, d] of a on its distance to b: float64 [N], zero on average over a.

    With A and B their factors and U S Vᵀ the singular value decomposition of AᵀB, T is A⁻ᵀ U S Uᵀ A⁻¹. The inverse is
    the pseudo-inverse: directions in which a has no variance have no part in it, nor have its own samples there.
    """
    variances = a.factor.square().sum(0)
    U, S, _ = torch.linalg.svd(a.factor.T @ b.factor)
    root = torch.where(variances > 0, a.factor / variances, 0) @ U
    slope = torch.eye(len(S), dtype=S.dtype) - (root * S) @ root.T
    deviation = x.detach().cpu().double() - a.mean
    bent = deviation @ slope
    expected = ((slope @ a.factor) * a.factor).sum()
    found: Tensor = 2 * deviation @ (a.mean - b.mean) + (bent * deviation).sum(1) - expected
    return found
