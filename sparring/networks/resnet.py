"""Residual players (Gulrajani et al. 2017, "Improved training of Wasserstein GANs", appendix C; Miyato et al. 2018,
"Spectral normalization for generative adversarial networks", appendix B.4) for images of any size from 8×8 up.

Every block adds two 3×3 convolutions to what it reads: x_{l+1} = skip(x_l) + conv(relu(conv(relu(x_l)))), the generator
with batch normalisation before each ReLU. The generator's blocks repeat pixels before the first convolution, the
discriminator's average 2×2 pixels after the second; the skip does the same, with a 1×1 convolution on the coarser side,
where it costs a quarter and gives the same.

Sizes are planned as in DCGAN: n doublings, the most for which min(H, W) / 2^n is at least 4; level i of the generator
has ceil(H / 2^i) rows, of the discriminator floor(H / 2^i). As there, the head reads all pixels of the last grid, where
the papers sum over them. Weights start uniform with variance 4/(fan-in + fan-out) (Glorot and Bengio 2010, times 2 for
the ReLU), and half as much on skips.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers.conditional_batchnorm import ConditionalNorm
from sparring.networks.attention import SelfAttention
from sparring.networks.condition import (
    AuxiliaryHead,
    Concatenation,
    Condition,
    ConditionalBatchNorm,
    Embedding,
    Projection,
    chosen,
)
from sparring.networks.judging import Judging, TellingClasses
from sparring.networks.labels import beside, count, numbers, require, table, wider
from sparring.networks.smallest import check_images


class ResidualGenerator(NetworkSpec):
    """G(z, y) -> x [B, C, H, W] in [-1, 1].

    `width` channels at full resolution, twice as many at each coarser level, at most `max_width`; `blocks` at each
    level, the first of which doubles. `attention` is the level i, from 0 to n - 1, that ends with `SelfAttention`: its
    grid is 2^i times coarser than the image.

    Where nothing is said of the condition, a class or a vector stands beside z and an image beside the channels of
    every grid; the papers' way is `ConditionalBatchNorm`. Layer 0 of a `Concatenation` reads z, layer i is the i-th
    block, and one more makes the image.

    `hierarchical` cuts z in equal parts (Brock et al. 2019, "Large scale GAN training for high fidelity natural image
    synthesis", section 3): the first makes the coarsest grid, and of each other one block's normalisations are
    computed. What stands beside z then stands beside each part, so that `condition=Embedding(dim=128)` is that paper's
    shared embedding of classes.

    >>> from sparring.core.protocols import DataSpec
    >>> mnist = DataSpec(name="mnist", shape=(1, 28, 28))
    >>> sum(p.numel() for p in ResidualGenerator().build(mnist, z_dim=64).parameters())
    241473
    """

    width: int = 16
    max_width: int = 256
    blocks: int = 1
    attention: int | None = None
    hierarchical: bool = False
    condition: Concatenation | Embedding | ConditionalBatchNorm | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        levels = _check(data, self.width, self.max_width, self.blocks)
        _check_attention(self.attention, range(levels), "generator")
        total = levels * self.blocks
        own = Concatenation(layers=tuple(range(1, total + 2)) if len(data.y_shape) == 3 else (0,))
        condition = chosen(self.condition, data, own)
        if isinstance(condition, Concatenation):
            condition.check_layers("this generator", total + 1)
        if self.hierarchical and z_dim <= total:
            raise RequestError(
                f"ResidualGenerator.hierarchical: z is cut in {total + 1} parts, one for each block and one before: "
                f"expected a prior of at least {total + 1} numbers, found {z_dim}"
            )
        return Upward(self, data, z_dim, condition)


class ResidualDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B], linear in φ(x), the last block's ReLU.

    `width` channels at half the resolution, twice as many at each coarser level, at most `max_width`; `blocks` at each
    level, the first of which halves, and one more at the end. `attention` is the level i, from 1 to n, that ends with
    `SelfAttention`. Nothing is normalised, so that penalties meet each sample alone; the papers' choices are a wrapper
    in `SpectralNorm`, or `WGANGP` in the game.

    A class or a vector is judged by `Projection` where nothing is said; an image stands beside x. Layer i of a
    `Concatenation` is the i-th block, counted from 0.

    >>> from sparring.core.protocols import DataSpec
    >>> mnist = DataSpec(name="mnist", shape=(1, 28, 28))
    >>> sum(p.numel() for p in ResidualDiscriminator().build(mnist, z_dim=64).parameters())
    36961
    """

    width: int = 16
    max_width: int = 256
    blocks: int = 1
    attention: int | None = None
    condition: Concatenation | Projection | AuxiliaryHead | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        levels = _check(data, self.width, self.max_width, self.blocks)
        _check_attention(self.attention, range(1, levels + 1), "discriminator")
        condition = chosen(self.condition, data, Concatenation() if len(data.y_shape) == 3 else Projection())
        if isinstance(condition, Concatenation):
            condition.check_layers("this discriminator", levels * self.blocks)
        kind = DownwardWithClasses if isinstance(condition, AuxiliaryHead) else Downward
        return kind(self, data, condition)


class Upward(nn.Module):
    """The generator's module, of a spec that was checked."""

    def __init__(self, spec: ResidualGenerator, data: DataSpec, z_dim: int, condition: Condition | None) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()
        self.normalised = isinstance(condition, ConditionalBatchNorm)
        self.hierarchical = spec.hierarchical
        channels, height, width = data.shape
        levels = levels_of(data)
        total = levels * spec.blocks
        widths = [min(spec.width * 2**i, spec.max_width) for i in range(levels + 1)]

        self.embedding = table(data, condition.dim) if isinstance(condition, Embedding) else None
        aside = condition.dim if isinstance(condition, Embedding) else count(data) if 0 in self.beside else 0
        part = z_dim // (total + 1) if spec.hierarchical else 0
        self.parts = [z_dim - part * total, *[part] * total]
        said = count(data) if self.normalised else 0
        read = said + (part + aside if spec.hierarchical else 0)

        def inputs(layer: int, channels: int) -> int:
            return wider((channels, 1, 1), data)[0] if layer in self.beside else channels

        self.coarsest = (-(-height // 2**levels), -(-width // 2**levels), widths[levels])
        self.dense = nn.Linear(self.parts[0] + aside, math.prod(self.coarsest))
        self.blocks = nn.ModuleList()
        before = widths[levels]
        for level in reversed(range(levels)):
            size = (-(-height // 2**level), -(-width // 2**level))
            for i in range(spec.blocks):
                attends = level == spec.attention and i == spec.blocks - 1
                into = inputs(len(self.blocks) + 1, before)
                self.blocks.append(UpBlock(into, widths[level], size, read, attends=attends))
                before = widths[level]
        self.norm = Norm(inputs(total + 1, before), said)
        self.to_image = nn.Conv2d(inputs(total + 1, before), channels, 3, padding=1)
        _start([self.to_image])

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        c = numbers(y, self.data, z)
        said = c if self.normalised else z.new_empty(len(z), 0)
        aside = z.new_empty(len(z), 0)
        if self.embedding is not None:
            aside = self.embedding(require(y, self.data, z)).to(z.dtype)
        elif 0 in self.beside:
            aside = c.flatten(1)
        first, *parts = torch.split(z, self.parts, 1)
        # Channels last in memory, which is what convolutions are fastest on, without a copy.
        x = self.dense(torch.cat([first, aside], 1)).unflatten(1, self.coarsest).permute(0, 3, 1, 2)
        for i, (block, part) in enumerate(zip(self.blocks, parts, strict=True), 1):
            x = block(self._read(i, x, c), torch.cat([said, part, aside], 1) if self.hierarchical else said)
        x = relu(self.norm(self._read(len(self.blocks) + 1, x, c), said))
        return torch.tanh(self.to_image(x))

    def _read(self, layer: int, x: Tensor, c: Tensor) -> Tensor:
        return beside(x, c) if layer in self.beside else x


class UpBlock(nn.Module):
    """x [B, before, h, w], of this `size` or half of it, rounded up, to [B, after, *size]; its normalisations read c
    [B, read]."""

    def __init__(self, before: int, after: int, size: tuple[int, int], read: int, *, attends: bool) -> None:
        super().__init__()
        self.size = size
        self.norms = nn.ModuleList([Norm(before, read), Norm(after, read)])
        # A bias before batch normalisation would be subtracted again.
        self.convs = nn.ModuleList(
            [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.Conv2d(after, after, 3, padding=1)]
        )
        self.skip = nn.Conv2d(before, after, 1, bias=False) if before != after else nn.Identity()
        self.attention = SelfAttention(after) if attends else nn.Identity()
        _start(self.convs, [self.skip])

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        out = self.convs[0](self._larger(relu(self.norms[0](x, c))))
        out = self.convs[1](relu(self.norms[1](out, c)))
        summed: Tensor = self.attention(out + self._larger(self.skip(x)))
        return summed

    def _larger(self, x: Tensor) -> Tensor:
        """Every pixel four times; where that is a row or a column too many, the last is left out."""
        return x if x.shape[2:] == self.size else interpolate(x, self.size)


class Norm(nn.Module):
    """Batch normalisation of x [B, C, H, W], scaled and shifted by c [B, read] where there is something to read."""

    def __init__(self, channels: int, read: int) -> None:
        super().__init__()
        self.read = read
        self.norm = ConditionalNorm(nn.BatchNorm2d(channels, affine=False), read) if read else nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        out: Tensor = self.norm(x, c) if self.read else self.norm(x)
        return out


class Downward(Judging):
    """The discriminator's module, of a spec that was checked."""

    per_sample = True

    def __init__(self, spec: ResidualDiscriminator, data: DataSpec, condition: Condition | None) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()
        before = data.shape[0]
        levels = levels_of(data)
        self.blocks = nn.ModuleList()
        for level in range(1, levels + 1):
            after = min(spec.width * 2 ** (level - 1), spec.max_width)
            for i in range(spec.blocks + (level == levels)):
                into = wider((before, 1, 1), data)[0] if len(self.blocks) in self.beside else before
                attends = level == spec.attention and i == spec.blocks - 1
                first = not self.blocks
                self.blocks.append(DownBlock(into, after, halves=i == 0, first=first, attends=attends))
                before = after
        self.end_in(data, before * (data.shape[1] >> levels) * (data.shape[2] >> levels), condition)

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """φ(x) [B, F]."""
        c = numbers(y, self.data, x) if self.beside else None
        for i, block in enumerate(self.blocks):
            x = block(x if c is None or i not in self.beside else beside(x, c))
        return relu(x).flatten(1)


class DownwardWithClasses(TellingClasses, Downward):
    """`Downward` that does not see classes and tells them."""


class DownBlock(nn.Module):
    """x [B, before, H, W] to [B, after, H, W], or to half the pixels each way, rounded down.

    The first of a network has no ReLU in front, which would hide half of the image's values.
    """

    def __init__(self, before: int, after: int, *, halves: bool, first: bool, attends: bool) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        self.convs = nn.ModuleList([nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)])
        self.skip = nn.Conv2d(before, after, 1, bias=False) if before != after else nn.Identity()
        self.attention = SelfAttention(after) if attends else nn.Identity()
        _start(self.convs, [self.skip])

    def forward(self, x: Tensor) -> Tensor:
        out = self.convs[1](relu(self.convs[0](x if self.first else relu(x))))
        summed: Tensor = self.attention(self._smaller(out) + self.skip(self._smaller(x)))
        return summed

    def _smaller(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 2) if self.halves else x


def levels_of(data: DataSpec) -> int:
    """The number of doublings n: the largest for which min(H, W) / 2^n is at least 4."""
    return (min(data.shape[1:]) // 4).bit_length() - 1


def _start(convs: Iterable[nn.Module], skips: Iterable[nn.Module] = ()) -> None:
    """Glorot's weights, √2 larger where a ReLU follows or comes before, and no biases."""
    for gain, layers in ((math.sqrt(2), convs), (1.0, skips)):
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight, gain)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def _check(data: DataSpec, width: int, max_width: int, blocks: int) -> int:
    """The number of doublings; refuses what is no image of at least 8×8."""
    check_images("residual networks", data)
    if min(width, max_width, blocks) < 1:
        raise RequestError(
            f"residual networks: expected width, max_width and blocks of at least 1, found {width}, {max_width} and "
            f"{blocks}"
        )
    return levels_of(data)


def _check_attention(level: int | None, levels: range, network: str) -> None:
    if level is not None and level not in levels:
        nearest = min(max(level, levels[0]), levels[-1])
        raise RequestError(
            f"attention: for images of this size the {network} has levels {levels[0]} to {levels[-1]}, found {level}: "
            f"the nearest is attention={nearest}"
        )
