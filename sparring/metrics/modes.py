"""Which modes of the data samples fall into: the classes that a classifier reads, or the components of a mixture.

For classes: how many there are, in what shares, how clearly, and whether as asked. For mixtures of equal Gaussians: how
many components are found, and how many samples are close to one (Srivastava et al. 2017, VEEGAN, arXiv:1705.07761).
The divergence from equal shares, KL(p‖uniform) with p the samples' shares, is what PacGAN calls reverse KL (Lin et al.
2018, arXiv:1712.04086) and what is published for the 1,000 classes of stacked MNIST.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.interval import Interval, from_error, proportion
from sparring.metrics.metric import Better, Measured, Metric, Needs, Setting


class Classes(Metric):
    """Coverage and balance of classes, where the feature network can tell them; and whether labels came out as asked.

    `classes_covered` (share above `covered_above`), `class_min` and `class_max` (smallest and largest share),
    `class_kl` (KL of the shares from the reference's, nats), `confident` (share read with p > `confident_above`) with
    its interval, `label_accuracy` (conditional samples only) with its interval.
    """

    covered_above: float = 0.01
    confident_above: float = 0.9

    better: ClassVar[dict[str, Better]] = {
        "classes_covered": "higher",
        "class_kl": "lower",
        "confident": "higher",
        "label_accuracy": "higher",
    }
    needs: ClassVar[frozenset[Needs]] = frozenset({"classes"})

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        shares = fake.counts.double() / fake.counts.sum()
        best = fake.probabilities.max(1)
        values = {
            "classes_covered": float(num_covered(shares, self.covered_above)),
            "class_min": shares.min().item(),
            "class_max": shares.max().item(),
            "class_kl": kl_divergence(shares, real.counts.double() / real.counts.sum()),
        }
        confident = confident_share(best.values, self.confident_above)
        values |= proportion(round(confident * len(best.values)), len(best.values)).named("confident")
        if fake.y is not None:
            accuracy = label_accuracy(fake.y, best.indices)
            values |= proportion(round(accuracy * len(fake.y)), len(fake.y)).named("label_accuracy")
        return values


class Modes(Metric):
    """Coverage of many equally likely classes, as for stacked MNIST (1,000 classes; 26,000 samples are the custom).

    `num_modes` (classes read in at least one sample), `modes_kl` (KL of the shares from uniform, nats) and
    `modes_kl_floor`, (K − 1) / 2N: about what a perfect sampler of K equally likely classes gets with N samples, .0192
    for the custom. All N samples count, not only those kept.
    """

    better: ClassVar[dict[str, Better]] = {"num_modes": "higher", "modes_kl": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"classes"})

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        return _coverage(fake.counts)

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        num, num_modes = int(fake.counts.sum()), len(fake.counts)
        missed = num_modes * (1 - 1 / num_modes) ** num
        if missed >= 0.5:
            yield f"of {num_modes:,} modes, {num:,} samples of a perfect sampler miss about {missed:,.0f}"


class Mixture(Metric):
    """How well samples cover a mixture of equally likely, equally wide Gaussians: its K `centres` [K, d] and `sigma`.

    `num_modes` (components that are nearest to at least one high-quality sample), `high_quality` (share of samples
    within 3 sigma of a centre, with its interval), `modes_kl` (KL of the high-quality samples' shares from uniform,
    nats; none where there are no such samples) and `modes_kl_floor`. Samples of the mixture itself reach
    1 − e^(−4.5) = .9889 of high quality in two dimensions, and a `modes_kl` of about its floor. Published numbers are
    of 2,500 samples.

    What ranks is `mixture_kl`, all of these in one number: the KL, in nats, of the shares of K + 1 bins, the balls of
    3 sigma around the centres and all the rest, from those of the mixture. It rises with samples beside the modes, with
    modes that are missed or uneven, and also with modes that are too narrow; `mixture_kl_floor` is K / 2N.

    Asks for the features `values`. `scale` is how many of the mixture's units are one unit of the samples in [-1, 1]: a
    grid of centres from -4 to 4 that was divided by 5 for training has scale 5. By its name the metric measures known
    mixtures, `ring8` and `grid25`; centres of others are said here. Raises `RequestError` for other features, without
    centres, and for centres that do not fit each other or the samples.
    """

    centres: tuple[tuple[float, ...], ...] = ()
    sigma: float = 1.0
    scale: float = 1.0

    better: ClassVar[dict[str, Better]] = {
        "mixture_kl": "lower",
        "num_modes": "higher",
        "high_quality": "higher",
        "modes_kl": "lower",
    }

    def __post_init__(self) -> None:
        dims = sorted({len(centre) for centre in self.centres})
        if len(dims) > 1:
            raise RequestError(
                f"Mixture.centres: expected all of one dimension, found {len(self.centres)} of dimensions {dims}"
            )
        if not (self.sigma > 0 and self.scale > 0):
            raise RequestError(f"Mixture: expected sigma and scale above 0, found {self.sigma} and {self.scale}")

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        if setting.network.name != "values":
            raise RequestError(
                f"Mixture measures the samples' own values, found features {setting.network.name!r}; "
                f"use features 'values'"
            )
        if not self.centres:
            raise RequestError(
                "Mixture: where its modes are is known for the sets ring8 and grid25 alone; name others with "
                "Mixture(centres=..., sigma=...)"
            )
        points = (fake.features.double() * 2 - 1) * self.scale
        found = mixture_counts(points, torch.tensor(self.centres, dtype=torch.float64), self.sigma)
        quality = proportion(int(found.high_quality.sum()), len(points))
        count = len(self.centres)
        inside = torch.special.gammainc(
            torch.tensor(points.shape[1] / 2, dtype=torch.float64), torch.tensor(4.5, dtype=torch.float64)
        )
        law = torch.cat([(inside / count).expand(count), (1 - inside)[None]])
        rest = len(points) - int(found.high_quality.sum())
        shares = torch.cat([found.high_quality.double(), torch.tensor([rest], dtype=torch.float64)]) / len(points)
        kl = kl_interval(shares, law, len(points)).named("mixture_kl")
        kl |= {"mixture_kl_floor": kl_floor(count + 1, len(points))}
        return kl | _coverage(found.high_quality) | quality.named("high_quality")


class MixtureCounts(NamedTuple):
    """Samples by the component whose centre is nearest: int64 [K] each."""

    all: Tensor
    high_quality: Tensor
    """Those within 3 sigma of that centre."""


def mixture_counts(points: Tensor, centres: Tensor, sigma: float) -> MixtureCounts:
    """Points [N, d] by the nearest of centres [K, d] of equal Gaussians with that standard deviation per coordinate.

    Raises `RequestError` when their dimensions differ.
    """
    if points.dim() != 2 or centres.dim() != 2 or points.shape[1] != centres.shape[1]:
        raise RequestError(
            f"a mixture's centres must have the dimension of its samples, found samples {list(points.shape)} and "
            f"centres {list(centres.shape)}"
        )
    # The direct sum of squares: through inner products, distances far below the coordinates would lose their digits.
    nearest = torch.cdist(points.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1)
    close = nearest.indices[nearest.values < 3 * sigma]
    return MixtureCounts(nearest.indices.bincount(minlength=len(centres)), close.bincount(minlength=len(centres)))


def kl_floor(num_modes: int, num: int) -> float:
    """(K − 1) / 2N: the expectation, to first order, of KL(p‖uniform) in nats when p is counted from N >= 1 samples
    that are uniform on K modes (2N KL is then nearly chi-squared with K − 1 degrees of freedom: Wilks 1938)."""
    return (num_modes - 1) / (2 * num)


def _coverage(counts: Tensor) -> dict[str, float]:
    """The modes with at least one of the samples counted [K], their KL from uniform, and its floor."""
    num, num_modes = int(counts.sum()), len(counts)
    uniform = torch.full((num_modes,), 1 / num_modes, dtype=torch.float64)
    return {
        "num_modes": float((counts > 0).sum()),
        "modes_kl": kl_divergence(counts.double() / num, uniform) if num else math.nan,
        "modes_kl_floor": kl_floor(num_modes, num) if num else math.nan,
    }


def class_shares(labels: Tensor, num_classes: int) -> Tensor:
    """The share of each class among labels int64 [N], N >= 1: float64 [num_classes], summing to 1."""
    return torch.bincount(labels, minlength=num_classes).double() / len(labels)


def num_covered(shares: Tensor, above: float = 0.01) -> int:
    """How many classes have more than that share."""
    return int((shares > above).sum())


def kl_divergence(p: Tensor, q: Tensor) -> float:
    """KL(p‖q) in nats of two class distributions [K]; infinite where p has a class that q lacks.

    With p counted from N samples of q itself its expectation is about (K − 1) / 2N, not 0.
    """
    held = p > 0
    return (p[held] * (p[held] / q[held]).log()).sum().item()


def kl_interval(p: Tensor, q: Tensor, num: int) -> Interval:
    """KL(p‖q) of shares p [K] counted from `num` samples, with its 95 % interval.

    The error is that of the delta method, √((Σ p log²(p/q) − KL²) / N), with √(K / 2) / N beside it, which is what is
    left where p is q and the first order vanishes.
    """
    held = p > 0
    ratios = (p[held] / q[held]).log()
    kl = (p[held] * ratios).sum().item()
    first = max(0.0, (p[held] * ratios.square()).sum().item() - kl**2) / num
    return from_error(kl, math.sqrt(first + len(p) / 2 / num**2))


def confident_share(confidence: Tensor, above: float = 0.9) -> float:
    """The share of samples whose most probable class has a probability [N] above that."""
    return (confidence > above).double().mean().item()


def label_accuracy(requested: Tensor, read: Tensor) -> float:
    """The share of samples int64 [N] in which the classifier reads the label that was asked for."""
    if requested.shape != read.shape:
        raise RequestError(
            f"label accuracy: expected one requested label per sample, found {list(requested.shape)} labels "
            f"for {list(read.shape)} samples"
        )
    return (requested == read).double().mean().item()
