"""FastGAN (Liu et al. 2021, "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis"),
for a hundred to some thousand images, of any height and width from 8 up.

Skip-layer excitation (equation 1): channels of a fine grid are scaled by gates that a coarse one, 16 times smaller,
computes, y = F(x_low, W) · x_high; so gradients have a short way to the coarse levels, at the price of two small
convolutions. The discriminator is also an encoder (section 3.2): small decoders, trained with it on real images alone,
make the image again from its last grid, and a quarter of the image from a quarter of the grid before
(`SelfReconstruction`); so it has to see what an image holds, and does not only learn a hundred of them by heart.

Away from the paper: grids are those of `dcgan`; a level of the generator has one convolution with noise where the
paper's code has two on every second; the discriminator reads the image at one resolution, its logit is the mean of its
patches, and the decoders are held by the mean of |difference|, as no network for a perceptual distance comes with us.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.networks.condition import Concatenation, Embedding, Projection, chosen
from sparring.networks.labels import beside, numbers, require, table, wider
from sparring.networks.modulated import Noise
from sparring.networks.smallest import check_images

_JUMP = 4
"""Doublings between the grid that computes gates and the grid that they scale."""


class FastGANGenerator(NetworkSpec):
    """G(z, y) -> x [B, C, H, W] in [-1, 1].

    `width` channels at full resolution, twice as many at each coarser level, at most `max_width`. Gates span four
    doublings, or all where there are fewer. In evaluation the noise of every level is fixed, so that a sample is a
    function of z and y. A class or a vector stands beside z, an image beside the channels of every grid: layer 0 of a
    `Concatenation` reads z, layers 1 to n double, layer n + 1 makes the image.

    >>> from sparring.core.protocols import DataSpec
    >>> cifar = DataSpec(name="cifar10", shape=(3, 32, 32))
    >>> sum(p.numel() for p in FastGANGenerator().build(cifar, z_dim=64).parameters())
    188414
    """

    width: int = 8
    max_width: int = 512
    condition: Concatenation | Embedding | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        widths = _widths(data, self.width, self.max_width)
        own: Concatenation | Embedding = Concatenation(
            layers=tuple(range(1, len(widths) + 1)) if len(data.y_shape) == 3 else (0,)
        )
        condition = chosen(self.condition, data, own)
        if isinstance(condition, Concatenation):
            condition.check_layers("this generator", len(widths))
        return FastGANUpward(data, z_dim, widths, condition)


class FastGANDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B], the mean over patches.

    `width` channels at half the resolution, twice as many at each coarser level, at most `max_width`. With `decoders`
    the module has a method `reconstruction`, which `SelfReconstruction` takes as a penalty; without that penalty they
    learn nothing. A class or a vector is judged by `Projection` on the mean of the last grid, an image stands beside x.
    Layer i of a `Concatenation` is the i-th halving. Batch normalisation as published: not for gradient penalties.

    >>> from sparring.core.protocols import DataSpec
    >>> cifar = DataSpec(name="cifar10", shape=(3, 32, 32))
    >>> sum(p.numel() for p in FastGANDiscriminator().build(cifar, z_dim=64).parameters())
    96192
    """

    width: int = 16
    max_width: int = 512
    decoders: bool = False
    condition: Concatenation | Projection | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        widths = _widths(data, self.width, self.max_width)[:-1]
        condition = chosen(self.condition, data, Concatenation() if len(data.y_shape) == 3 else Projection())
        if isinstance(condition, Concatenation):
            condition.check_layers("this discriminator", len(widths) - 1)
        return (FastGANEncoder if self.decoders else FastGANDownward)(data, widths, condition)


