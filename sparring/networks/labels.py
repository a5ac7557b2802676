"""Labels as numbers that a network can read."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.core.errors import RequestError


def require_labels(y: Tensor | None, num_classes: int) -> Tensor:
    """The labels [B] of a conditional network; `RequestError` when they are missing."""
    if y is None:
        raise RequestError(f"this network was built for {num_classes} classes: expected labels y [B], found None")
    return y


def with_labels(x: Tensor, y: Tensor | None, num_classes: int) -> Tensor:
    """x with its one-hot label appended (Mirza and Osindero 2014): vectors [B, D] become [B, D + num_classes].

    Images [B, C, H, W] get num_classes more channels, each constant. Unconditional (num_classes 0): x as it is.
    """
    if num_classes == 0:
        return x
    one_hot = F.one_hot(require_labels(y, num_classes), num_classes).to(x.dtype)
    wide = one_hot.view(*one_hot.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
    return torch.cat([x, wide], dim=1)
