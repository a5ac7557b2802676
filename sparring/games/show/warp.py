"""Images under a linear map of the plane: bilinear interpolation, mirrored at the borders.

Built from `gather`, not from `grid_sample`: coordinates stay in pixels, so that whole-pixel maps (flips, quarter
turns, shifts, doing nothing) give the very numbers that were there; and it can be differentiated in x any number of
times, on every device, which a penalty on the discriminator's gradient asks for.
"""

from __future__ import annotations

import torch
from torch import Tensor


def warp(x: Tensor, maps: Tensor) -> Tensor:
    """x [B, C, H, W] looked up, at each pixel (u, v), where maps [B, 2, 3] send (u, v, 1).

    u counts columns to the right and v rows downwards, in pixels from the middle of the image.
    """
    count, channels, height, width = x.shape
    v, u = (torch.arange(n, device=x.device, dtype=maps.dtype) - (n - 1) / 2 for n in (height, width))
    a = maps[..., None, None]
    across = a[:, 0, 0] * u + a[:, 0, 1] * v[:, None] + a[:, 0, 2]
    down = a[:, 1, 0] * u + a[:, 1, 1] * v[:, None] + a[:, 1, 2]
    column, row = mirrored(across + (width - 1) / 2, width), mirrored(down + (height - 1) / 2, height)
    left, top = column.floor(), row.floor()
    share_right, share_below = (column - left)[:, None], (row - top)[:, None]
    columns = left.long(), (left.long() + 1).clamp(max=width - 1)
    rows = top.long(), (top.long() + 1).clamp(max=height - 1)
    flat = x.flatten(2)

    def pixels(row: Tensor, column: Tensor) -> Tensor:
        index = (row * width + column).view(count, 1, -1).expand(-1, channels, -1)
        return flat.gather(2, index).view(count, channels, height, width)

    def line(row: Tensor) -> Tensor:
        return pixels(row, columns[0]) * (1 - share_right) + pixels(row, columns[1]) * share_right

    return line(rows[0]) * (1 - share_below) + line(rows[1]) * share_below


def mirrored(at: Tensor, size: int) -> Tensor:
    """Coordinates brought back to [0, size - 1] by mirrors on the first and the last pixel, as often as needed."""
    if size == 1:
        return torch.zeros_like(at)
    last = size - 1
    return last - (at.remainder(2 * last) - last).abs()
