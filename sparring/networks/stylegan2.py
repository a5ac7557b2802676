"""StyleGAN2 (Karras et al. 2019, "A style-based generator architecture for generative adversarial networks"; Karras
et al. 2020, "Analyzing and improving the image quality of StyleGAN"), for images of any height and width from 8 up.

A mapping network makes w of z; affine maps of w modulate every convolution (2020, equations 1 to 3). Each layer adds
one noise image, scaled by a learned strength. The generator's image is the sum of the doubled images of all levels
("skip", 2020, section 4.1), the discriminator is residual. Grids are those of `dcgan`: level i of the generator has
ceil(H / 2^i) × ceil(W / 2^i) pixels and cuts off what doubling gives too much, of the discriminator floor(H / 2^i).

Away from the paper: the sum of images starts at half their deviation and goes through tanh (a black background is the
hardest thing to learn without it: on MNIST at 16×16 pixels the mean sample was .2 or more from the data's mean after
250 steps, and .05 with it); both networks are small unless told otherwise; the mapping network is 2 layers deep, as
that of StyleGAN2-ADA for CIFAR-10; and the middle to which w is truncated is computed from the mapping network and not
tracked (`centre`): it is that of these very weights, knows the condition, and is the same on all processes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers.minibatch_std import AppendStd
from sparring.networks.condition import Concatenation, Embedding, Projection, chosen
from sparring.networks.labels import beside, count, numbers, require, table, wider
from sparring.networks.modulated import GAIN, Doubled, EqualConv, EqualLinear, Filter, Modulated, Noise, active
from sparring.networks.smallest import check_images

_MIDDLE = 1000
"""Samples of z whose mean w is the centre, at an error of 3 % of the deviation of w."""


class StyleGAN2Generator(NetworkSpec):
    """G(z, y) -> x [B, C, H, W] in [-1, 1].

    `width` channels at full resolution, twice as many at each coarser level, at most `max_width`; w has `style`
    numbers and is made by `depth` layers, which learn at .01 of the others' rate. In training a sample is mixed with
    probability `mixing`: its layers from a random one on take the w of another z. In evaluation nothing is mixed and
    the noise is fixed, so that a sample is a function of z and y.

    A class or a vector is embedded and stands beside z in the mapping network, both of unit mean square; an image
    stands beside the channels of every grid. Layer 0 of a `Concatenation` reads z, layer i is the i-th grid from the
    coarsest. The module can do more than a sample: see `StyleGAN2Synthesis`.

    >>> from sparring.core.protocols import DataSpec
    >>> mnist = DataSpec(name="mnist", shape=(1, 28, 28))
    >>> sum(p.numel() for p in StyleGAN2Generator().build(mnist, z_dim=64).parameters())
    65040
    """

    width: int = 8
    max_width: int = 512
    style: int = 128
    depth: int = 2
    mixing: float = 0.9
    condition: Concatenation | Embedding | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        widths = _widths(data, self.width, self.max_width)
        if self.style < 1 or self.depth < 1 or not 0 <= self.mixing <= 1:
            raise RequestError(
                "StyleGAN2: expected style >= 1, depth >= 1 and mixing in [0, 1], found "
                f"{self.style}, {self.depth} and {self.mixing}"
            )
        own = Concatenation(layers=tuple(range(1, len(widths) + 1))) if len(data.y_shape) == 3 else Embedding()
        condition = chosen(self.condition, data, own)
        if isinstance(condition, Concatenation):
            condition.check_layers("this generator", len(widths))
        return StyleGAN2Synthesis(data, z_dim, widths, self.style, self.depth, self.mixing, condition)


class StyleGAN2Discriminator(NetworkSpec):
    """D(x, y) -> logits [B].

    `width` channels at full resolution, twice as many at each coarser level, at most `max_width`. The standard
    deviation over groups of 4 samples is told before the last convolution, so logits depend on the batch. A class or a
    vector is judged by `Projection` on the last hidden layer; an image stands beside x. Layer 0 of a `Concatenation`
    reads x, layer i the i-th halved grid; the last grid is read by none.

    >>> from sparring.core.protocols import DataSpec
    >>> mnist = DataSpec(name="mnist", shape=(1, 28, 28))
    >>> sum(p.numel() for p in StyleGAN2Discriminator().build(mnist, z_dim=64).parameters())
    69145
    """

    width: int = 8
    max_width: int = 512
    condition: Concatenation | Projection | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        widths = _widths(data, self.width, self.max_width)
        condition = chosen(self.condition, data, Concatenation() if len(data.y_shape) == 3 else Projection())
        if isinstance(condition, Concatenation):
            condition.check_layers("this discriminator", len(widths) - 1)
        return StyleGAN2Judge(data, widths, condition)


class StyleGAN2Synthesis(nn.Module):
    """The generator's module. `widths[i]` channels at level i, which is 2^i times coarser than the image.

    Of n doublings there are 2 n + 2 places at which w enters: one convolution on the coarsest grid, two on each finer
    one; the image of a level takes the w of the convolution that follows it.
    """

    def __init__(
        self,
        data: DataSpec,
        z_dim: int,
        widths: list[int],
        style: int,
        depth: int,
        mixing: float,
        condition: Concatenation | Embedding | None = None,
    ) -> None:
        super().__init__()
        self.data, self.z_dim, self.mixing = data, z_dim, mixing
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()
        self.embedding = table(data, condition.dim) if isinstance(condition, Embedding) else None
        into = z_dim + (condition.dim if isinstance(condition, Embedding) else count(data) if 0 in self.beside else 0)
        self.mapping = nn.ModuleList(
            EqualLinear(before, style, multiplier=0.01, gain=GAIN) for before in (into, *[style] * (depth - 1))
        )
        channels, height, width = data.shape
        bottom = len(widths) - 1
        sizes = [(-(-height // 2**i), -(-width // 2**i)) for i in reversed(range(len(widths)))]
        # Channels last in memory, which is what convolutions are fastest on.
        self.constant = nn.Parameter(torch.randn(*sizes[0], widths[bottom]))
        self.layers, self.images, self.doubled = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, size in enumerate(sizes):
            own = widths[bottom - level]
            before = widths[min(bottom - level + 1, bottom)]
            before = wider((before, 1, 1), data)[0] if level + 1 in self.beside else before
            self.layers.append(Styled(before, own, style, size, up=level > 0))
            if level:
                self.layers.append(Styled(own, own, style, size))
                self.doubled.append(Doubled(size))
            self.images.append(ToImage(own, channels, style, size, gain=0.5 / math.sqrt(len(sizes))))

    @property
    def places(self) -> int:
        """How many w a sample takes."""
        return len(self.layers) + 1

    def mapped(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """w [B, style] of z [B, z_dim]."""
        x = _unit(z)
        if self.embedding is not None:
            x = torch.cat([x, _unit(self.embedding(require(y, self.data, z)))], dim=1)
        elif 0 in self.beside:
            x = beside(x, numbers(y, self.data, z))
        for layer in self.mapping:
            x = active(layer(x))
        return x

    def synthesised(self, w: Tensor, y: Tensor | None = None) -> Tensor:
        """x [B, C, H, W] of w [B, style], or [B, places, style] where places differ. y is read where the condition
        stands beside a grid."""
        each = w[:, None].expand(-1, self.places, -1) if w.dim() == 2 else w
        c = numbers(y, self.data, w) if any(self.beside) else None
        x = self.constant.expand(len(w), -1, -1, -1).permute(0, 3, 1, 2)
        image: Tensor | None = None
        place = 0
        for level, to_image in enumerate(self.images):
            if c is not None and level + 1 in self.beside:
                x = beside(x, c)
            for _ in range(2 if level else 1):
                x = self.layers[place](x, each[:, place])
                place += 1
            own = to_image(x, each[:, place])
            image = own if image is None else own + self.doubled[level - 1](image)
        assert image is not None
        return torch.tanh(image)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        w = self.mapped(z, y)
        if self.training and self.mixing:
            w = self._mixed(w, y)
        return self.synthesised(w, y)

    def truncated(self, z: Tensor, y: Tensor | None, psi: float) -> Tensor:
        """Samples of w drawn towards their centre, to `psi` times their distance (2019, appendix B)."""
        w, centre = self.mapped(z, y), self.centre(y)
        return self.synthesised(centre + psi * (w - centre), y)

    def centre(self, y: Tensor | None = None) -> Tensor:
        """The mean w [B, style] of each condition, or [1, style] where there is none: over fixed normal z, whose
        direction alone is read."""
        z = torch.randn(_MIDDLE, self.z_dim, generator=torch.Generator().manual_seed(0)).to(self.constant)
        if self.embedding is None and 0 not in self.beside:
            return self.mapped(z).mean(0, keepdim=True)
        y = require(y, self.data, z)
        different, which = torch.unique(y, dim=0, return_inverse=True)
        means = [self.mapped(z, own.expand(len(z), *own.shape)).mean(0) for own in different]
        return torch.stack(means)[which]

    def _mixed(self, w: Tensor, y: Tensor | None) -> Tensor:
        """w at all places [B, places, style], from another z from a random place on in the share `mixing` of samples
        (2019, section 3.1)."""
        other = self.mapped(torch.randn(len(w), self.z_dim, dtype=w.dtype, device=w.device), y)
        crossing = 1 + (torch.rand(len(w), device=w.device) * (self.places - 1)).floor()
        mixes = torch.rand(len(w), device=w.device) < self.mixing
        place = torch.arange(self.places, device=w.device)
        crossed = mixes[:, None] & (place >= crossing[:, None])
        return torch.where(crossed[:, :, None], other[:, None], w[:, None])


class StyleGAN2Judge(nn.Module):
    """The discriminator's module. `widths[i]` channels at level i, of floor(H / 2^i) rows."""

    def __init__(self, data: DataSpec, widths: list[int], condition: Concatenation | Projection | None = None) -> None:
        super().__init__()
        self.data = data
        self.beside = condition.layers if isinstance(condition, Concatenation) else ()

        def inputs(layer: int, channels: int) -> int:
            return wider((channels, 1, 1), data)[0] if layer in self.beside else channels

        channels, height, width = data.shape
        bottom = len(widths) - 1
        self.from_image = EqualConv(inputs(0, channels), widths[0], 1, gain=GAIN)
        self.halvings = nn.ModuleList(
            Residual(inputs(i, widths[i]) if i else widths[0], widths[i], widths[i + 1]) for i in range(bottom)
        )
        self.std = AppendStd(group_size=4)
        self.last = EqualConv(widths[bottom] + 1, widths[bottom], 3, gain=GAIN)
        pixels = (height >> bottom) * (width >> bottom)
        self.dense = EqualLinear(widths[bottom] * pixels, widths[bottom], gain=GAIN)
        self.head = EqualLinear(widths[bottom], 1)
        self.embedding = None
        if isinstance(condition, Projection):
            self.embedding = table(data, widths[bottom])
            nn.init.zeros_(self.embedding.weight)

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """φ(x) [B, F]: the last hidden layer."""
        c = numbers(y, self.data, x) if self.beside else None
        x = active(self.from_image(x if c is None or 0 not in self.beside else beside(x, c)))
        for i, halving in enumerate(self.halvings):
            x = halving(x if c is None or i == 0 or i not in self.beside else beside(x, c))
        return active(self.dense(active(self.last(self.std(x))).flatten(1)))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = self.features(x, y)
        logits: Tensor = self.head(features).squeeze(1)
        if self.embedding is not None:
            judged = (self.embedding(require(y, self.data, x)) * features).sum(1)
            logits = logits + judged / math.sqrt(features.shape[1])
        return logits


