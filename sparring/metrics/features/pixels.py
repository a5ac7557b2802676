"""How networks trained on photographs are shown samples: as 8-bit RGB, brought to their size as TensorFlow 1 did.

Scores in these features are comparable only when all of this is the same (Parmar, Zhang and Zhu 2022,
arXiv:2104.11222). Here it is what torch-fidelity does: pixels are rounded to 0..255, and the bilinear interpolation is
that of TensorFlow 1's `resize_bilinear` without aligned corners: output pixel i looks at i · old / new, not at pixel
centres, and shrinking is not antialiased.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError


def to_rgb(x: Tensor, name: str) -> Tensor:
    """x [B, 1 or 3, H, W] in [-1, 1] to float32 [B, 3, H, W] of whole numbers 0..255; grey is repeated.

    Raises `RequestError` for other shapes; `name` is that of the features.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        raise RequestError(
            f"features {name}: expected grey or RGB images, found samples of shape {'×'.join(map(str, x.shape[1:]))}; "
            "choose other features, such as 'pca'"
        )
    return x.float().mul(127.5).add_(127.5).round_().clamp_(0, 255).expand(-1, 3, -1, -1)


def resize_tensorflow1(x: Tensor, size: int) -> Tensor:
    """x [B, C, H, W] to [B, C, size, size]."""
    (top, bottom, dy), (left, right, dx) = (_neighbours(length, size, x.device) for length in x.shape[2:])
    rows_top, rows_bottom = x[:, :, top], x[:, :, bottom]
    upper = _between(rows_top[..., left], rows_top[..., right], dx)
    lower = _between(rows_bottom[..., left], rows_bottom[..., right], dx)
    return _between(upper, lower, dy[:, None])


def _between(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    return a + (b - a) * weight


def _neighbours(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the new positions, the two old ones beside it and the weight of the second."""
    position = torch.arange(new, dtype=torch.float32, device=device) * torch.tensor(old / new, dtype=torch.float32)
    first = position.long()
    return first, (first + 1).clamp_max(old - 1), position - first
