"""The numbers of the tokens: what is looked at of texts, whose metrics count and compare tokens."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from sparring.metrics.features.network import FeatureNetwork, expect_shape


class Tokens(FeatureNetwork):
    """The number of the token at each place of a text, the greatest of its V values: T whole numbers, as floats.

    They are names and not quantities: metrics that measure distances between features leave texts alone.
    """

    name = "tokens"
    num_classes = 0

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Of texts of that shape, (T, V)."""
        super().__init__()
        self.shape, self.dim = shape, shape[0]
        self.sha256 = hashlib.sha256(f"tokens {shape}".encode()).hexdigest()

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, V] to features float32 [B, T], from 0 to V − 1. Where x is NaN, so are they."""
        expect_shape(self.name, self.shape, x)
        found = x.max(2)
        return torch.where(found.values.isnan(), torch.nan, found.indices.float())
