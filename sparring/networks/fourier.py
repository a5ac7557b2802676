"""Fully connected networks that see fine scales: their input goes in beside waves of it (Tancik et al. 2020, "Fourier
features let networks learn high frequency functions in low dimensional domains", equation 2, with learnt frequencies).

    x -> x, sin(2π W x), cos(2π W x),   row i of W [count, D] drawn from N(0, scale_i²) at first

A plain network of few numbers learns what varies slowly long before what varies fast. Modes that are forty times as
narrow as they are apart are fast for a discriminator, and so is the border in z between what goes to one mode and what
goes to the next for a generator: a step, to which every layer of ReLU adds contrast, so there are more of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers import Activation, Dense, Layer
from sparring.layers.layer import Shape
from sparring.networks.layered import Discriminator, Generator


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


class FourierGenerator(NetworkSpec):
    """G(z, y) -> x [B, *data.shape]: waves over z, then `depth` hidden layers of `width` units, ReLU; nothing at the
    end, so values are unbounded. `scales` are those of the first and of the last wave (see `Waves`)."""

    width: int = 128
    depth: int = 5
    waves: int = 32
    scales: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        _check(self)

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        hidden = [Dense(self.width), Activation("relu")] * self.depth
        layers = [Waves(self.waves, *self.scales), *hidden, Dense(math.prod(data.shape))]
        return Generator(layers=layers).build(data, z_dim)


class FourierDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B]: waves over x, then `depth` hidden layers of `width` units, LeakyReLU 0.2.

    For vectors of a few numbers in [-1, 1]; in many dimensions random waves tell next to nothing. `scales` are those of
    the first and of the last wave (see `Waves`): what is 1/50 as wide as all data is seen from the first step on.
    """

    width: int = 128
    depth: int = 2
    waves: int = 64
    scales: tuple[float, float] = (1.0, 8.0)

    def __post_init__(self) -> None:
        _check(self)

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        hidden = [Dense(self.width), Activation("relu", leaky_rate=0.2)] * self.depth
        layers = [Waves(self.waves, *self.scales), *hidden, Dense(1)]
        return Discriminator(layers=layers).build(data, z_dim)


def _check(spec: FourierGenerator | FourierDiscriminator) -> None:
    if min(spec.width, spec.waves) < 1 or spec.depth < 0 or not 0 < spec.scales[0] <= spec.scales[1]:
        raise RequestError(
            f"{type(spec).__name__}: expected width and waves of at least 1, depth of at least 0 and rising "
            f"scales above 0, found {spec.width}, {spec.waves}, {spec.depth}, {spec.scales}"
        )
