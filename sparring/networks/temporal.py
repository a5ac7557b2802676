"""Convolutions along time for series [T, C] and texts [T, V] of 4 steps or more.

Halving and doubling as DCGAN's do (Radford et al. 2016; along time: WaveGAN, Donahue et al. 2019), with residual blocks
at every level: x + s · conv(relu(conv(relu(x)))), kernels of 5 and s = 0.3, those of the character model in WGAN-GP
(Gulrajani et al. 2017, section 5). Level i has ceil(T / 2^i) steps in the generator and floor(T / 2^i) in the
discriminator; the number of halvings is the largest that leaves at least 4. Where doubling gives one step too many,
the last is cut off.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers.conditional_batchnorm import ConditionalNorm
from sparring.networks.condition import (
    AuxiliaryHead,
    Concatenation,
    Condition,
    ConditionalBatchNorm,
    Embedding,
    Projection,
    chosen,
)
from sparring.networks.ends import End, Uniforms, end_of
from sparring.networks.judging import Judging, TellingClasses
from sparring.networks.labels import count, numbers, require, table

_SHORTEST = 4
_KERNEL, _SHARE = 5, 0.3


class TemporalGenerator(NetworkSpec):
    """G(z, y) -> x [B, T, C] in [-1, 1], or tokens [B, T, V].

    `width` channels at full length, twice as many at each coarser level, at most `max_width`; `blocks` residual blocks
    at each. A condition stands beside z where nothing else is said.

    >>> from sparring.core.protocols import DataSpec
    >>> sines = DataSpec(name="sines", shape=(24, 5))
    >>> TemporalGenerator(width=8).build(sines, z_dim=16)(torch.randn(2, 16)).shape
    torch.Size([2, 24, 5])
    """

    width: int = 64
    max_width: int = 256
    blocks: int = 1
    end: End | None = None
    condition: Concatenation | Embedding | ConditionalBatchNorm | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        widths = _widths(data, self.width, self.max_width, self.blocks)
        condition = chosen(self.condition, data, Concatenation())
        if isinstance(condition, Concatenation):
            condition.check_layers("this generator", 0)
        end = end_of(self.end, data)
        return (TokenComposer if end.draws else Composer)(data, z_dim, widths, self.blocks, end, condition)


class TemporalDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B], each from its own sample alone.

    `width` channels at full length, twice as many at each coarser level, at most `max_width`; `blocks` residual blocks
    at each. Where nothing is said of the condition, a class or a vector is judged by `Projection`, and an image stands,
    as numbers, beside x at every step.

    >>> from sparring.core.protocols import DataSpec
    >>> sines = DataSpec(name="sines", shape=(24, 5))
    >>> TemporalDiscriminator(width=8).build(sines, z_dim=16)(torch.zeros(2, 24, 5)).shape
    torch.Size([2])
    """

    width: int = 64
    max_width: int = 256
    blocks: int = 1
    condition: Concatenation | Projection | AuxiliaryHead | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        widths = _widths(data, self.width, self.max_width, self.blocks)
        condition = chosen(self.condition, data, Concatenation() if len(data.y_shape) == 3 else Projection())
        if isinstance(condition, Concatenation):
            condition.check_layers("this discriminator", 0)
        if isinstance(condition, AuxiliaryHead):
            return AuditorWithClasses(data, widths, self.blocks)
        return Auditor(data, widths, self.blocks, condition)


class Block(nn.Module):
    """x + 0.3 · conv(relu(conv(relu(x)))), each behind a normalisation where there is one; [B, W, T] to the same."""

    def __init__(self, width: int, norms: tuple[nn.Module, nn.Module] | None) -> None:
        super().__init__()
        self.norms = None if norms is None else nn.ModuleList(norms)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2, bias=norms is None or i == 1) for i in range(2)
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        inner = x
        for i, conv in enumerate(self.convs):
            inner = inner if self.norms is None else _normalised(self.norms[i], inner, c)
            inner = conv(F.relu(inner) if self.norms is not None else F.leaky_relu(inner, 0.2))
        return x + _SHARE * inner


