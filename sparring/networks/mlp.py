"""Fully connected networks, for vectors and for small images of any shape (read as vectors of their numbers)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers import Dense
from sparring.layers.conditional_batchnorm import ConditionalNorm
from sparring.networks.condition import (
    AuxiliaryHead,
    Concatenation,
    Condition,
    ConditionalBatchNorm,
    Embedding,
    Projection,
    chosen,
)
from sparring.networks.labels import beside, count, numbers, require, table


class MLPGenerator(NetworkSpec):
    """G(z, y) -> x [B, *data.shape]: `depth` hidden layers of `width` units, LeakyReLU 0.2.

    Images end in tanh. Vectors are unbounded: coordinates have tails that a squashing function cannot reach. Where
    nothing is said of the condition it stands beside z. Layer i of a `Concatenation` is the i-th product with a matrix.
    """

    width: int = 256
    depth: int = 3
    condition: Concatenation | Embedding | ConditionalBatchNorm | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        _check(self.depth)
        condition = chosen(self.condition, data, Concatenation())
        if isinstance(condition, Concatenation):
            condition.check_layers("this generator", self.depth)
        if isinstance(condition, ConditionalBatchNorm) and self.depth == 0:
            raise RequestError("ConditionalBatchNorm: expected a hidden layer to normalise, found an MLP of depth 0")
        return Maker(data, z_dim, self.width, self.depth, condition)


class MLPDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B]: `depth` hidden layers of `width` units, LeakyReLU 0.2.

    Where nothing is said of the condition it stands beside x. Layer i of a `Concatenation` is the i-th product with a
    matrix; the last is none of them, as what is linear in y and x apart cannot tell whether they fit.
    """

    width: int = 256
    depth: int = 3
    condition: Concatenation | Projection | AuxiliaryHead | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        _check(self.depth)
        condition = chosen(self.condition, data, Concatenation())
        if isinstance(condition, Concatenation):
            condition.check_layers("this discriminator", max(0, self.depth - 1))
        if isinstance(condition, AuxiliaryHead):
            return ReaderWithClasses(data, self.width, self.depth)
        return Reader(data, self.width, self.depth, condition)


class Maker(nn.Module):
    """The generator's module."""

    def __init__(self, data: DataSpec, z_dim: int, width: int, depth: int, condition: Condition | None) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()
        self.embedding = table(data, condition.dim) if isinstance(condition, Embedding) else None
        into = z_dim + condition.dim if isinstance(condition, Embedding) else z_dim
        self.stack = _stack([into, *[width] * depth, math.prod(data.shape)], self.beside, data)
        self.norms = None
        if isinstance(condition, ConditionalBatchNorm):
            norms = [ConditionalNorm(nn.BatchNorm1d(width, affine=False), count(data)) for _ in range(depth)]
            self.norms = nn.ModuleList(norms)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        c = numbers(y, self.data, z)
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(require(y, self.data, z))], dim=1)
        x = z
        for i, layer in enumerate(list(self.stack)):
            if i % 2:
                x = layer(x if self.norms is None else self.norms[i // 2](x, c))
            else:
                x = layer(beside(x, c) if i // 2 in self.beside else x)
        x = x.view(-1, *self.data.shape)
        return torch.tanh(x) if self.data.is_image else x


class Reader(nn.Module):
    """The discriminator's module."""

    per_sample = True

    def __init__(self, data: DataSpec, width: int, depth: int, condition: Condition | None = None) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()
        widths = [math.prod(data.shape), *[width] * depth]
        self.stack = _stack([*widths, 1], self.beside, data)
        self.num_features = widths[-1]
        self.embedding = None
        if isinstance(condition, Projection):
            self.embedding = table(data, self.num_features)
            nn.init.zeros_(self.embedding.weight)

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """What the last layer reads, φ(x) [B, F]."""
        x = x.flatten(1)
        c = numbers(y, self.data, x) if self.beside else x
        for i, layer in enumerate(list(self.stack)):
            if i % 2 == 0 and i // 2 in self.beside:
                x = beside(x, c)
            if i + 1 < len(self.stack):
                x = layer(x)
        return x

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = self.features(x, y)
        logits: Tensor = self.stack[-1](features).squeeze(1)
        if self.embedding is not None:
            logits = logits + (self.embedding(require(y, self.data, x)) * features).sum(1)
        return logits


class ReaderWithClasses(Reader):
    """`Reader` that does not see classes and tells them."""

    def __init__(self, data: DataSpec, width: int, depth: int) -> None:
        super().__init__(data, width, depth)
        self.classifier, _ = Dense(data.num_classes).build((self.num_features,))

    def forward_with_classes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B] and class logits [B, num_classes]."""
        features = self.features(x)
        return self.stack[-1](features).squeeze(1), self.classifier(features)


def _stack(widths: list[int], beside: tuple[int, ...], data: DataSpec) -> nn.Sequential:
    """Products with matrices from each width to the next, and an activation after each but the last."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        dense, _ = Dense(after).build((before + count(data) * (i in beside),))
        layers += [dense, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


_DEEPEST = 100  # no MLP learns at such a depth, and a list of a billion layers is 8 GB before the first is made


def _check(depth: int) -> None:
    if not 0 <= depth <= _DEEPEST:
        raise RequestError(f"an MLP's depth must be a whole number from 0 to {_DEEPEST}, found {depth!r}")
