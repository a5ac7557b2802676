"""Batch normalisation (Ioffe, Szegedy 2015): gamma (x - mean) / sqrt(var + epsilon) + beta, per feature or channel.

In training mean and (biased) variance are those of the batch; in evaluation running averages of its mean and of its
unbiased variance.
"""

from __future__ import annotations

from torch import nn

from sparring.layers.layer import Layer, Shape


class BatchNormalization(Layer, kw_only=False):
    """Vectors [B, D] or images [B, C, H, W] to the same shape.

    `momentum` is what the running averages keep at each step, as in Keras (torch names the complement so): running =
    momentum running + (1 - momentum) batch. A batch of one vector has no variance and cannot be trained on.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        ok = isinstance(self.momentum, int | float) and 0 <= self.momentum < 1
        self.check(ok, "momentum", "at least 0 and below 1")
        self.check(isinstance(self.epsilon, int | float) and self.epsilon > 0, "epsilon", "above 0")

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        kind = nn.BatchNorm1d if len(in_shape) == 1 else nn.BatchNorm2d
        if len(in_shape) != 1:
            self.image(in_shape)
        return kind(in_shape[0], eps=self.epsilon, momentum=1 - self.momentum), in_shape
