"""What the last layer's numbers become: values of series in [-1, 1], or tokens of texts, soft or hard.

A hard token is drawn from softmax(logits) by the Gumbel trick (Jang, Gu and Poole 2017, "Categorical reparameterization
with Gumbel-softmax", equations 1 and 2): the token of the greatest logit + g, g = -ln(-ln u). Its gradient is that of
softmax((logits + g) / temperature), the straight-through estimator of section 2.2. Soft tokens are softmax(logits), as
WGAN-GP's texts are (Gulrajani et al. 2017, section 5).

The numbers u are no fresh noise but read from z by `Uniforms`, in training as in evaluation, so that samples are a
function of (z, y) alone. Generators that draw tokens have a method `truncated(z, y, psi)`, in which they are drawn from
softmax(logits / psi): likelier for psi below 1, and less varied.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Text
from sparring.core.protocols import DataSpec
from sparring.core.spec import Spec


class End(Spec):
    """From what a network's last layer gives to samples, both [..., C]."""

    draws: ClassVar[bool] = False
    """Whether it reads uniform numbers, as many as there are logits."""
    makes_tokens: ClassVar[bool] = False

    def __call__(self, logits: Tensor, uniform: Tensor | None = None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define __call__()")


class Tanh(End):
    """tanh, for values in [-1, 1]."""

    def __call__(self, logits: Tensor, uniform: Tensor | None = None) -> Tensor:
        return torch.tanh(logits)


class Softmax(End):
    """The probabilities of all tokens, for critics of soft texts. What is read of a sample is the likeliest token, so
    nothing is drawn; a discriminator tells soft from hard at a glance, unless it is held as smooth as WGAN-GP's."""

    makes_tokens: ClassVar[bool] = True

    def __call__(self, logits: Tensor, uniform: Tensor | None = None) -> Tensor:
        return torch.softmax(logits, -1)


class GumbelSoftmax(End):
    """A token drawn by its probability, one-hot, with the gradient of a soft one; for any discriminator of texts.

    The lower the `temperature`, the nearer is that gradient's token to the one that was drawn, and the noisier it is.
    """

    draws: ClassVar[bool] = True
    makes_tokens: ClassVar[bool] = True
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise RequestError(f"GumbelSoftmax.temperature: expected more than 0, found {self.temperature}")

    def __call__(self, logits: Tensor, uniform: Tensor | None = None) -> Tensor:
        assert uniform is not None
        perturbed = logits - torch.log(-torch.log(uniform))
        soft = torch.softmax(perturbed / self.temperature, -1)
        hard = torch.zeros_like(soft).scatter(-1, perturbed.argmax(-1, keepdim=True), 1)
        # The bracket is 0, exactly, and has the gradient of the soft token.
        return hard + (soft - soft.detach())


def end_of(asked: End | None, data: DataSpec) -> End:
    """The end that was asked for; where none was, hard tokens for texts and tanh for all else.

    Raises `RequestError` for tokens as the end of series and values as the end of texts."""
    if asked is None:
        return GumbelSoftmax() if isinstance(data.form, Text) else Tanh()
    if isinstance(data.form, Series | Text) and asked.makes_tokens != isinstance(data.form, Text):
        kind, fit = ("texts", "GumbelSoftmax()") if isinstance(data.form, Text) else ("series", "Tanh()")
        raise RequestError(f"{type(asked).__name__}: {data.name} holds {kind}: take {fit}, or leave `end` out")
    return asked


class Uniforms(nn.Module):
    """`count` uniform numbers u [B, count] in (0, 1) as a function of z [B, z_dim], which has no gradient.

    u is the fractional part of 256 · z·w, with w of length 1, one for each number. Of normal z, z·w is standard normal,
    and the fractional part of a normal number of deviation s differs from a uniform one by terms of exp(-2π²s²); two of
    them of correlation ρ hang together by exp(-4π²s²(1 - |ρ|)). So they are random for all that a network can see, yet
    the same z gives the same numbers. The last eight coordinates of z are read: `Coins` stand before them.
    """

    SCALE: ClassVar[float] = 256.0
    COORDINATES: ClassVar[int] = 8
    directions: Tensor

    def __init__(self, z_dim: int, count: int) -> None:
        super().__init__()
        directions = torch.randn(min(z_dim, self.COORDINATES), count)
        self.register_buffer("directions", directions / directions.norm(dim=0))

    def forward(self, z: Tensor) -> Tensor:
        # Sums of products one by one: a matrix product may round to 8 bits, and the numbers would be others elsewhere.
        z = self.SCALE * z.detach().to(self.directions.dtype)[:, -len(self.directions) :, None]
        turns = z[:, 0] * self.directions[0]
        for i in range(1, len(self.directions)):
            turns = turns + z[:, i] * self.directions[i]
        return (turns - turns.floor()) * (1 - 2e-5) + 1e-5
