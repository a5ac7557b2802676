"""Differentiable augmentation (Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training").

Section 3: D sees T(x) of real samples and T(G(z)) of fakes in its own turn, and T(G(z)) again in the
generator's, whose gradient passes through T. Were T left out of any of the three, the generator would learn T's
results or lose its teacher.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.core.game import Show
from sparring.core.protocols import DataSpec
from sparring.games.show.policy import check_images, check_policy

Augmentation = Literal["colour", "translation", "cutout"]


class DiffAugment(Show):
    """Images x [B, C, H, W] in [-1, 1] changed at random, each sample by itself, in the order of `policy`.

    - colour: brightness x + b, b in [-.5, .5]; saturation m + s (x - m) about the mean m over channels, s in [0, 2]
      (only where there are 3 channels); contrast μ + c (x - μ) about the mean μ of the sample, c in [.5, 1.5].
    - translation: by up to 1/8 of each side, in whole pixels; what comes in from outside is 0.
    - cutout: a square of half of each side is 0; its centre is anywhere, so that it may reach over the border.

    All are uniform, and applied to every sample. Take it when there are few data, from a hundred images to a tenth of
    CIFAR-10: it costs little and has nothing to tune. Its weakness: the strength does not follow how much the
    discriminator overfits, as that of `ADA` does. Values may leave [-1, 1].
    """

    policy: tuple[Augmentation, ...] = ("colour", "translation", "cutout")

    def __post_init__(self) -> None:
        check_policy("DiffAugment", self.policy, Augmentation)

    def check(self, data: DataSpec, net: nn.Module) -> None:
        check_images("DiffAugment", data)

    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        for name in self.policy:
            x = STEPS[name](x)
        return x, y


def recoloured(x: Tensor) -> Tensor:
    """Brightness, saturation, contrast."""
    x = x + _uniform(x, -0.5, 0.5)
    if x.shape[1] == 3:
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * _uniform(x, 0, 2)
    centre = x.mean((1, 2, 3), keepdim=True)
    return centre + (x - centre) * _uniform(x, 0.5, 1.5)


def translated(x: Tensor) -> Tensor:
    """Each sample moved by up to 1/8 of its sides; halves are rounded up."""
    for axis in (2, 3):
        size = x.shape[axis]
        most = (size + 4) // 8
        by = torch.randint(-most, most + 1, (len(x), 1), device=x.device)
        index = torch.arange(size, device=x.device) + most + by
        wide = F.pad(x, (0, 0, most, most) if axis == 2 else (most, most))
        index = index[:, None, :, None] if axis == 2 else index[:, None, None, :]
        x = wide.gather(axis, index.expand(x.shape))
    return x


def cut_out(x: Tensor) -> Tensor:
    """Each sample with a square of 0; sides are half of its own, halves rounded up."""
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    for axis in (2, 3):
        size = x.shape[axis]
        side = (size + 1) // 2
        # All places at which the square's middle lies on the image: as many as there are pixels, one more where the
        # middle of an even side falls between two of them.
        first = torch.randint(size + 1 - side % 2, (len(x), 1), device=x.device) - side // 2
        at = torch.arange(size, device=x.device)
        within = (at >= first) & (at < first + side)
        inside = inside & (within[:, None, :, None] if axis == 2 else within[:, None, None, :])
    return x.masked_fill(inside, 0)


STEPS = {"colour": recoloured, "translation": translated, "cutout": cut_out}


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    """One number for each sample [B, 1, 1, 1]."""
    return low + (high - low) * torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
