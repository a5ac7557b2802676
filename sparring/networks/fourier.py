"""A fully connected discriminator that sees fine scales: its input goes in beside waves of it (Tancik et al. 2020,
"Fourier features let networks learn high frequency functions in low dimensional domains", equation 2, with learnt
frequencies).

    x -> x, sin(2π W x), cos(2π W x),   row i of W [count, D] drawn from N(0, scale_i²) at first

A plain network of few numbers learns what varies slowly long before what varies fast, and modes that are forty times
as narrow as they are apart are fast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers import Activation, Dense, Layer
from sparring.layers.layer import Shape
from sparring.networks.layered import Discriminator


class Waves(Layer, kw_only=False):
    """A vector [B, D] to [B, D + 2 · count]: itself, then the sines and the cosines of `count` waves over it.

    A wave's frequencies, in periods per unit of x and per coordinate, have the standard deviation scale_i at first:
    from `low` for the first wave to `high` for the last, evenly in the logarithm.
    """

    count: int
    low: float = 1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        self.check_whole("count")
        self.check(self.low > 0, "low", "more than 0")
        self.check(self.high >= self.low, "high", "at least `low`")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 1:
            raise self.fail(f"expected a vector (features,), found {in_shape}: put Flatten() before it")
        scales = torch.logspace(math.log10(self.low), math.log10(self.high), self.count)
        return WavesModule(scales, in_shape[0]), (in_shape[0] + 2 * self.count,)


class WavesModule(nn.Module):
    def __init__(self, scales: Tensor, dim: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(2 * math.pi * scales[:, None] * torch.randn(len(scales), dim))

    def forward(self, x: Tensor) -> Tensor:
        phase = x @ self.frequencies.T
        return torch.cat([x, phase.sin(), phase.cos()], 1)


class FourierDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B]: waves over x, with the numbers of its condition beside it where data have one, then
    `depth` hidden layers of `width` units, LeakyReLU 0.2.

    For vectors of a few numbers in [-1, 1]; in many dimensions random waves tell next to nothing. `scales` are those of
    the first and of the last wave (see `Waves`): what is 1/50 as wide as all data is seen from the first step on.
    """

    width: int = 128
    depth: int = 2
    waves: int = 64
    scales: tuple[float, float] = (1.0, 8.0)

    def __post_init__(self) -> None:
        if min(self.width, self.waves) < 1 or self.depth < 0 or not 0 < self.scales[0] <= self.scales[1]:
            raise RequestError(
                "FourierDiscriminator: expected width and waves of at least 1, depth of at least 0 and rising scales "
                f"above 0, found {self.width}, {self.waves}, {self.depth}, {self.scales}"
            )

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        hidden = [Dense(self.width), Activation("relu", leaky_rate=0.2)] * self.depth
        layers = [Waves(self.waves, *self.scales), *hidden, Dense(1)]
        return Discriminator(layers=layers).build(data, z_dim)
