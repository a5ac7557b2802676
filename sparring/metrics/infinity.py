"""Fréchet distance of infinitely many samples (Chong and Forsyth 2020, arXiv:1911.07023).

The distance of n samples is biased upwards, by an amount that falls as 1/n and differs between generators, so even
scores of equally many samples may be ranked wrongly. Computed for several n and extrapolated along 1/n to 0, it loses
that bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

import torch
from scipy import stats
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.frechet import Gaussian, distance, gaussian, influence
from sparring.metrics.interval import from_error
from sparring.metrics.metric import Better, Measured, Metric, Needs, Setting
from sparring.metrics.summary import moments, moments_of


class FIDInfinity(Metric):
    """`fid_inf`, the Fréchet distance without the bias that a finite number of samples has, with its interval, which
    is for the value of infinitely many samples of the generator against this very reference. (A reference of few
    samples adds a bias of its own, which stays.)

    It uses the samples whose features are kept. It can come out negative where the true value is near 0. The straight
    line holds for sizes far above the number of features; below four samples per feature it bends, and the intercept
    is too low by roughly d/(8n) of the bias removed, n the smallest size: a note says so, and with fewer than 2 (d + 1)
    samples there is no value. It costs `num_sizes` distances: with one thread .1 s for 10,000 samples of 64 features,
    two minutes for 2,048 (half a minute with 3 sizes, and an interval three times as long).
    """

    num_sizes: int = 15

    better: ClassVar[dict[str, Better]] = {"fid_inf": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"moments"})

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        if len(fake.features) < fewest_samples(setting.network.dim):
            return {}
        reference = gaussian(*moments_of(real.summary))
        found = fid_infinity(fake.features, reference, num_sizes=self.num_sizes, seed=setting.seed)
        return from_error(found.value, found.standard_error).named("fid_inf")

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        num, dim = len(fake.features), setting.network.dim
        if num < fewest_samples(dim):
            yield f"fid_inf is left out: {num} samples for {dim} features; it needs {fewest_samples(dim):,}"
        elif num < 8 * (dim + 1):
            yield (
                f"{num} samples for {dim} features: fid_inf is extrapolated from so few that it may come out too low; "
                f"keep {8 * (dim + 1):,} or more"
            )


class Extrapolation(NamedTuple):
    """The intercept, its standard error, and from how many samples at least it was found."""

    value: float
    standard_error: float
    smallest: int


def fewest_samples(dim: int) -> int:
    """Of which a distance in that many features can be extrapolated: half of them have a covariance of full rank."""
    return 2 * (dim + 1)


def fid_infinity(fake: Tensor, reference: Gaussian, *, num_sizes: int = 15, seed: int = 0) -> Extrapolation:
    """The intercept of the distances FID_n of random subsets of fake [N, d], regressed on 1/n.

    The sizes n are evenly spaced up to N, from the larger of N/10 and 4 (d + 1), or from N/2 where that is less. From
    each FID_n the mean over its subset of the influence function is taken, less the mean over all N: its expectation
    is zero, so the intercept stays what it is in the paper on average, and most of the noise that the choice of the
    subsets would add is gone. The standard error combines that of the N samples (influence function) with that of the
    regression. Raises `RequestError` for N < 2 (d + 1).
    """
    N, dim = fake.shape
    if fewest_samples(dim) > N:
        raise RequestError(
            f"a distance in {dim} features is extrapolated from at least {fewest_samples(dim)} samples, found {N}; "
            f"keep more"
        )
    effect = influence(fake, gaussian(*moments(fake)), reference)
    effect -= effect.mean()
    smallest = max(N // 10, min(4 * (dim + 1), N // 2))
    sizes = torch.linspace(smallest, N, num_sizes, dtype=torch.float64).round().long().tolist()
    generator = torch.Generator().manual_seed(seed)
    distances = []
    for size in sizes:
        subset = torch.randperm(N, generator=generator)[:size]
        found = distance(gaussian(*moments(fake[subset])), reference)
        distances.append(found - effect[subset].mean().item())
    line = stats.linregress([1 / size for size in sizes], distances)
    error = (effect.var().item() / N + line.intercept_stderr**2) ** 0.5
    return Extrapolation(float(line.intercept), float(error), smallest)
