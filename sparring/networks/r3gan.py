"""R3GAN (Huang, Gokaslan, Kuleshov and Tompkin 2024, "The GAN is dead; long live the GAN! A modern GAN baseline",
section 4 and appendix) for images of any height, width and number of channels from 8×8 up.

Both players are rows of stages, one for every resolution, mirrors of each other, made of one block:
y = x + W₃ a(g ∗ a(W₁ x)), where W₁ widens each pixel's channels by `expansion`, g is a 3×3 convolution in groups of
`group_size` channels, W₃ leads back, and a adds a bias to each channel and takes LeakyReLU of slope 0.2. Between the
stages images are resampled with the kernel [1, 3, 3, 1] along each axis, beside which pixels are 0, and W changes the
number of channels where it differs. No normalisation anywhere, and no tanh: samples leave [-1, 1] at first, and are
clamped where they are looked at, judged or stored.

Weights start as N(0, gain² / fan-in); gain is 1 outside of blocks, and √(2 / 1.04) L^(-1/4) inside, with L the number
of blocks of the network, so that what W₃ reads has the second moment 1 / L of what the block read. W₃ starts at zero:
at first every block is the identity, and the samples are a linear map of z.

The number n of doublings is DCGAN's: the largest for which min(H, W) / 2^n is at least 4, which gives the published
4×4 for powers of two and 7×7 for 28×28. Level i has ceil(H / 2^i) × ceil(W / 2^i) pixels; where doubling gives one row
or column too many, the last is cut off, and where halving meets an odd number of them, one of zeros is put behind.

Away from the published code: `torch.autocast` decides the precision of a stage, where there the lowest are kept in
float32; and pixels lie with their channels together, so that W are products of matrices, whose second derivatives are
quicker than those of 1×1 convolutions.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, leaky_relu

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.networks.condition import Embedding, chosen
from sparring.networks.labels import VectorEmbedding, count, require, table, with_condition
from sparring.networks.smallest import check_images

SLOPE = 0.2


class _Stages(NetworkSpec):
    """What both players have in common: `width` channels at full resolution, `growth` times as many at each coarser
    level, at most `max_width`; `blocks` at every level.

    Small images on a CPU call for a growth of 4: a level costs its pixels times the square of its channels, less what
    groups save, so that the finest need not be the dearest."""

    width: int = 32
    growth: int = 2
    max_width: int = 768
    blocks: int = 2
    expansion: int = 2
    group_size: int = 16

    def __post_init__(self) -> None:
        for name in ("width", "growth", "max_width", "blocks", "expansion", "group_size"):
            if getattr(self, name) < 1:
                raise RequestError(f"{type(self).__name__}.{name}: expected at least 1, found {getattr(self, name)}")
        for width in (self.width, self.max_width):
            if width * self.expansion % self.group_size:
                step = self.group_size // math.gcd(self.group_size, self.expansion)
                raise RequestError(
                    f"{type(self).__name__}: groups of {self.group_size} do not divide {width * self.expansion} "
                    f"channels, {self.expansion} times a width of {width}; take a multiple of {step}, or another "
                    "group_size"
                )

    def levels(self, data: DataSpec) -> list[Level]:
        """The levels of the players' stages, the finest first; refuses what is no image of at least 8×8."""
        check_images("R3GAN", data)
        _, height, width = data.shape
        found = [Level(height, width, min(self.width, self.max_width))]
        while min(height, width) >= 4 * 2 ** len(found):
            last = found[-1]
            found.append(
                Level(-(-last.height // 2), -(-last.width // 2), min(self.growth * last.channels, self.max_width))
            )
        return found


class R3GANGenerator(_Stages):
    """G(z, y) -> x [B, C, H, W], near [-1, 1] once it is trained.

    At the coarsest level every pixel of a channel is a learned number times what a linear map of z gives for the
    channel. A class or a vector y stands beside z as its learned `Embedding`, of 64 numbers where nothing is said; an
    image y, averaged to each level, is added to what each stage reads, after a linear map of its own.

    >>> from sparring.core.protocols import DataSpec
    >>> cifar10 = DataSpec(name="cifar10", shape=(3, 32, 32), num_classes=10)
    >>> sum(p.numel() for p in CIFAR10.generator.build(cifar10, z_dim=64).parameters())
    20781952
    """

    condition: Embedding | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        levels = self.levels(data)
        image = len(data.y_shape) == 3
        return Upward(self, data, z_dim, levels, None if image and self.condition is None else self._embedding(data))

    def _embedding(self, data: DataSpec) -> Embedding | None:
        return chosen(self.condition, data, Embedding())


class R3GANDiscriminator(_Stages):
    """D(x, y) -> logits [B].

    At the coarsest level each channel becomes one number, its product with learned pixels, and from there on all is
    linear. The logit for a class or a vector y is e(y)·φ(x), with φ(x) as many numbers as the coarsest level has
    channels (Miyato and Koyama 2018, equation 3, without the part that y has no say in). An image y stands beside x.

    >>> from sparring.core.protocols import DataSpec
    >>> cifar10 = DataSpec(name="cifar10", shape=(3, 32, 32), num_classes=10)
    >>> sum(p.numel() for p in CIFAR10.discriminator.build(cifar10, z_dim=64).parameters())
    21280512
    """

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        return Downward(self, data, self.levels(data))


class Pair(NamedTuple):
    """The specs of two players that were made for each other."""

    generator: R3GANGenerator
    discriminator: R3GANDiscriminator


def _pair(width: int, max_width: int, group_size: int = 16) -> Pair:
    return Pair(
        R3GANGenerator(width=width, max_width=max_width, group_size=group_size),
        R3GANDiscriminator(width=width, max_width=max_width, group_size=group_size),
    )


CIFAR10 = _pair(768, 768)
"""As published for 32×32 and 10 classes, and for Stacked MNIST."""
FFHQ64 = _pair(384, 768)
"""As published for 64×64."""
FFHQ256 = _pair(96, 768)
"""As published for 256×256."""
IMAGENET = _pair(1536, 1536, group_size=32)
"""As published for 32×32 and 64×64, and 1,000 classes."""


class Level(NamedTuple):
    """A grid of pixels and the channels of its stage."""

    height: int
    width: int
    channels: int


class Upward(nn.Module):
    """The generator's module. Within, images are [B, H, W, C]."""

    def __init__(
        self, spec: R3GANGenerator, data: DataSpec, z_dim: int, levels: list[Level], embedding: Embedding | None
    ) -> None:
        super().__init__()
        self.data = data
        upwards = levels[::-1]
        first = upwards[0]
        self.embedding = None if embedding is None else embedding_of(data, embedding.dim)
        self.basis = nn.Parameter(torch.randn(first.height, first.width, first.channels))
        self.dense = linear(z_dim + (0 if embedding is None else embedding.dim), first.channels)
        self.widths = nn.ModuleList(_between(a.channels, b.channels) for a, b in pairwise(upwards))
        self.ups = nn.ModuleList(
            Resampling(doubling(a.height, b.height), doubling(a.width, b.width)) for a, b in pairwise(upwards)
        )
        self.stages = nn.ModuleList(_stage(spec, level, len(levels)) for level in upwards)
        self.hints: nn.ModuleList | None = None
        if len(data.y_shape) == 3:
            self.hints = nn.ModuleList(linear(data.y_shape[0], level.channels) for level in upwards)
        self.to_image = linear(levels[0].channels, data.shape[0])

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(require(y, self.data, z))], dim=1)
        x = self.dense(z)[:, None, None, :]
        x = x * self.basis.to(x.dtype)  # products of two types are slow, and all that follow would be of the wider one
        for i, stage in enumerate(self.stages):
            if i:
                x = self.ups[i - 1](self.widths[i - 1](x))
            if self.hints is not None:
                seen = adaptive_avg_pool2d(require(y, self.data, z), (x.shape[1], x.shape[2]))
                x = x + self.hints[i](seen.permute(0, 2, 3, 1))
            x = stage(x)
        image: Tensor = self.to_image(x).permute(0, 3, 1, 2)
        return image