class Composer(nn.Module):
    """The generator's module. `widths[i]` channels at level i, which is 2^i times coarser than the sample."""

    def __init__(
        self, data: DataSpec, z_dim: int, widths: list[int], blocks: int, end: End, condition: Condition | None
    ) -> None:
        super().__init__()
        self.data, self.end = data, end
        length, channels = data.shape
        self.lengths = [-(-length // 2**i) for i in range(len(widths))]
        self.embedding = table(data, condition.dim) if isinstance(condition, Embedding) else None
        conditional = isinstance(condition, ConditionalBatchNorm)
        more = condition.dim if isinstance(condition, Embedding) else count(data) * (not conditional)
        self.beside = isinstance(condition, Concatenation)

        def norm(width: int) -> nn.Module:
            if conditional:
                return ConditionalNorm(nn.BatchNorm1d(width, affine=False), count(data))
            return nn.BatchNorm1d(width)

        self.dense = nn.Linear(z_dim + more, widths[-1] * self.lengths[-1])
        self.blocks = nn.ModuleList(
            nn.ModuleList(Block(width, (norm(width), norm(width))) for _ in range(blocks)) for width in widths[::-1]
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(widths[i + 1], widths[i], 4, 2, 1) for i in reversed(range(len(widths) - 1))
        )
        self.norm = norm(widths[0])
        self.to_sample = nn.Conv1d(widths[0], channels, _KERNEL, padding=_KERNEL // 2)
        self.drawn = Uniforms(z_dim, length * channels) if end.draws else None

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self._made(z, y, 1.0)

    def _made(self, z: Tensor, y: Tensor | None, psi: float) -> Tensor:
        c = numbers(y, self.data, z).flatten(1)
        told = [z]
        if self.embedding is not None:
            told.append(self.embedding(require(y, self.data, z)))
        elif self.beside:
            told.append(c.to(z.dtype))
        x = self.dense(torch.cat(told, 1)).unflatten(1, (-1, self.lengths[-1]))
        for level, blocks in enumerate(self.blocks):
            if level:
                x = self.ups[level - 1](x)[:, :, : self.lengths[-1 - level]]
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, c)
        x = self.to_sample(F.relu(_normalised(self.norm, x, c))).transpose(1, 2)
        return self.end(x / psi, None if self.drawn is None else self.drawn(z).view(x.shape))


class TokenComposer(Composer):
    """`Composer` of tokens that are drawn."""

    def truncated(self, z: Tensor, y: Tensor | None, psi: float) -> Tensor:
        """Texts whose tokens are drawn from probabilities to the power 1 / psi."""
        return self._made(z, y, psi)


class Auditor(Judging):
    """The discriminator's module. `widths[i]` channels at level i, which is 2^i times coarser than the sample."""

    per_sample = True

    def __init__(self, data: DataSpec, widths: list[int], blocks: int, condition: Condition | None = None) -> None:
        super().__init__()
        self.data = data
        self.beside = isinstance(condition, Concatenation)
        length, channels = data.shape
        inputs = channels + count(data) * self.beside
        self.from_sample = nn.Conv1d(inputs, widths[0], _KERNEL, padding=_KERNEL // 2)
        self.blocks = nn.ModuleList(nn.ModuleList(Block(width, None) for _ in range(blocks)) for width in widths)
        self.downs = nn.ModuleList(nn.Conv1d(widths[i], widths[i + 1], 4, 2, 1) for i in range(len(widths) - 1))
        self.end_in(data, widths[-1] * (length >> (len(widths) - 1)), condition)

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """φ(x) [B, F]: the last level, flattened."""
        if self.beside:
            told = numbers(y, self.data, x).flatten(1)
            x = torch.cat([x, told[:, None].expand(-1, x.shape[1], -1)], 2)
        x = self.from_sample(x.transpose(1, 2))
        for level, blocks in enumerate(self.blocks):
            if level:
                x = self.downs[level - 1](F.leaky_relu(x, 0.2))
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, x)
        return F.leaky_relu(x, 0.2).flatten(1)


class AuditorWithClasses(TellingClasses, Auditor):
    """`Auditor` that does not see classes and tells them."""


def _normalised(norm: nn.Module, x: Tensor, c: Tensor) -> Tensor:
    out: Tensor = norm(x, c) if isinstance(norm, ConditionalNorm) else norm(x)
    return out


def _widths(data: DataSpec, width: int, max_width: int, blocks: int) -> list[int]:
    """Channels of each level; refuses what is no sequence of at least 4 steps."""
    if len(data.shape) != 2 or data.shape[0] < _SHORTEST:
        raise RequestError(
            f"temporal: expected series [T, C] or texts [T, V] of T = {_SHORTEST} or more, found {data.name} of shape "
            f"{list(data.shape)}: make T {_SHORTEST}, or take the recurrent networks"
        )
    if not (width >= 1 and max_width >= 1 and 0 <= blocks <= 8):
        raise RequestError(
            f"temporal: expected width >= 1, max_width >= 1 and blocks from 0 to 8, found {width}, {max_width} and "
            f"{blocks}"
        )
    levels = 0
    while data.shape[0] >= _SHORTEST * 2 ** (levels + 1):
        levels += 1
    return [min(width * 2**i, max_width) for i in range(levels + 1)]
