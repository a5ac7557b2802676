"""What a network reads of a sample's label or other condition, as numbers beside its own.

A class is read as one-hot (Mirza and Osindero 2014, "Conditional generative adversarial nets"); attributes, vectors
and images as they are.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec


def count(data: DataSpec) -> int:
    """How many numbers a network reads of one condition: one for every class, or all of a vector or an image; 0
    where data have none."""
    return data.num_classes or (math.prod(data.y_shape) if data.y_shape else 0)


def require(y: Tensor | None, data: DataSpec, like: Tensor) -> Tensor:
    """y int64 [B], or [B, *data.y_shape] in the type of `like`; `RequestError` where it is missing or no such y."""
    if data.num_classes:
        if y is None:
            raise RequestError(
                f"this network was built for {data.num_classes} classes: expected labels y [B], found None"
            )
        if y.dim() != 1 or y.is_floating_point():
            kind = str(y.dtype).removeprefix("torch.")
            raise RequestError(
                f"this network was built for {data.num_classes} classes: expected integer labels y [B], found {kind} "
                f"of shape {list(y.shape)}"
            )
        return y.long()
    if y is None or y.shape[1:] != data.y_shape:
        shape = ", ".join(map(str, data.y_shape))
        found = "None" if y is None else f"shape {list(y.shape)}"
        raise RequestError(
            f"this network was built for conditions of shape {list(data.y_shape)}: expected y [B, {shape}], "
            f"found {found}"
        )
    return y.to(like.dtype)


def numbers(y: Tensor | None, data: DataSpec, like: Tensor) -> Tensor:
    """y as numbers in the type of `like`: one-hot [B, num_classes], vectors [B, D] or images [B, C, H, W]; [B, 0] where
    data have no conditions."""
    if not data.is_conditional:
        return like.new_empty(len(like), 0)
    y = require(y, data, like)
    return F.one_hot(y, data.num_classes).to(like.dtype) if data.num_classes else y


def beside(x: Tensor, c: Tensor) -> Tensor:
    """x with the numbers c of its condition behind its own.

    Vectors x [B, D] get c as D' more numbers, an image row by row. Images x [B, C, H, W] get D' more channels, each
    constant; an image c gives its own channels, averaged over (or repeated to fill) the pixels of a grid of H × W.
    """
    if x.dim() == 2:
        wide = c.flatten(1)
    elif c.dim() == 2:
        wide = c.view(*c.shape, 1, 1).expand(-1, -1, *x.shape[2:])
    else:
        wide = c if c.shape[2:] == x.shape[2:] else F.adaptive_avg_pool2d(c, (x.shape[2], x.shape[3]))
    return torch.cat([x, wide.to(x.dtype)], dim=1)


def with_condition(x: Tensor, y: Tensor | None, data: DataSpec) -> Tensor:
    """x with what a network reads of its condition `beside` it; x as it is where data have none."""
    return beside(x, numbers(y, data, x)) if data.is_conditional else x


def wider(shape: tuple[int, ...], data: DataSpec) -> tuple[int, ...]:
    """The shape, without the batch, of what `with_condition` makes of x [B, *shape]."""
    more = data.y_shape[0] if len(shape) == 3 and data.y_shape else count(data)
    return (shape[0] + more, *shape[1:])


class VectorEmbedding(nn.Linear):
    """e(y) = W y [B, dim] of vectors y [B, D], as `nn.Embedding` is of classes."""

    def __init__(self, numbers: int, dim: int) -> None:
        super().__init__(numbers, dim, bias=False)


def table(data: DataSpec, dim: int) -> nn.Embedding | VectorEmbedding:
    """e: a learned vector [B, dim] for what `require` gives: one for each class, or linear in a vector."""
    return nn.Embedding(data.num_classes, dim) if data.num_classes else VectorEmbedding(count(data), dim)
