"""Kernel distance between two sets of features: unbiased MMD² (Bińkowski et al. 2018, arXiv:1801.01401, eq. 4).

    MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y)   with   k(x, y) = (x·y / d + 1)³

Its expectation does not depend on the number of samples, so it can be compared between sample sizes where a Fréchet
distance can't. Being unbiased, it may come out negative for sets that are alike.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.interval import from_error
from sparring.metrics.metric import Better, Measured, Metric, Setting


class Estimate(NamedTuple):
    """A mean over subsets and how far to trust it."""

    value: float
    standard_error: float
    num_subsets: int
    subset_size: int


class KID(Metric):
    """`kid`, the kernel distance (unscaled), and its interval."""

    num_subsets: int = 10
    subset_size: int = 1000

    better: ClassVar[dict[str, Better]] = {"kid": "lower"}

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        found = kid(
            fake.features, real.features, num_subsets=self.num_subsets, subset_size=self.subset_size, seed=setting.seed
        )
        return from_error(found.value, found.standard_error, found.num_subsets - 1).named("kid")


def mmd2(x: Tensor, y: Tensor) -> float:
    """Unbiased MMD² of features x [N, d] and y [M, d], N and M >= 2: a sample is never compared with itself."""
    x, y = x.double(), y.double()
    N, M = len(x), len(y)
    within_x, within_y, between = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    return (
        (within_x.sum() - within_x.trace()) / (N * (N - 1))
        + (within_y.sum() - within_y.trace()) / (M * (M - 1))
        - 2 * between.mean()
    ).item()


def kid(fake: Tensor, real: Tensor, *, num_subsets: int = 10, subset_size: int = 1000, seed: int = 0) -> Estimate:
    """Kernel distance of fake [N, d] and real [M, d] with its standard error.

    Both sets are shuffled by the seed and cut into subsets that share no sample, so the subsets' values are
    independent and their spread is an honest error. (The usual 100 overlapping subsets of 1,000 have the same
    expectation, and a spread that tells nothing about the mean.) Subsets get smaller where there are too few samples.
    Raises `RequestError` with fewer than 4 samples on either side.
    """
    fewest = min(len(fake), len(real))
    if fewest < 4:
        raise RequestError(f"a kernel distance needs at least 4 samples on each side, found {fewest}; ask for more")
    num_subsets = min(num_subsets, fewest // 2)
    size = min(subset_size, fewest // num_subsets)
    generator = torch.Generator().manual_seed(seed)
    fakes = torch.randperm(len(fake), generator=generator)[: num_subsets * size].view(num_subsets, size)
    reals = torch.randperm(len(real), generator=generator)[: num_subsets * size].view(num_subsets, size)
    values = torch.tensor([mmd2(fake[f], real[r]) for f, r in zip(fakes, reals, strict=True)], dtype=torch.float64)
    return Estimate(values.mean().item(), values.std().item() / num_subsets**0.5, num_subsets, size)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    base = (x @ y.T).div_(x.shape[1]).add_(1)
    return base * base * base  # pow(3) takes several times as long
