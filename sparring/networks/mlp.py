"""Fully connected networks, for vectors and for small images of any shape (read as vectors of their numbers)."""

from __future__ import annotations

import math

from torch import nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers import Activation, Dense, Layer
from sparring.networks.layered import Discriminator, Generator


class MLPGenerator(NetworkSpec):
    """G(z, y) -> x [B, *data.shape]: `depth` hidden layers of `width` units, LeakyReLU 0.2.

    Images end in tanh. Vectors are unbounded: coordinates have tails that a squashing function cannot reach.
    """

    width: int = 256
    depth: int = 3

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        last = Activation("tanh" if data.is_image else "linear")
        layers = [*_hidden(self.width, self.depth), Dense(math.prod(data.shape)), last]
        return Generator(layers=layers).build(data, z_dim)


class MLPDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B]: `depth` hidden layers of `width` units, LeakyReLU 0.2."""

    width: int = 256
    depth: int = 3

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        return Discriminator(layers=[*_hidden(self.width, self.depth), Dense(1)]).build(data, z_dim)


def _hidden(width: int, depth: int) -> list[Layer]:
    if depth < 0:
        raise RequestError(f"an MLP's depth must be a whole number of at least 0, found {depth!r}")
    return [Dense(width), Activation("relu", leaky_rate=0.2)] * depth
