"""Adaptive discriminator augmentation (Karras et al. 2020, "Training generative adversarial networks with limited
data", StyleGAN2-ADA).

Every sample that the discriminator sees passes a row of transformations, each applied with the same probability p
(section 2 and appendix B). p follows the heuristic r_t = E[sign D(real)] (section 3, equation 1): above the target the
discriminator is too sure of the real samples, it overfits, and p grows.
"""

from __future__ import annotations

import copy
import math
from typing import Literal, Self

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock, Memory, Seen
from sparring.core.game import Show
from sparring.core.protocols import DataSpec
from sparring.games.show.policy import check_images, check_policy
from sparring.games.show.warp import warp

Transformation = Literal[
    "flip",
    "quarter_turn",
    "translation",
    "scale",
    "rotation",
    "stretch",
    "drift",
    "brightness",
    "contrast",
    "luma_flip",
    "hue",
    "saturation",
    "noise",
    "cutout",
]
BLIT: tuple[Transformation, ...] = ("flip", "quarter_turn", "translation")
GEOMETRY: tuple[Transformation, ...] = ("scale", "rotation", "stretch", "drift")
COLOUR: tuple[Transformation, ...] = ("brightness", "contrast", "luma_flip", "hue", "saturation")
CORRUPTION: tuple[Transformation, ...] = ("noise", "cutout")