class Downward(nn.Module):
    """The discriminator's module. Within, images are [B, H, W, C]."""

    per_sample = True

    def __init__(self, spec: R3GANDiscriminator, data: DataSpec, levels: list[Level]) -> None:
        super().__init__()
        self.data = data
        image = len(data.y_shape) == 3
        self.from_image = linear(data.shape[0] + (data.y_shape[0] if image else 0), levels[0].channels)
        self.stages = nn.ModuleList(_stage(spec, level, len(levels)) for level in levels)
        self.downs = nn.ModuleList(
            # Halving is doubling turned round, but for the factor by which its kernel sums to 1.
            Resampling(doubling(b.height, a.height).T / 2, doubling(b.width, a.width).T / 2)
            for a, b in pairwise(levels)
        )
        self.widths = nn.ModuleList(_between(a.channels, b.channels) for a, b in pairwise(levels))
        last = levels[-1]
        pixels = last.height * last.width
        self.basis = nn.Parameter(torch.randn(last.height, last.width, last.channels) / math.sqrt(pixels))
        self.embedding = None
        if data.is_conditional and not image:
            self.embedding = embedding_of(data, last.channels, 1 / math.sqrt(last.channels))
        self.head = linear(last.channels, 1 if self.embedding is None else last.channels)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if len(self.data.y_shape) == 3:
            x = with_condition(x, y, self.data)
        x = self.from_image(x.permute(0, 2, 3, 1))
        for i, stage in enumerate(self.stages):
            if i:
                x = self.widths[i - 1](self.downs[i - 1](x))
            x = stage(x)
        features: Tensor = self.head((x * self.basis.to(x.dtype)).sum((1, 2)))
        if self.embedding is None:
            return features.squeeze(1)
        logits: Tensor = (features * self.embedding(require(y, self.data, x))).sum(1)
        return logits


