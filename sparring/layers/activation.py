"""Element-wise non-linearities, and softmax over features or channels."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sparring.core.errors import nearest
from sparring.layers.layer import Layer, Shape

_MODULES: dict[str, Callable[[float], nn.Module]] = {
    "relu": lambda rate: nn.LeakyReLU(rate) if rate else nn.ReLU(),
    "sigmoid": lambda _: nn.Sigmoid(),
    "tanh": lambda _: nn.Tanh(),
    "softmax": lambda _: nn.Softmax(dim=1),
    "linear": lambda _: nn.Identity(),
}


class Activation(Layer, kw_only=False):
    """`Activation('relu')`, `'sigmoid'`, `'tanh'`, `'softmax'` (over features or channels) or `'linear'`.

    `leaky_rate` is the slope of relu below zero (Maas et al. 2013): max(x, 0) + leaky_rate min(x, 0).
    """

    name: str
    leaky_rate: float = 0.0

    def __post_init__(self) -> None:
        known = isinstance(self.name, str) and self.name in _MODULES
        self.check(known, "name", f"an activation that exists ({nearest(str(self.name), _MODULES)})")
        rate = self.leaky_rate
        self.check(isinstance(rate, int | float) and 0 <= rate < 1, "leaky_rate", "a slope of at least 0 and below 1")
        self.check(self.name == "relu" or rate == 0, "leaky_rate", f"left out for {self.name!r}: it belongs to 'relu'")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return _MODULES[self.name](self.leaky_rate), in_shape
