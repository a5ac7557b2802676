"""Dropout (Srivastava et al. 2014): while training, numbers are set to 0 and the rest scaled to keep the mean."""

from __future__ import annotations

from torch import nn

from sparring.layers.layer import Layer, Shape


class Dropout(Layer, kw_only=False):
    """Each number is dropped with probability `rate`; with `spatial`, whole channels (Tompson et al. 2015)."""

    rate: float
    spatial: bool = False

    def __post_init__(self) -> None:
        ok = isinstance(self.rate, int | float) and 0 <= self.rate < 1
        self.check(ok, "rate", "a probability of at least 0 and below 1")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if self.spatial:
            self.image(in_shape)
            return nn.Dropout2d(self.rate), in_shape
        return nn.Dropout(self.rate), in_shape