class ADA(Show):
    """Images x [B, C, H, W] in [-1, 1], each sample by itself, through the transformations named in `policy`, each
    with probability p, in the order of the list below.

    - flip: mirrored left to right, or not; quarter_turn: by 0, 1, 2 or 3; translation: by whole pixels, uniform up to
      1/8 of each side.
    - scale: by 2^(.2 N); rotation: by any angle, before or after the stretch, so that p is the probability of either;
      stretch: by s and 1/s along the axes, s = 2^(.2 N); drift: by .125 N of each side. N is standard normal.
    - brightness: + .2 N; contrast: × 2^(.5 N); luma_flip: the mean over channels changes its sign, or not; with 3
      channels also hue: by any angle about the grey axis, and saturation: × 2^N.
    - noise: N(0, σ²) with σ = |.1 N|; cutout: a square of half of each side is 0.

    All geometry is one bilinear look-up, mirrored at the borders; the paper's wavelet filter, and its random filters
    of frequency bands, are left out. At p = 0 every number stays what it is.

    After every step of the discriminator p moves up or down by (images in the step) / `images`, within [0, 1], so that
    it takes `images` images from 0 to 1: up where the mean over the last four batches of sign D(real) is above
    `target`, down where it is below. A relativistic discriminator's logits mean nothing by themselves: `paired` takes
    sign(D(real) - D(fake)) instead (Huang et al. 2024, R3GAN).

    Where there is a `final`, p follows nothing: it goes from `p` to `final` along half a cosine until the share `until`
    of the run (R3GAN). `colour` is the share of p with which a change of colour is made; R3GAN's is one half.

    Take it for a few thousand images, where `DiffAugment` is too strong or too weak and nobody knows. Its weaknesses:
    it reacts to overfitting and does not foresee it, r_t depends on the loss, and transformations leak into the samples
    when p is high. That they do not is shown by the paper for p below about .8, and not claimed here above that.
    Values may leave [-1, 1].
    """

    policy: tuple[Transformation, ...] = (*BLIT, *GEOMETRY, *COLOUR)
    p: float = 0.0
    """At the start."""
    target: float = 0.6
    images: int = 500_000
    paired: bool = False
    final: float | None = None
    until: float = 1.0
    colour: float = 1.0

    def __post_init__(self) -> None:
        check_policy("ADA", self.policy, Transformation)
        if not 0 <= self.p <= 1 or not -1 < self.target < 1 or self.images < 1:
            raise RequestError(
                f"ADA: expected 0 <= p <= 1, -1 < target < 1 and images >= 1, found {self.p}, {self.target}, "
                f"{self.images}"
            )
        if not (0 <= (self.final or 0.0) <= 1 and 0 < self.until <= 1 and 0 <= self.colour <= 1):
            raise RequestError(
                f"ADA: expected final and colour in [0, 1] and until in (0, 1], found {self.final}, {self.colour}, "
                f"{self.until}"
            )

    def check(self, data: DataSpec, net: nn.Module) -> None:
        check_images("ADA", data)

    def at(self, clock: Clock, memory: Memory) -> Self:
        if self.final is None:
            return super().at(clock, memory)
        now = copy.copy(self)
        share = (1 + math.cos(math.pi * min(1.0, clock.progress / self.until))) / 2
        object.__setattr__(now, "p", self.final + (self.p - self.final) * share)
        return now

    def memory(self, data: DataSpec) -> Memory:
        if self.final is not None:
            return {}
        # `excess` is r_t - target of the last four batches, the newest last; before the first there is none.
        return {"p": torch.tensor(self.p), "excess": torch.zeros(4)}

    @torch.no_grad()
    def after(self, memory: Memory, real: Seen, fake: Seen) -> None:
        if self.final is not None:
            return
        difference = real.logits - fake.logits if self.paired else real.logits
        excess = memory["excess"]
        newest = (difference.sign().mean() - self.target).to(excess.dtype)
        excess.copy_(torch.cat([excess[1:], newest.view(1)]))
        memory["p"].add_(excess.mean().sign() * (len(real.x) / self.images)).clamp_(0, 1)

    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        shown = x.to(torch.promote_types(x.dtype, torch.float32))
        if any(name in (*BLIT, *GEOMETRY) for name in self.policy):
            shown = warp(shown, self._maps(shown))
        shown = self._recoloured(shown)
        if "noise" in self.policy:
            deviation = self._maybe(0.1 * _normal(shown).abs(), 0)
            shown = shown + _each(deviation) * torch.randn_like(shown)
        if "cutout" in self.policy:
            shown = self._cut_out(shown)
        return shown.to(x.dtype), y

    def _maps(self, x: Tensor) -> Tensor:
        """Where each pixel of what is shown is looked up, [B, 2, 3] as `warp` reads it.

        The paper multiplies transformations from the left and looks up by the inverse. Here the inverses are drawn
        themselves, whose laws are the same, and multiplied from the right.
        """
        height, width = x.shape[-2:]
        zero, one = torch.zeros_like(_normal(x)), torch.ones_like(_normal(x))
        total = _matrix(one, zero, zero, zero, one, zero)
        policy = self.policy
        turn_p = 1 - (1 - self.p) ** 0.5
        if "flip" in policy:
            total = _then(total, _matrix(1 - 2 * self._maybe(_whole(x, 2), 0), zero, zero, zero, one, zero))
        if "quarter_turn" in policy:
            turns = self._maybe(_whole(x, 4), 0)
            # Not by sine and cosine, which would leave a hundredth of a millionth of the neighbouring pixel.
            cosine, sine = (turns == 0).to(one) - (turns == 2).to(one), (turns == 1).to(one) - (turns == 3).to(one)
            total = _then(total, _matrix(cosine, -sine, zero, sine, cosine, zero))
        if "translation" in policy:
            chosen = self._chosen(x)
            across, down = ((size * 0.125 * _uniform(x)).round() for size in (width, height))
            total = _then(total, _matrix(one, zero, across * chosen, zero, one, down * chosen))
        if "scale" in policy:
            scale = self._maybe(torch.exp2(0.2 * _normal(x)), 1)
            total = _then(total, _matrix(scale, zero, zero, zero, scale, zero))
        if "rotation" in policy:
            total = _then(total, _rotation(self._maybe(math.pi * _uniform(x), 0, turn_p)))
        if "stretch" in policy:
            stretch = self._maybe(torch.exp2(0.2 * _normal(x)), 1)
            total = _then(total, _matrix(stretch, zero, zero, zero, 1 / stretch, zero))
        if "rotation" in policy:
            total = _then(total, _rotation(self._maybe(math.pi * _uniform(x), 0, turn_p)))
        if "drift" in policy:
            chosen = self._chosen(x)
            across, down = (size * 0.125 * _normal(x) * chosen for size in (width, height))
            total = _then(total, _matrix(one, zero, across, zero, one, down))
        return total[:, :2]

    def _recoloured(self, x: Tensor) -> Tensor:
        p = self.p * self.colour
        if "brightness" in self.policy:
            x = x + _each(self._maybe(0.2 * _normal(x), 0, p))
        if "contrast" in self.policy:
            x = x * _each(self._maybe(torch.exp2(0.5 * _normal(x)), 1, p))
        if "luma_flip" in self.policy:
            x = x - _each(2 * self._maybe(_whole(x, 2), 0, p)) * x.mean(1, keepdim=True)
        if x.shape[1] != 3:
            return x
        # What differs from grey, and the same a quarter turn about the grey axis further on. Changes are added, so that
        # no change leaves every number as it is.
        if "hue" in self.policy:
            angle = _each(self._maybe(math.pi * _uniform(x), 0, p))
            chroma = x - x.mean(1, keepdim=True)
            further = (chroma.roll(1, 1) - chroma.roll(-1, 1)) / math.sqrt(3)
            x = x + (angle.cos() - 1) * chroma + angle.sin() * further
        if "saturation" in self.policy:
            x = x + (_each(self._maybe(torch.exp2(_normal(x)), 1, p)) - 1) * (x - x.mean(1, keepdim=True))
        return x

    def _cut_out(self, x: Tensor) -> Tensor:
        inside = _each(self._chosen(x))
        for axis in (2, 3):
            size = x.shape[axis]
            place = (torch.arange(size, device=x.device, dtype=x.dtype) + 0.5) / size
            near = (place - (_uniform(x)[:, None] + 1) / 2).abs() < 0.25
            inside = inside & (near[:, None, :, None] if axis == 2 else near[:, None, None, :])
        return x.masked_fill(inside, 0)

    def _chosen(self, x: Tensor, p: float | None = None) -> Tensor:
        """True [B] with probability p each; the part's own where it is None."""
        return torch.rand(len(x), device=x.device) < (self.p if p is None else p)

    def _maybe(self, values: Tensor, neutral: float, p: float | None = None) -> Tensor:
        """The values [B] where chosen, elsewhere what changes nothing."""
        return torch.where(self._chosen(values, p), values, neutral)


def _normal(x: Tensor) -> Tensor:
    return torch.randn(len(x), device=x.device, dtype=x.dtype)


def _uniform(x: Tensor) -> Tensor:
    """Numbers [B] in [-1, 1)."""
    return 2 * torch.rand(len(x), device=x.device, dtype=x.dtype) - 1


def _whole(x: Tensor, choices: int) -> Tensor:
    return torch.randint(choices, (len(x),), device=x.device).to(x.dtype)


def _each(values: Tensor) -> Tensor:
    """[B] as [B, 1, 1, 1]."""
    return values[:, None, None, None]


def _rotation(angle: Tensor) -> Tensor:
    zero = torch.zeros_like(angle)
    return _matrix(angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """Rows (a, b, c), (d, e, f), (0, 0, 1) for each sample: [B, 3, 3]."""
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack([a, b, c, d, e, f, zero, zero, one], dim=1).view(-1, 3, 3)


def _then(total: Tensor, after: Tensor) -> Tensor:
    """The product of matrices, without the coarse arithmetic that a run may choose for large ones."""
    return (total[:, :, :, None] * after[:, None]).sum(2)
