"""Pooling: the largest or the mean of every block of pixels."""

from __future__ import annotations

from typing import Literal

from torch import nn

from sparring.layers.layer import Layer, Shape, both


class Pooling2D(Layer, kw_only=False):
    """Images [B, C, H, W] to [B, C, floor(H / size), floor(W / size)]; rows and columns left over are dropped."""

    size: int | tuple[int, int] = 2
    mode: Literal["max", "average"] = "max"

    def __post_init__(self) -> None:
        self.check_pair("size")
        self.check(self.mode in ("max", "average"), "mode", "'max' or 'average'")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *sizes = self.image(in_shape)
        height, width = (n // s for n, s in zip(sizes, both(self.size), strict=True))
        if min(height, width) < 1:
            raise self.fail(f"expected an image of at least {both(self.size)} pixels, found {in_shape}")
        kind = nn.MaxPool2d if self.mode == "max" else nn.AvgPool2d
        return kind(both(self.size)), (channels, height, width)
