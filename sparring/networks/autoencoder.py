"""A discriminator that reconstructs what it is shown (Zhao et al. 2017, "Energy-based generative adversarial networks",
section 2.3): the error is the energy of the sample, low for what it has learned to reconstruct.

Images of at least 8×8 pixels are halved by convolutions and doubled by repeating pixels and convolving, as in BEGAN
(Berthelot et al. 2017). Level i has floor(H / 2^i) × floor(W / 2^i) pixels; on the way up each level's size is taken as
it was on the way down, so any size fits. Nothing is normalised: an energy is of its sample alone.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.networks.labels import count, with_condition


class AutoencoderDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B], minus the mean over x's numbers of |x - reconstruction|^power: never above 0.

    `width` channels at half an image's resolution, twice as many at each coarser level, at most `max_width`. Vectors
    and smaller images go through two hidden layers of `max_width` units each way. In the middle is a code of `code`
    numbers, with what is read of y beside it. `power` is 2 in EBGAN, 1 in BEGAN's experiments. For energy-based games.
    """

    width: int = 16
    max_width: int = 256
    code: int = 64
    power: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        if min(self.width, self.max_width, self.code) < 1 or self.power not in (1, 2):
            raise RequestError(
                "AutoencoderDiscriminator: expected width, max_width and code of at least 1 and power 1 or 2, found "
                f"{self.width}, {self.max_width}, {self.code} and {self.power}"
            )

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        inner = self.code + count(data)
        if not data.is_image or min(data.shape[1:]) < 8:
            numbers, hidden = math.prod(data.shape), self.max_width
            encoder: nn.Module = nn.Sequential(nn.Flatten(), *_dense(numbers, hidden, hidden, self.code))
            decoder: nn.Module = nn.Sequential(*_dense(inner, hidden, hidden, numbers), nn.Unflatten(1, data.shape))
            return Autoencoder(encoder, decoder, data, self.power)
        channels, *size = data.shape
        sizes, widths = [tuple(size)], [channels]
        while min(sizes[-1]) >= 8:
            sizes.append(tuple(n // 2 for n in sizes[-1]))
            widths.append(min(self.width * 2 ** (len(sizes) - 2), self.max_width))
        downs = [
            m for before, after in pairwise(widths) for m in (nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2))
        ]
        coarsest = (widths[-1], *sizes[-1])
        encoder = nn.Sequential(*downs, nn.Flatten(), nn.Linear(math.prod(coarsest), self.code))
        decoder = Decoder(inner, coarsest, sizes[-2::-1], [*widths[-2:0:-1], widths[1]], channels)
        return Autoencoder(encoder, decoder, data, self.power)


class Autoencoder(nn.Module):
    """The discriminator's module, of an encoder to codes [B, code] and a decoder from codes and labels to x."""

    is_energy = True
    per_sample = True

    def __init__(self, encoder: nn.Module, decoder: nn.Module, data: DataSpec, power: int) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.data, self.power = data, power

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """What is made of x [B, *shape] by way of its code, in the same shape."""
        again: Tensor = self.decoder(with_condition(self.encoder(x), y, self.data))
        return again

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        error = x - self.reconstruct(x, y)
        return -error.abs().pow(self.power).flatten(1).mean(1)


class Decoder(nn.Module):
    """Codes to images: the coarsest grid (C, H, W), then for each size on the way up a convolution to its width."""

    def __init__(
        self,
        code: int,
        coarsest: tuple[int, ...],
        sizes: list[tuple[int, ...]],
        widths: list[int],
        channels: int,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.dense = nn.Sequential(nn.Linear(code, math.prod(coarsest)), nn.Unflatten(1, coarsest))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise([coarsest[0], *widths])
        )
        self.to_image = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        x: Tensor = self.dense(code)
        for size, convolution in zip(self.sizes, self.convolutions, strict=True):
            x = leaky_relu(convolution(interpolate(x, size)), 0.2)
        image: Tensor = self.to_image(x)
        return image


def _dense(*widths: int) -> list[nn.Module]:
    """Fully connected layers from the first width to the last, LeakyReLU 0.2 between them."""
    layers: list[nn.Module] = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
    return layers[:-1]
