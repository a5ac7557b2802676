"""Minibatch discrimination (Salimans et al. 2016, "Improved techniques for training GANs", section 3.2).

Tells the discriminator how close each sample is to the others of its batch, in directions that it learns, so that a
generator which repeats itself is found out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.layers.layer import Layer, Shape


class MinibatchDiscrimination(Layer, kw_only=False):
    """Vectors [B, D] to [B, D + kernels].

    Each kernel b maps a vector f linearly to M_b of `dims` numbers. To sample i it adds
    o(x_i)_b = Σ_j exp(-|M_b(x_i) - M_b(x_j)|₁) over the batch, the sample itself included: 1 for a sample that is like
    no other, B where all are the same. So what is added depends on the batch's size, and a discriminator that has it
    must see batches of one size. The cost is B² · kernels · dims; `MinibatchStd` is cheaper and learns nothing.
    """

    kernels: int = 100
    dims: int = 5

    def __post_init__(self) -> None:
        self.check_whole("kernels")
        self.check_whole("dims")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 1:
            raise self.fail(f"expected a vector (features,), found {in_shape}: put Flatten() before it")
        return AppendCloseness(in_shape[0], self.kernels, self.dims), (in_shape[0] + self.kernels,)


class AppendCloseness(nn.Module):
    """The module of `MinibatchDiscrimination`; twice differentiable."""

    def __init__(self, features: int, kernels: int, dims: int) -> None:
        super().__init__()
        self.kernels = kernels
        # So that M has the variance of the features.
        self.weight = nn.Parameter(torch.randn(features, kernels * dims) / features**0.5)

    def forward(self, x: Tensor) -> Tensor:
        m = (x @ self.weight).view(len(x), self.kernels, -1)
        m = m.to(torch.promote_types(m.dtype, torch.float32))
        closeness = (-(m[:, None] - m).abs().sum(3)).exp().sum(1)
        return torch.cat([x, closeness.to(x.dtype)], dim=1)
