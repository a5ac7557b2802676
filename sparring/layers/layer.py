"""What a layer is: a description that becomes a torch module once the shape of its input is known.

Shapes leave out the batch: (features,) for vectors, (channels, height, width) for images.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from torch import nn

from sparring.core.errors import RequestError
from sparring.core.spec import Spec

Shape = tuple[int, ...]


class Layer(Spec):
    """One layer of a `Generator(layers=[...])` or `Discriminator(layers=[...])`.

    A subclass is written `class Dense(Layer, kw_only=False)`, so that `Dense(256)` works. Its arguments are checked
    when it is made, its input's shape when it is built; both raise `RequestError` naming the layer.
    """

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        """The torch module for inputs [B, *in_shape], and the shape of its output without the batch."""
        raise NotImplementedError(f"{type(self).__name__} must define build()")

    def fail(self, message: str) -> RequestError:
        return RequestError(f"{type(self).__name__}: {message}")

    def check(self, ok: bool, field: str, expected: str) -> None:
        """Refuse the value of a field unless `ok`."""
        if not ok:
            raise self.fail(f"{field} must be {expected}, found {getattr(self, field)!r}")

    def check_whole(self, field: str, least: int = 1) -> None:
        """Refuse all but whole numbers of at least `least`; numpy's become Python's, which JSON can hold."""
        value = getattr(self, field)
        whole = hasattr(value, "__index__") and not isinstance(value, bool)
        self.check(whole and value >= least, field, f"a whole number of at least {least}")
        object.__setattr__(self, field, operator.index(value))

    def check_pair(self, field: str) -> None:
        """Refuse all but one whole number of at least 1, or two of them (height, width)."""
        value = getattr(self, field)
        if not isinstance(value, tuple | list):
            return self.check_whole(field)
        whole = all(hasattr(v, "__index__") and not isinstance(v, bool) and v >= 1 for v in value)
        self.check(whole and len(value) == 2, field, "a whole number of at least 1, or (height, width)")
        return object.__setattr__(self, field, tuple(operator.index(v) for v in value))

    def image(self, in_shape: Shape) -> tuple[int, int, int]:
        """The input's (channels, height, width); refuses anything but an image."""
        if len(in_shape) != 3:
            raise self.fail(
                f"expected an image (channels, height, width), found {in_shape}: put Reshape((C, H, W)) before it"
            )
        return in_shape[0], in_shape[1], in_shape[2]


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of an argument that may be one number for both."""
    return (value, value) if isinstance(value, int) else value


def build_stack(layers: Sequence[Layer], in_shape: Shape) -> tuple[nn.Sequential, Shape]:
    """The layers in a row for inputs [B, *in_shape], and the shape of what comes out, without the batch.

    Raises `RequestError` with the position of the layer that does not fit ("layer 3, Conv2D: ...", counted from 1).
    """
    modules, shape = [], in_shape
    for position, layer in enumerate(layers, 1):
        try:
            module, shape = layer.build(shape)
        except RequestError as error:
            raise RequestError(f"layer {position}, {error}") from None
        modules.append(module)
    return nn.Sequential(*modules), shape
