"""Self-attention over the pixels of a grid (Zhang et al. 2019, "Self-attention generative adversarial networks",
equations 1 and 2).

Pixel j looks at every pixel i: β_ji is the softmax over i of f(x_i)·g(x_j), and o_j = v(Σ_i β_ji h(x_i)), with f, g, h
and v learned products of a matrix and a pixel's channels. What comes out is x + γ o, γ a learned number that starts at
0, so that what is near is learned first.

Written as products and a softmax, because `torch.nn.functional.scaled_dot_product_attention` has no second derivative
in its fast forms, and penalties on gradients need one. It holds a number for each pair of pixels of a sample: 1 million
on a grid of 32×32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x [B, C, H, W] to the same shape. f and g have an eighth of the channels, as in the paper; h has half of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few, half = max(channels // 8, 1), max(channels // 2, 1)
        self.seen = nn.Conv2d(channels, few, 1, bias=False)
        self.sought = nn.Conv2d(channels, few, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.out = nn.Conv2d(half, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        seen, sought, value = (layer(x).flatten(2) for layer in (self.seen, self.sought, self.value))
        weight = torch.softmax(sought.transpose(1, 2) @ seen, dim=2)
        mixed = (value @ weight.transpose(1, 2)).unflatten(2, x.shape[2:])
        changed: Tensor = x + self.gain * self.out(mixed)
        return changed
