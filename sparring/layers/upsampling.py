"""Upsampling without weights: every pixel repeated, or interpolated between pixel centres."""

from __future__ import annotations

from typing import Literal

from torch import nn

from sparring.layers.layer import Layer, Shape, both


class UpSampling2D(Layer, kw_only=False):
    """Images [B, C, H, W] to [B, C, size H, size W].

    `'bilinear'` takes pixels as squares: the centre of output pixel i lies at (i + 1/2) / size - 1/2 of the input,
    and beyond the outermost centres the border repeats.
    """

    size: int | tuple[int, int] = 2
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    def __post_init__(self) -> None:
        self.check_pair("size")
        self.check(self.interpolation in ("nearest", "bilinear"), "interpolation", "'nearest' or 'bilinear'")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *sizes = self.image(in_shape)
        height, width = (n * s for n, s in zip(sizes, both(self.size), strict=True))
        corners = False if self.interpolation == "bilinear" else None
        return nn.Upsample((height, width), mode=self.interpolation, align_corners=corners), (channels, height, width)
