"""What a classifier reads in samples: which classes there are, in what shares, how clearly, and whether as asked."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.interval import proportion
from sparring.metrics.metric import Better, Measured, Metric, Needs, Setting


class Classes(Metric):
    """Coverage and balance of classes, where the feature network can tell them; and whether labels came out as asked.

    `classes_covered` (share above `covered_above`), `class_min` and `class_max` (smallest and largest share),
    `class_kl` (KL of the shares from the reference's, nats), `confident` (share read with p > `confident_above`),
    `label_accuracy` (conditional samples only) with its interval.
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
            "confident": confident_share(best.values, self.confident_above),
        }
        if fake.y is not None:
            accuracy = label_accuracy(fake.y, best.indices)
            values |= proportion(round(accuracy * len(fake.y)), len(fake.y)).named("label_accuracy")
        return values


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
