"""DCGAN (Radford, Metz and Chintala 2016) for images of any height, width and number of channels from 8×8 up.

Convolutions alone, halving and doubling the image: a 4×4 kernel at stride 2, which covers every pixel equally often.
The number of doublings n is the largest for which min(H, W) / 2^n is at least 4, so the generator's coarsest grid is
7×7 for 28×28 images and 6×10 for 24×40. Level i has ceil(H / 2^i) × ceil(W / 2^i) pixels; where doubling gives one
row or column too many, the last is cut off, so that no size needs to be resized or padded.

Away from the paper, because it measured better: no normalisation in the discriminator (batch statistics of real and
fake differ, and penalties on per-sample gradients need per-sample logits); minibatch standard deviation before its
head (Karras et al. 2018), over the whole batch; torch's own initialisation, uniform within ±1/sqrt(fan-in), in both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers.minibatch_std import AppendStd
from sparring.networks.labels import require_labels, with_labels


class DCGANGenerator(NetworkSpec):
    """G(z, y) -> x [B, C, H, W] in [-1, 1].

    `width` channels at full resolution, twice as many at each coarser level, at most `max_width`. A label is appended
    to z as one-hot.

    >>> from sparring.core.protocols import DataSpec
    >>> mnist = DataSpec(name="mnist", shape=(1, 28, 28))
    >>> sum(p.numel() for p in DCGANGenerator().build(mnist, z_dim=64).parameters())
    242033
    """

    width: int = 16
    max_width: int = 512

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        levels = _check(data, self.width, self.max_width)
        widths = [min(self.width * 2**i, self.max_width) for i in range(levels + 1)]
        return Upward(data, z_dim, widths)


class DCGANDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B].

    `width` channels at half the resolution, twice as many at each coarser level, at most `max_width`. A label is
    judged by projection (Miyato and Koyama 2018): logit = w·φ(x) + b + e(y)·φ(x), with φ the features of the last
    level and e(y) an embedding that starts at zero, so that labels have no say before they are learned.

    >>> from sparring.core.protocols import DataSpec
    >>> mnist = DataSpec(name="mnist", shape=(1, 28, 28))
    >>> sum(p.numel() for p in DCGANDiscriminator().build(mnist, z_dim=64).parameters())
    41914
    """

    width: int = 16
    max_width: int = 512

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        levels = _check(data, self.width, self.max_width)
        widths = [min(self.width * 2**i, self.max_width) for i in range(levels + 1)]
        return Downward(data, widths)


class Upward(nn.Module):
    """The generator's module. `widths[i]` channels at level i, which is 2^i times coarser than the image."""

    def __init__(self, data: DataSpec, z_dim: int, widths: list[int]) -> None:
        super().__init__()
        self.num_classes = data.num_classes
        channels, height, width = data.shape
        self.sizes = [(-(-height // 2**i), -(-width // 2**i)) for i in range(len(widths))]
        bottom = len(widths) - 1
        (h, w), c = self.sizes[bottom], widths[bottom]
        self.coarsest = (h, w, c)
        # A bias before batch normalisation would be subtracted again.
        self.dense = nn.Linear(z_dim + data.num_classes, h * w * c, bias=False)
        self.norm = nn.BatchNorm2d(c)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(widths[i + 1], widths[i], 4, 2, 1, bias=False) for i in reversed(range(bottom))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(widths[i]) for i in reversed(range(bottom)))
        self.to_image = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.dense(with_labels(z, y, self.num_classes))
        # Channels last in memory, which is what convolutions are fastest on, without a copy.
        x = x.unflatten(1, self.coarsest).permute(0, 3, 1, 2)
        x = self.norm(x).relu()
        for up, norm, (h, w) in zip(self.ups, self.norms, reversed(self.sizes[:-1]), strict=True):
            x = norm(up(x)[:, :, :h, :w]).relu()
        return torch.tanh(self.to_image(x))


class Downward(nn.Module):
    """The discriminator's module. `widths[i]` channels at level i + 1, of floor(H / 2^(i + 1)) rows."""

    def __init__(self, data: DataSpec, widths: list[int]) -> None:
        super().__init__()
        self.num_classes = data.num_classes
        channels, height, width = data.shape
        self.downs = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1) for before, after in zip([channels, *widths], widths, strict=False)
        )
        self.std = AppendStd(group_size=64)
        pixels = (height >> len(widths)) * (width >> len(widths))
        self.head = nn.Linear((widths[-1] + 1) * pixels, 1)
        if data.num_classes:
            self.embedding = nn.Embedding(data.num_classes, self.head.in_features)
            nn.init.zeros_(self.embedding.weight)

    def features(self, x: Tensor) -> Tensor:
        """φ(x) [B, F]: the last level and the minibatch standard deviation, flattened."""
        for down in self.downs:
            x = nn.functional.leaky_relu(down(x), 0.2)
        features: Tensor = self.std(x).flatten(1)
        return features

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = self.features(x)
        logits: Tensor = self.head(features).squeeze(1)
        if self.num_classes:
            logits = logits + (self.embedding(require_labels(y, self.num_classes)) * features).sum(1)
        return logits


def _check(data: DataSpec, width: int, max_width: int) -> int:
    """The number of doublings; refuses what is no image of at least 8×8."""
    if not data.is_image or min(data.shape[1:]) < 8:
        raise RequestError(
            f"DCGAN: expected images of at least 8×8 pixels, found {data.name} of shape {data.shape}: take an MLP"
        )
    if not (width >= 1 and max_width >= 1):
        raise RequestError(f"DCGAN: width and max_width must be at least 1, found {width} and {max_width}")
    levels = 1
    while min(data.shape[1:]) >= 4 * 2 ** (levels + 1):
        levels += 1
    return levels
