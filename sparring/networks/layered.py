"""Networks made of layers in a row: `Generator(layers=[Dense(256), ...])` and `Discriminator(layers=[...])`.

Losses work on logits. A discriminator that ends in `Activation('sigmoid')` is therefore built without it: its
probability is D(x) = sigmoid(logit), and no loss ever takes the log of a sigmoid that was rounded to 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers import Activation, Dense, Layer, build_stack
from sparring.layers.conditional_batchnorm import ConditionalBatchNormalization, ConditionalNorm
from sparring.layers.minibatch_discrimination import AppendCloseness
from sparring.layers.minibatch_std import AppendStd
from sparring.networks.labels import count, numbers, wider, with_condition

BATCH_NORMS = nn.BatchNorm1d | nn.BatchNorm2d


class Generator(NetworkSpec):
    """Layers from noise to a sample.

    The first layer reads z [B, z_dim], followed by the condition when the data have one (a class as one-hot, an image
    row by row), unless a `ConditionalBatchNormalization` among the layers reads it. What comes out must have the
    data's shape; a vector of as many numbers is folded into an image. Data lie in [-1, 1]: end in
    `Activation('tanh')`, in nothing (unbounded), or in `Activation('sigmoid')`, whose output p is then moved from
    [0, 1] to 2 p - 1.
    """

    layers: tuple[Layer, ...]

    def __init__(self, layers: Sequence[Layer]) -> None:
        object.__setattr__(self, "layers", _checked(layers, "Generator"))

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        """G(z, y) -> x [B, *data.shape]; `RequestError` when the layers do not fit each other or the data."""
        layers = [_filled_in(layer, data) for layer in self.layers]
        within = any(isinstance(layer, ConditionalBatchNormalization) for layer in layers)
        stack, out = _build(layers, (z_dim,) if within else wider((z_dim,), data), "generator")
        if out != data.shape and out != (math.prod(data.shape),):
            raise RequestError(
                f"generator: expected its last layer to give {data.shape}, one sample of {data.name}, found {out}: "
                f"end with Dense({math.prod(data.shape)}) or a layer of that shape, and an activation"
            )
        return LayeredGenerator(stack, data, within, rescale=self.layers[-1] == Activation("sigmoid"))


class Discriminator(NetworkSpec):
    """Layers from a sample to one logit.

    The first layer reads x [B, *data.shape]; if it is a `Dense` it reads the numbers of an image as one vector. When
    the data have conditions, these follow: as more numbers of a vector, or as channels of an image, constant unless
    the condition is an image itself.
    """

    layers: tuple[Layer, ...]

    def __init__(self, layers: Sequence[Layer]) -> None:
        object.__setattr__(self, "layers", _checked(layers, "Discriminator"))

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        """D(x, y) -> logits [B]; `RequestError` when the layers do not fit each other or the data."""
        layers = self.layers[:-1] if self.layers[-1] == Activation("sigmoid") else self.layers
        if any(isinstance(layer, ConditionalBatchNormalization) for layer in layers):
            raise RequestError("discriminator: ConditionalBatchNormalization is for generators; leave it out")
        flat = isinstance(layers[0], Dense) if layers else False
        shape = (math.prod(data.shape),) if flat else data.shape
        stack, out = _build(layers, wider(shape, data), "discriminator")
        if math.prod(out) != 1:
            raise RequestError(
                f"discriminator: expected its last layer to give one number per sample, found {out}: end with Dense(1)"
            )
        return LayeredDiscriminator(stack, data, flat)


class LayeredGenerator(nn.Module):
    def __init__(self, stack: nn.Sequential, data: DataSpec, within: bool, rescale: bool) -> None:
        super().__init__()
        self.stack = stack
        self.data, self.within, self.rescale = data, within, rescale

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if self.within:
            x, c = z, numbers(y, self.data, z)
            for layer in self.stack:
                x = layer(x, c) if isinstance(layer, ConditionalNorm) else layer(x)
        else:
            x = self.stack(with_condition(z, y, self.data))
        if x.shape[1:] != self.data.shape:
            x = x.view(-1, *self.data.shape)
        return 2 * x - 1 if self.rescale else x


class LayeredDiscriminator(nn.Module):
    def __init__(self, stack: nn.Sequential, data: DataSpec, flat: bool) -> None:
        super().__init__()
        self.stack = stack
        self.data, self.flat = data, flat
        self.per_sample = not any(isinstance(m, AppendStd | AppendCloseness | BATCH_NORMS) for m in stack.modules())

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logits: Tensor = self.stack(with_condition(x.flatten(1) if self.flat else x, y, self.data))
        return logits.flatten()


def _checked(layers: Sequence[object], player: str) -> tuple[Layer, ...]:
    if not isinstance(layers, Sequence) or len(layers) == 0:
        raise RequestError(f"{player}: expected a list of layers, found {layers!r}")
    checked = []
    for position, layer in enumerate(layers, 1):
        if not isinstance(layer, Layer):
            made = f": write {layer.__name__}(...)" if isinstance(layer, type) else " of sparring.layers"
            raise RequestError(f"{player}, layer {position}: expected a layer, found {layer!r}{made}")
        checked.append(layer)
    return tuple(checked)


def _filled_in(layer: Layer, data: DataSpec) -> Layer:
    """The layer, told how many numbers a condition has where it reads them."""
    if not isinstance(layer, ConditionalBatchNormalization):
        return layer
    found = 0 if len(data.y_shape) == 3 else count(data)
    if layer.conditions not in (0, found):
        raise layer.fail(f"conditions: {data.name} has {found}, found {layer.conditions}: leave it out")
    return layer.replace(conditions=found)


def _build(layers: Sequence[Layer], shape: tuple[int, ...], player: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    try:
        return build_stack(layers, shape)
    except RequestError as error:
        raise RequestError(f"{player}, {error}") from None
