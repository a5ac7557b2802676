"""Kullback-Leibler divergence of samples from real data, both ways, from distances to nearest neighbours (Wang,
Kulkarni and Verdú 2009, "Divergence estimation for multidimensional densities via k-nearest-neighbor distances",
equation 5):

    KL(P‖Q) ≈ d/n Σ log(ν_i / ρ_i) + log(m / (n − 1))

for n samples of P and m of Q in d dimensions, where ρ_i is the distance from sample i of P to its k-th nearest other
one and ν_i that to its k-th nearest of Q.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.distances import nearest, nearest_others
from sparring.metrics.interval import Interval, from_error
from sparring.metrics.metric import Better, Measured, Metric, Setting

_FINEST = 2.0**-24
"""Distances below this are rounding of float32 features in [0, 1]; so samples that coincide give a finite number."""


class Divergence(Metric):
    """`divergence` with its interval, half of the sum of `kl_forward`, KL(real‖fake), and `kl_reverse`, KL(fake‖real),
    all in nats: 0 for equal laws, in any units.

    It has no scale of its own: modes a hundred times as narrow as they are apart count with their width, their place
    and their share. Where a mode is missing `kl_forward` is large, where samples lie where no data are `kl_reverse`.
    Take it in one or two dimensions, and in a few more: in many, all distances are alike, and the estimate falls
    behind, as it does for the far tails of one law where the other has none. Estimates from finitely many samples may
    lie a little below 0. Of equally many each, drawn by the seed, `most` at most. Raises `RequestError` for k below 1.
    """

    k: int = 5
    most: int = 5000

    better: ClassVar[dict[str, Better]] = {"divergence": "lower", "kl_forward": "lower", "kl_reverse": "lower"}
    fewest: ClassVar[int] = 10

    def __post_init__(self) -> None:
        if self.k < 1 or self.most <= self.k:
            raise RequestError(f"Divergence: expected k >= 1 and most above it, found {self.k} and {self.most}")

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        num = min(len(fake.features), len(real.features), self.most)
        random = torch.Generator().manual_seed(setting.seed)
        p, q = (x[torch.randperm(len(x), generator=random)[:num]] for x in (real.features, fake.features))
        forward, reverse = kl_nearest(p, q, self.k), kl_nearest(q, p, self.k)
        both = forward.value + reverse.value
        # Each side's own samples make most of its error, so the errors are nearly independent.
        error = math.hypot(*((side.high - side.low) / 2 for side in (forward, reverse))) / 2
        found = Interval(both / 2, both / 2 - error, both / 2 + error)
        return found.named("divergence") | {"kl_forward": forward.value, "kl_reverse": reverse.value}


def kl_nearest(p: Tensor, q: Tensor, k: int = 5) -> Interval:
    """KL(P‖Q) in nats from samples p [n, d] and q [m, d], n > k, m >= k, with the interval of a mean of n values.

    Raises `RequestError` for fewer samples, and for values that are not finite.
    """
    own, other = nearest_others(p, k).distances[:, -1], nearest(p, q, k).distances[:, -1]
    logs = p.shape[1] * (other.clamp(min=_FINEST) / own.clamp(min=_FINEST)).log()
    found = logs.mean().item() + math.log(len(q) / (len(p) - 1))
    return from_error(found, logs.std().item() / math.sqrt(len(p)))