class Block(nn.Module):
    """x [B, H, W, C] + W₃ a(g ∗ a(W₁ x)), one of `total` of its network."""

    def __init__(self, channels: int, expansion: int, group_size: int, total: int) -> None:
        super().__init__()
        wide = expansion * channels
        gain = math.sqrt(2 / (1 + SLOPE**2)) * total**-0.25
        self.wider = nn.Linear(channels, wide)
        self.grouped = nn.Conv2d(wide, wide, 3, padding=1, groups=wide // group_size)
        self.narrower = nn.Linear(wide, channels, bias=False)
        nn.init.normal_(self.wider.weight, std=gain / math.sqrt(channels))
        nn.init.normal_(self.grouped.weight, std=gain / math.sqrt(9 * group_size))
        nn.init.zeros_(self.narrower.weight)
        for layer in (self.wider, self.grouped):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = leaky_relu(self.wider(x), SLOPE)
        h = self.grouped(h.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = x + self.narrower(leaky_relu(h, SLOPE))
        return out


class Resampling(nn.Module):
    """x [B, h, w, C] -> [B, H, W, C] by a matrix for its rows [H, h] and one for its columns [W, w].

    Products of matrices with mostly zeros, and still the quickest way here: depthwise convolutions of stride 2 are as
    quick in float32, and their gradients twenty times as slow in bfloat16 on a CPU.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows.contiguous(), persistent=False)
        self.register_buffer("columns", columns.contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        tall = (self.rows @ x.flatten(2)).view(len(x), len(self.rows), *x.shape[2:])
        return self.columns @ tall


def doubling(size: int, into: int) -> Tensor:
    """The matrix [into, size] of bilinear interpolation to twice as many points, of which the first `into` are kept.

    A point gives 1, 3, 3, 1 quarters of its value to the points 2i - 1 .. 2i + 2; beside the border there are zeros.
    """
    matrix = torch.zeros(2 * size + 2, size)
    for i in range(size):
        matrix[2 * i : 2 * i + 4, i] = torch.tensor([0.25, 0.75, 0.75, 0.25])
    return matrix[1 : into + 1]


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear map without a bias, of gain 1."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    return layer


def embedding_of(data: DataSpec, dim: int, gain: float = 1.0) -> nn.Embedding | VectorEmbedding:
    """e(y) [B, dim], a linear map of a vector or of a one-hot class."""
    layer = table(data, dim)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(count(data)))
    return layer


def _between(channels: int, into: int) -> nn.Module:
    return nn.Identity() if channels == into else linear(channels, into)


def _stage(spec: _Stages, level: Level, levels: int) -> nn.Module:
    total = spec.blocks * levels
    return nn.Sequential(*(Block(level.channels, spec.expansion, spec.group_size, total) for _ in range(spec.blocks)))