class FastGANUpward(nn.Module):
    """The generator's module. `widths[i]` channels at level i, which is 2^i times coarser than the image."""

    def __init__(
        self, data: DataSpec, z_dim: int, widths: list[int], condition: Concatenation | Embedding | None = None
    ) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()
        channels, height, width = data.shape
        levels = len(widths) - 1
        sizes = [(-(-height // 2**i), -(-width // 2**i)) for i in reversed(range(levels + 1))]
        widths = widths[::-1]

        def inputs(layer: int, channels: int) -> int:
            grid = (channels, 1, 1) if layer else (channels,)
            return wider(grid, data)[0] if layer in self.beside else channels

        self.embedding = table(data, condition.dim) if isinstance(condition, Embedding) else None
        into = z_dim + condition.dim if isinstance(condition, Embedding) else inputs(0, z_dim)
        self.coarsest = (*sizes[0], 2 * widths[0])
        self.dense = nn.Linear(into, sizes[0][0] * sizes[0][1] * 2 * widths[0], bias=False)
        self.norm = nn.BatchNorm2d(2 * widths[0])
        self.ups = nn.ModuleList(
            Doubling(inputs(i, before), after, size)
            for i, (before, after, size) in enumerate(zip(widths, widths[1:], sizes[1:], strict=False), 1)
        )
        self.jump = min(_JUMP, levels)
        self.gates = nn.ModuleList(Gate(low, high) for low, high in zip(widths, widths[self.jump :], strict=False))
        self.to_image = nn.Conv2d(inputs(levels + 1, widths[-1]), channels, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        c = numbers(y, self.data, z) if self.beside else None
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(require(y, self.data, z))], dim=1)
        # Channels last in memory, which is what convolutions are fastest on.
        x = self.dense(self._read(0, z, c)).unflatten(1, self.coarsest).permute(0, 3, 1, 2)
        grids = [F.glu(self.norm(x), dim=1)]
        for i, up in enumerate(self.ups, 1):
            x = up(self._read(i, grids[-1], c))
            grids.append(x if i < self.jump else self.gates[i - self.jump](grids[i - self.jump], x))
        return torch.tanh(self.to_image(self._read(len(grids), grids[-1], c)))

    def _read(self, layer: int, x: Tensor, c: Tensor | None) -> Tensor:
        return beside(x, c) if c is not None and layer in self.beside else x


class Doubling(nn.Module):
    """[B, I, h, w] to [B, O, *size]: every pixel four times, convolution, noise, normalisation, gated linear units."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 2 * outputs, 3, padding=1, bias=False)
        self.noise = Noise(size)
        self.norm = nn.BatchNorm2d(2 * outputs)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        wide = F.interpolate(x, scale_factor=2, mode="nearest")[:, :, : self.size[0], : self.size[1]]
        return F.glu(self.norm(self.noise(self.conv(wide))), dim=1)


class Gate(nn.Module):
    """Skip-layer excitation (equation 1): high [B, H, h, w] with its channels scaled by gates in (0, 1), made of low
    [B, L, h', w'], averaged to 4 × 4."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(low, high, 4, bias=False), nn.Conv2d(high, high, 1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        gates: Tensor = self.excite(F.leaky_relu(self.squeeze(F.adaptive_avg_pool2d(low, 4)), 0.1))
        return high * gates.sigmoid()


class FastGANDownward(nn.Module):
    """The discriminator's module. `widths[i]` channels at level i + 1, of floor(H / 2^(i + 1)) rows."""

    def __init__(self, data: DataSpec, widths: list[int], condition: Concatenation | Projection | None = None) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()

        def inputs(layer: int, channels: int) -> int:
            return wider((channels, 1, 1), data)[0] if layer in self.beside else channels

        self.first = nn.Conv2d(inputs(0, data.shape[0]), widths[0], 4, 2, 1, bias=False)
        self.halvings = nn.ModuleList(
            Halving(inputs(i, before), after) for i, (before, after) in enumerate(pairwise(widths), 1)
        )
        last = widths[-1]
        self.mix, self.norm = nn.Conv2d(last, last, 1, bias=False), nn.BatchNorm2d(last)
        self.head = nn.Conv2d(last, 1, 4, bias=False)
        self.embedding = None
        if isinstance(condition, Projection):
            self.embedding = table(data, last)
            nn.init.zeros_(self.embedding.weight)

    def grids(self, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """The features at every level, from half the resolution to the coarsest."""
        c = numbers(y, self.data, x) if self.beside else None
        found = [F.leaky_relu(self.first(x if c is None or 0 not in self.beside else beside(x, c)), 0.2)]
        for i, halving in enumerate(self.halvings, 1):
            found.append(halving(found[-1] if c is None or i not in self.beside else beside(found[-1], c)))
        return found

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = F.leaky_relu(self.norm(self.mix(self.grids(x, y)[-1])), 0.2)
        logits: Tensor = self.head(features).mean((1, 2, 3))
        if self.embedding is not None:
            logits = logits + (self.embedding(require(y, self.data, x)) * features.mean((2, 3))).sum(1)
        return logits


class FastGANEncoder(FastGANDownward):
    """`FastGANDownward` with decoders, which tell what the grids hold of an image."""

    def __init__(self, data: DataSpec, widths: list[int], condition: Concatenation | Projection | None = None) -> None:
        super().__init__(data, widths, condition)
        doublings = max(len(widths) - 1, 1)
        self.whole, self.part = (Decoder(before, data.shape[0], doublings) for before in (widths[-1], widths[-2:][0]))

    def reconstruction(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """How far the decoders' images are from x [B, C, H, W], as mean |difference| of the whole plus that of a random
        quarter [B] (section 3.2, equation 2)."""
        grids = self.grids(x, y)
        corner = torch.randint(4, (len(x),), device=x.device)
        return _away(self.whole(grids[-1]), x) + _away(self.part(quarter(grids[-2:][0], corner)), quarter(x, corner))


class Halving(nn.Module):
    """[B, I, h, w] to [B, O, floor(h/2), floor(w/2)]: the mean of two convolutions and of one of the averaged grid."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.short, self.short_norm = nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        long = F.leaky_relu(self.norm(self.first(x)), 0.2)
        long = F.leaky_relu(self.second_norm(self.second(long)), 0.2)
        short = F.leaky_relu(self.short_norm(self.short(F.avg_pool2d(x, 2))), 0.2)
        return (long + short) / 2


class Decoder(nn.Module):
    """Grids [B, I, h, w] to images [B, C, 2^n h, 2^n w] in [-1, 1], with half the channels after each doubling."""

    def __init__(self, inputs: int, channels: int, doublings: int) -> None:
        super().__init__()
        widths = [inputs, *(max(inputs // 2**i, channels) for i in range(1, doublings + 1))]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, 2 * after, 3, padding=1, bias=False) for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(2 * after) for after in widths[1:])
        self.to_image = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.glu(norm(conv(F.interpolate(x, scale_factor=2, mode="nearest"))), dim=1)
        return torch.tanh(self.to_image(x))


def quarter(x: Tensor, corner: Tensor) -> Tensor:
    """One quarter [B, C, floor(h/2), floor(w/2)] of each x [B, C, h, w]; corner [B] is 0 to 3: top left, top right,
    bottom left, bottom right."""
    h, w = x.shape[2] // 2, x.shape[3] // 2
    rows = torch.where((corner >= 2)[:, None, None, None], x[:, :, -h:], x[:, :, :h])
    return torch.where((corner % 2 == 1)[:, None, None, None], rows[..., -w:], rows[..., :w])


def _away(made: Tensor, x: Tensor) -> Tensor:
    """Mean |difference| [B] of images made [B, C, h, w] and x [B, C, H, W], averaged to h × w."""
    target = F.adaptive_avg_pool2d(x, (made.shape[2], made.shape[3]))
    return (made.to(x.dtype) - target).abs().mean((1, 2, 3))


def _widths(data: DataSpec, width: int, max_width: int) -> list[int]:
    """Channels of each level, from full resolution to the coarsest grid, of at least 4 pixels a side; refuses what is
    no image of at least 8×8."""
    check_images("FastGAN", data)
    if width < 1 or max_width < 1:
        raise RequestError(f"FastGAN: width and max_width must be at least 1, found {width} and {max_width}")
    levels = (min(data.shape[1:]) // 4).bit_length() - 1
    return [min(width * 2**i, max_width) for i in range(levels + 1)]
