"""The fully connected layer: x W + b.

Weights start as in Keras: uniform with variance 2 / (inputs + outputs) (Glorot and Bengio 2010, equation 16), biases
at zero.
"""

from __future__ import annotations

from torch import nn

from sparring.layers.layer import Layer, Shape


class Dense(Layer, kw_only=False):
    """A vector [B, D] to a vector [B, units]."""

    units: int

    def __post_init__(self) -> None:
        self.check_whole("units")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 1:
            raise self.fail(f"expected a vector (features,), found {in_shape}: put Flatten() before it")
        linear = nn.Linear(in_shape[0], self.units)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        return linear, (self.units,)
