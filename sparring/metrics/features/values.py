"""The values themselves: for likelihoods, and for vectors small enough to be compared as they are."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from sparring.metrics.features.network import FeatureNetwork, expect_shape


class Values(FeatureNetwork):
    """(x + 1) / 2, flat: values in [0, 1], as many as a sample has. Nothing is learned, reduced or left out."""

    name = "values"
    num_classes = 0

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Of samples of that shape."""
        super().__init__()
        self.shape, self.dim = shape, math.prod(shape)
        self.sha256 = hashlib.sha256(f"values {shape}".encode()).hexdigest()

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, *shape] in [-1, 1] to features float32 [B, dim] in [0, 1]."""
        expect_shape(self.name, self.shape, x)
        return ((x.float() + 1) / 2).flatten(1)
