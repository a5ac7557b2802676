"""Conditional batch normalisation: gamma(c) (x - mean) / sqrt(var + epsilon) + beta(c), per feature or channel.

Dumoulin, Shlens and Kudlur 2017, "A learned representation for artistic style", equation 5, with a row of gamma and
beta for every class; de Vries et al. 2017, "Modulating early visual processing by language", with gamma and beta a
fixed part plus one that is computed from the condition. Here both are linear in the numbers c of the condition, a
class being one-hot.
"""

from __future__ import annotations

from torch import Tensor, nn

from sparring.layers.layer import Layer, Shape


class ConditionalBatchNormalization(Layer, kw_only=False):
    """Vectors [B, D] or images [B, C, H, W] to the same shape, scaled and shifted by the sample's condition.

    For generators of data that have classes, attributes or vectors as conditions. At the start gamma is 1 and beta 0,
    whatever the condition. `momentum` and `epsilon` are those of `BatchNormalization`. `conditions` is how many
    numbers a condition has; a network fills it in for 0.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    conditions: int = 0

    def __post_init__(self) -> None:
        ok = isinstance(self.momentum, int | float) and 0 <= self.momentum < 1
        self.check(ok, "momentum", "at least 0 and below 1")
        self.check(isinstance(self.epsilon, int | float) and self.epsilon > 0, "epsilon", "above 0")
        self.check_whole("conditions", least=0)

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if not self.conditions:
            raise self.fail("needs a class or a vector as condition, which the data do not have: BatchNormalization()")
        if len(in_shape) != 1:
            self.image(in_shape)
        kind = nn.BatchNorm1d if len(in_shape) == 1 else nn.BatchNorm2d
        norm = kind(in_shape[0], eps=self.epsilon, momentum=1 - self.momentum, affine=False)
        return ConditionalNorm(norm, self.conditions), in_shape


class ConditionalNorm(nn.Module):
    """The module of `ConditionalBatchNormalization`: called with x and the numbers c [B, conditions]."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, conditions: int) -> None:
        super().__init__()
        self.norm = norm
        self.affine = nn.Linear(conditions, 2 * norm.num_features)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scale, shift = self.affine(c).view(len(c), -1, *[1] * (x.dim() - 2)).chunk(2, 1)
        # The scale is kept as its distance from 1, so that decay of weights draws it there.
        out: Tensor = self.norm(x) * (1 + scale) + shift
        return out
