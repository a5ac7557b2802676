"""DCGAN (Radford, Metz and Chintala 2016) for images of any height, width and number of channels from 8×8 up.

Convolutions alone, halving and doubling the image: a 4×4 kernel at stride 2, which covers every pixel equally often.
The number of doublings n is the largest for which min(H, W) / 2^n is at least 4, so the generator's coarsest grid is
7×7 for 28×28 images and 6×10 for 24×40. Level i has ceil(H / 2^i) × ceil(W / 2^i) pixels; where doubling gives one
row or column too many, the last is cut off, so that no size needs to be resized or padded.

Away from the paper, because it measured better: no normalisation in the discriminator (batch statistics of real and
fake differ, and penalties on per-sample gradients need per-sample logits); minibatch standard deviation before its
head (Karras et al. 2018), over groups of at least 64, or the whole of a smaller batch; torch's own initialisation,
uniform within ±1/sqrt(fan-in), in both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers.conditional_batchnorm import ConditionalNorm
from sparring.layers.minibatch_std import AppendStd
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


class DCGANGenerator(NetworkSpec):
    """G(z, y) -> x [B, C, H, W] in [-1, 1].

    `width` channels at full resolution, twice as many at each coarser level, at most `max_width`. Where nothing is
    said of the condition, a class or a vector stands beside z and an image beside the channels of every grid. Layer 0
    of a `Concatenation` reads z, layer n + 1 of n doublings makes the image, and those between double.

    >>> from sparring.core.protocols import DataSpec
    >>> mnist = DataSpec(name="mnist", shape=(1, 28, 28))
    >>> sum(p.numel() for p in DCGANGenerator().build(mnist, z_dim=64).parameters())
    242033
    """

    width: int = 16
    max_width: int = 512
    condition: Concatenation | Embedding | ConditionalBatchNorm | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        levels = _check(data, self.width, self.max_width)
        widths = [min(self.width * 2**i, self.max_width) for i in range(levels + 1)]
        own = Concatenation(layers=tuple(range(1, levels + 2)) if len(data.y_shape) == 3 else (0,))
        condition = chosen(self.condition, data, own)
        if isinstance(condition, Concatenation):
            condition.check_layers("this generator", levels + 1)
        return Upward(data, z_dim, widths, condition)


class DCGANDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B].

    `width` channels at half the resolution, twice as many at each coarser level, at most `max_width`. Where nothing is
    said of the condition, a class or a vector is judged by `Projection`, with φ(x) the features of the last level, and
    an image stands beside x. Layer i of a `Concatenation` is the i-th halving; the head is none of them, as what is
    linear in y and x apart cannot tell whether they fit.

    >>> from sparring.core.protocols import DataSpec
    >>> mnist = DataSpec(name="mnist", shape=(1, 28, 28))
    >>> sum(p.numel() for p in DCGANDiscriminator().build(mnist, z_dim=64).parameters())
    41914
    """

    width: int = 16
    max_width: int = 512
    condition: Concatenation | Projection | AuxiliaryHead | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        levels = _check(data, self.width, self.max_width)
        widths = [min(self.width * 2**i, self.max_width) for i in range(levels + 1)]
        condition = chosen(self.condition, data, Concatenation() if len(data.y_shape) == 3 else Projection())
        if isinstance(condition, Concatenation):
            condition.check_layers("this discriminator", levels)
        return (
            DownwardWithClasses(data, widths)
            if isinstance(condition, AuxiliaryHead)
            else Downward(data, widths, condition)
        )


