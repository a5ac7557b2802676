"""Layers that change the shape of a sample and none of its numbers."""

from __future__ import annotations

import math
import operator

from torch import nn

from sparring.layers.layer import Layer, Shape


class Flatten(Layer, kw_only=False):
    """[B, ...] to vectors [B, D], the last axis running fastest."""

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Flatten(), (math.prod(in_shape),)


class Reshape(Layer, kw_only=False):
    """[B, ...] to [B, *shape], of as many numbers. Images are (channels, height, width): `Reshape((64, 7, 7))`."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = self.shape
        ok = isinstance(shape, tuple | list) and all(hasattr(n, "__index__") and n >= 1 for n in shape)
        self.check(ok and len(shape) > 0, "shape", "a tuple of whole numbers of at least 1")
        object.__setattr__(self, "shape", tuple(operator.index(n) for n in shape))

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if math.prod(in_shape) != math.prod(self.shape):
            raise self.fail(
                f"expected {math.prod(self.shape)} numbers to make {self.shape}, "
                f"found {in_shape}, which holds {math.prod(in_shape)}"
            )
        return nn.Unflatten(1, self.shape) if len(in_shape) == 1 else nn.Sequential(
            nn.Flatten(), nn.Unflatten(1, self.shape)
        ), self.shape