class Styled(nn.Module):
    """A modulated convolution, noise, bias and activation: [B, I, h, w] to [B, O, *size]."""

    def __init__(self, inputs: int, outputs: int, style: int, size: tuple[int, int], *, up: bool = False) -> None:
        super().__init__()
        self.conv = Modulated(inputs, outputs, 3, style, size, up=up, gain=GAIN)
        self.noise = Noise(size)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y: Tensor = self.noise(self.conv(x, w))
        return active(y + self.bias.to(y.dtype)[:, None, None])


class ToImage(nn.Module):
    """A level's image [B, C, *size]: modulated, of single pixels, not demodulated."""

    def __init__(self, inputs: int, channels: int, style: int, size: tuple[int, int], *, gain: float) -> None:
        super().__init__()
        self.conv = Modulated(inputs, channels, 1, style, size, demodulated=False, gain=gain)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y: Tensor = self.conv(x, w)
        return y + self.bias.to(y.dtype)[:, None, None]


class Residual(nn.Module):
    """Two convolutions of which the second halves the grid, plus the halved input, over √2 (2020, section 4.1)."""

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, channels, 3, gain=GAIN)
        self.filter = Filter(2)
        # Both parts of the sum are divided by √2, the one after its gain.
        self.second = EqualConv(channels, outputs, 3, stride=2)
        self.halved = Filter(1, stride=2)
        self.skip = EqualConv(inputs, outputs, 1, bias=False, gain=1 / GAIN)

    def forward(self, x: Tensor) -> Tensor:
        y = active(self.second(self.filter(active(self.first(x)))))
        skip: Tensor = self.skip(self.halved(x))
        return y + skip


def _unit(x: Tensor) -> Tensor:
    """Vectors [B, D] of unit mean square."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def _widths(data: DataSpec, width: int, max_width: int) -> list[int]:
    """Channels of each level, from full resolution to the coarsest grid, of at least 4 pixels a side; refuses what is
    no image of at least 8×8."""
    check_images("StyleGAN2", data)
    if width < 1 or max_width < 1:
        raise RequestError(f"StyleGAN2: width and max_width must be at least 1, found {width} and {max_width}")
    levels = (min(data.shape[1:]) // 4).bit_length() - 1
    return [min(width * 2**i, max_width) for i in range(levels + 1)]