class Upward(nn.Module):
    """The generator's module. `widths[i]` channels at level i, which is 2^i times coarser than the image."""

    def __init__(self, data: DataSpec, z_dim: int, widths: list[int], condition: Condition | None = None) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()
        channels, height, width = data.shape
        self.sizes = [(-(-height // 2**i), -(-width // 2**i)) for i in range(len(widths))]
        bottom = len(widths) - 1
        (h, w), c = self.sizes[bottom], widths[bottom]
        self.coarsest = (h, w, c)
        self.normalised = isinstance(condition, ConditionalBatchNorm)

        def norm(channels: int) -> nn.Module:
            if self.normalised:
                return ConditionalNorm(nn.BatchNorm2d(channels, affine=False), count(data))
            return nn.BatchNorm2d(channels)

        def inputs(layer: int, channels: int) -> int:
            grid = (channels, 1, 1) if layer else (channels,)
            return wider(grid, data)[0] if layer in self.beside else channels

        self.embedding = table(data, condition.dim) if isinstance(condition, Embedding) else None
        into = z_dim + condition.dim if isinstance(condition, Embedding) else inputs(0, z_dim)
        # A bias before batch normalisation would be subtracted again.
        self.dense = nn.Linear(into, h * w * c, bias=False)
        self.norm = norm(c)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(inputs(bottom - i, widths[i + 1]), widths[i], 4, 2, 1, bias=False)
            for i in reversed(range(bottom))
        )
        self.norms = nn.ModuleList(norm(widths[i]) for i in reversed(range(bottom)))
        self.to_image = nn.Conv2d(inputs(bottom + 1, widths[0]), channels, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        c = numbers(y, self.data, z)
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(require(y, self.data, z))], dim=1)
        x = self.dense(self._read(0, z, c))
        # Channels last in memory, which is what convolutions are fastest on, without a copy.
        x = x.unflatten(1, self.coarsest).permute(0, 3, 1, 2)
        x = self._normalise(self.norm, x, c).relu()
        for i, (up, norm) in enumerate(zip(self.ups, self.norms, strict=True), 1):
            h, w = self.sizes[-1 - i]
            x = self._normalise(norm, up(self._read(i, x, c))[:, :, :h, :w], c).relu()
        return torch.tanh(self.to_image(self._read(len(self.sizes), x, c)))

    def _read(self, layer: int, x: Tensor, c: Tensor) -> Tensor:
        return beside(x, c) if layer in self.beside else x

    def _normalise(self, norm: nn.Module, x: Tensor, c: Tensor) -> Tensor:
        out: Tensor = norm(x, c) if self.normalised else norm(x)
        return out


class Downward(Judging):
    """The discriminator's module. `widths[i]` channels at level i + 1, of floor(H / 2^(i + 1)) rows."""

    def __init__(self, data: DataSpec, widths: list[int], condition: Condition | None = None) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()
        channels, height, width = data.shape
        self.downs = nn.ModuleList(
            nn.Conv2d(wider((before, 1, 1), data)[0] if i in self.beside else before, after, 4, 2, 1)
            for i, (before, after) in enumerate(zip([channels, *widths], widths, strict=False))
        )
        self.std = AppendStd(group_size=64)
        pixels = (height >> len(widths)) * (width >> len(widths))
        self.end_in(data, (widths[-1] + 1) * pixels, condition)

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """φ(x) [B, F]: the last level and the minibatch standard deviation, flattened."""
        c = numbers(y, self.data, x) if self.beside else None
        for i, down in enumerate(self.downs):
            x = nn.functional.leaky_relu(down(x if c is None or i not in self.beside else beside(x, c)), 0.2)
        features: Tensor = self.std(x).flatten(1)
        return features


class DownwardWithClasses(TellingClasses, Downward):
    """`Downward` that does not see classes and tells them."""


def _check(data: DataSpec, width: int, max_width: int) -> int:
    """The number of doublings; refuses what is no image of at least 8×8."""
    check_images("DCGAN", data)
    if not (width >= 1 and max_width >= 1):
        raise RequestError(f"DCGAN: width and max_width must be at least 1, found {width} and {max_width}")
    levels = 1
    while min(data.shape[1:]) >= 4 * 2 ** (levels + 1):
        levels += 1
    return levels
