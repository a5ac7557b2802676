"""Fully connected networks that see fine scales: their input goes in beside waves of it (Tancik et al. 2020, "Fourier
features let networks learn high frequency functions in low dimensional domains", equation 2, with learnt frequencies).

    x -> x, sin(2π W x), cos(2π W x),   W [count, D] drawn from N(0, scale²) at first

A plain network of few numbers learns what varies slowly long before what varies fast. Modes that are forty times as
narrow as they are apart are fast for a discriminator, and so is the border in z between what goes to one mode and what
goes to the next for a generator.
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

    `scale` is the standard deviation of the frequencies at first, in periods per unit of x and per coordinate.
    """

    count: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        self.check_whole("count")
        self.check(self.scale > 0, "scale", "more than 0")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 1:
            raise self.fail(f"expected a vector (features,), found {in_shape}: put Flatten() before it")
        return WavesModule(in_shape[0], self.count, self.scale), (in_shape[0] + 2 * self.count,)


class WavesModule(nn.Module):
    def __init__(self, dim: int, count: int, scale: float) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(2 * math.pi * scale * torch.randn(count, dim))

    def forward(self, x: Tensor) -> Tensor:
        phase = x @ self.frequencies.T
        return torch.cat([x, phase.sin(), phase.cos()], 1)


class FourierGenerator(NetworkSpec):
    """G(z, y) -> x [B, *data.shape]: waves over z, then `depth` hidden layers of `width` units, LeakyReLU 0.2; nothing
    at the end, so values are unbounded."""

    width: int = 128
    depth: int = 3
    waves: int = 32
    scale: float = 0.5

    def __post_init__(self) -> None:
        _check(self)

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        layers = [Waves(self.waves, self.scale), *_hidden(self.width, self.depth), Dense(math.prod(data.shape))]
        return Generator(layers=layers).build(data, z_dim)


class FourierDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B]: waves over x, then `depth` hidden layers of `width` units, LeakyReLU 0.2.

    For vectors of a few numbers; in many dimensions random waves tell next to nothing.
    """

    width: int = 128
    depth: int = 3
    waves: int = 64
    scale: float = 2.0

    def __post_init__(self) -> None:
        _check(self)

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        layers = [Waves(self.waves, self.scale), *_hidden(self.width, self.depth), Dense(1)]
        return Discriminator(layers=layers).build(data, z_dim)


def _check(spec: FourierGenerator | FourierDiscriminator) -> None:
    if min(spec.width, spec.waves) < 1 or spec.depth < 0 or not spec.scale > 0:
        raise RequestError(
            f"{type(spec).__name__}: expected width and waves of at least 1, depth of at least 0 and scale above 0, "
            f"found {spec.width}, {spec.waves}, {spec.depth}, {spec.scale}"
        )


def _hidden(width: int, depth: int) -> list[Layer]:
    return [Dense(width), Activation("relu", leaky_rate=0.2)] * depth
