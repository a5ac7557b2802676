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
from sparring.layers.minibatch_std import AppendStd
from sparring.networks.labels import with_labels

BATCH_NORMS = nn.BatchNorm1d | nn.BatchNorm2d


class Generator(NetworkSpec):
    """Layers from noise to a sample.

    The first layer reads z [B, z_dim], followed by the one-hot label when the data have classes. What comes out must
    have the data's shape; a vector of as many numbers is folded into an image. Data lie in [-1, 1]: end in
    `Activation('tanh')`, in nothing (unbounded), or in `Activation('sigmoid')`, whose output p is then moved from
    [0, 1] to 2 p - 1.
    """

    layers: tuple[Layer, ...]

    def __init__(self, layers: Sequence[Layer]) -> None:
        object.__setattr__(self, "layers", _checked(layers, "Generator"))

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        """G(z, y) -> x [B, *data.shape]; `RequestError` when the layers do not fit each other or the data."""
        stack, out = _build(self.layers, (z_dim + data.num_classes,), "generator")
        if out != data.shape and out != (math.prod(data.shape),):
            raise RequestError(
                f"generator: expected its last layer to give {data.shape}, one sample of {data.name}, found {out}: "
                f"end with Dense({math.prod(data.shape)}) or a layer of that shape, and an activation"
            )
        return LayeredGenerator(stack, data, rescale=self.layers[-1] == Activation("sigmoid"))


class Discriminator(NetworkSpec):
    """Layers from a sample to one logit.

    The first layer reads x [B, *data.shape]; if it is a `Dense` it reads the numbers of an image as one vector. When
    the data have classes, the one-hot label follows: as more numbers of a vector, or as constant channels of an image.
    """

    layers: tuple[Layer, ...]

    def __init__(self, layers: Sequence[Layer]) -> None:
        object.__setattr__(self, "layers", _checked(layers, "Discriminator"))

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        """D(x, y) -> logits [B]; `RequestError` when the layers do not fit each other or the data."""
        layers = self.layers[:-1] if self.layers[-1] == Activation("sigmoid") else self.layers
        flat = isinstance(layers[0], Dense) if layers else False
        shape = (math.prod(data.shape),) if flat else data.shape
        stack, out = _build(layers, (shape[0] + data.num_classes, *shape[1:]), "discriminator")
        if math.prod(out) != 1:
            raise RequestError(
                f"discriminator: expected its last layer to give one number per sample, found {out}: end with Dense(1)"
            )
        return LayeredDiscriminator(stack, data, flat)


class LayeredGenerator(nn.Module):
    def __init__(self, stack: nn.Sequential, data: DataSpec, rescale: bool) -> None:
        super().__init__()
        self.stack = stack
        self.shape, self.num_classes, self.rescale = data.shape, data.num_classes, rescale

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x: Tensor = self.stack(with_labels(z, y, self.num_classes))
        if x.shape[1:] != self.shape:
            x = x.view(-1, *self.shape)
        return 2 * x - 1 if self.rescale else x


class LayeredDiscriminator(nn.Module):
    def __init__(self, stack: nn.Sequential, data: DataSpec, flat: bool) -> None:
        super().__init__()
        self.stack = stack
        self.num_classes, self.flat = data.num_classes, flat
        self.per_sample = not any(isinstance(m, AppendStd | BATCH_NORMS) for m in stack.modules())

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logits: Tensor = self.stack(with_labels(x.flatten(1) if self.flat else x, y, self.num_classes))
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


def _build(layers: Sequence[Layer], shape: tuple[int, ...], player: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    try:
        return build_stack(layers, shape)
    except RequestError as error:
        raise RequestError(f"{player}, {error}") from None
