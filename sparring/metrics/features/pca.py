"""Principal components of the pixels, named as such: they see layout and contrast, not what a picture shows.

They fit any data, and are the features of whatever no trained network is known for.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import Source
from sparring.metrics.features.network import FeatureNetwork, expect_shape, hash_tensors
from sparring.metrics.summary import merge, moments_of, summarise


class PCA(FeatureNetwork):
    """Principal components of the reference's own values, not whitened: `pca64-pixels`, or `pca64-pixels-pool2` when
    pictures of more than 1,024 values are first averaged over 2×2 pixels (`-values` for data that are not pictures).

    A distance here compares layout and contrast at the scale of the values, [-1, 1]. It knows nothing of content and
    must not be compared with a distance in any other features.
    """

    MOST_INPUTS = 1024
    FITTED_ON = 10_000
    num_classes = 0

    def __init__(self, shape: tuple[int, ...], pool: int, mean: Tensor, components: Tensor) -> None:
        """Of samples of that shape, averaged over `pool` values each way: mean [D], components [dim, D]."""
        super().__init__()
        self.shape, self.pool, self.dim = shape, pool, len(components)
        kind = "pixels" if len(shape) == 3 else "values"
        self.name = f"pca{self.dim}-{kind}" + (f"-pool{pool}" if pool > 1 else "")
        self.sha256 = hash_tensors({"mean": mean, "components": components})
        self.mean: Tensor
        self.components: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)

    @classmethod
    def fit(cls, reference: Source, dim: int = 64) -> PCA:
        """The first components of the reference (of 10,000 samples evenly spread over it, where it holds more).

        Each component's largest entry is positive. Raises `RequestError` for a reference of fewer than 2 samples.
        """
        if len(reference) < 2:
            raise RequestError(f"features of {reference.spec.name} need at least 2 samples, found {len(reference)}")
        index = torch.arange(len(reference))
        if len(reference) > cls.FITTED_ON:
            index = torch.linspace(0, len(reference) - 1, cls.FITTED_ON, dtype=torch.float64).long()
        pool = _pooling(reference.spec.shape, cls.MOST_INPUTS)
        parts = (summarise(_pooled(reference.take(part).x, pool)) for part in torch.split(index, 1000))
        mean, cov = moments_of(functools.reduce(merge, parts))
        kept = min(dim, len(mean), len(index) - 1)
        components = torch.linalg.eigh(cov).eigenvectors[:, -kept:].flip(1).T
        largest = components.gather(1, components.abs().argmax(1, keepdim=True))
        return cls(reference.spec.shape, pool, mean.float(), (components * largest.sign()).float())

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, *shape] in [-1, 1] to features float32 [B, dim]."""
        expect_shape(self.name, self.shape, x)
        pooled = _pooled(x.to(self.mean.device), self.pool)
        return (pooled - self.mean) @ self.components.T


def _pooling(shape: tuple[int, ...], most: int) -> int:
    """The smallest window whose averages leave at most that many values of a sample."""
    pool = 1
    while math.prod((*shape[:-2], *(math.ceil(n / pool) for n in shape[-2:]))) > most and pool < max(shape):
        pool += 1
    return pool


def _pooled(x: Tensor, pool: int) -> Tensor:
    """x [B, C, H, W] or [B, D], averaged over windows of that size, flat: float32 [B, values]."""
    x = x.float()
    if pool > 1:
        x = F.avg_pool2d(x, pool, ceil_mode=True) if x.dim() == 4 else F.avg_pool1d(x[:, None], pool, ceil_mode=True)
    return x.flatten(1)
