"""Each class by itself: a distance between generated and real samples of one label, and what is read in them.

Averaged over classes it is the intra-class FID of Miyato and Koyama 2018 (arXiv:1802.05637, section 5). A distance over
all classes together does not notice labels that are swapped, and hardly one class that fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.frechet import frechet_distance
from sparring.metrics.metric import Better, Measured, Metric, Setting
from sparring.metrics.modes import label_accuracy
from sparring.metrics.summary import moments


class PerClass(Metric):
    """For labelled samples and a labelled reference, of those kept, for each class k:

    `fid_class_<k>`, the Fréchet distance between generated and real samples of label k, and `accuracy_class_<k>`, the
    share of samples asked to be k that are read as k, where the network's classes are as many as the labels'.
    `fid_class_mean` and `fid_class_worst` (the greatest) summarise the distances. `share_class_<k>` is the share of all
    samples, labelled or not, that the network reads as k. More than 100 classes get no values of their own.

    A class without two samples on both sides has no distance, and the notes say so. Distances fall as the number of
    samples of a class grows: they compare between equal numbers only.
    """

    most: ClassVar[int] = 100
    """Classes that get values of their own."""
    better: ClassVar[dict[str, Better]] = {"fid_class_mean": "lower", "fid_class_worst": "lower"}

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        values: dict[str, float] = {}
        if 0 < len(fake.counts) <= self.most:
            shares = fake.counts.double() / fake.counts.sum()
            values |= {f"share_class_{k}": share for k, share in enumerate(shares.tolist())}
        if fake.y is None or real.y is None:
            return values
        distances = class_distances(fake.features, fake.y, real.features, real.y, setting.num_classes)
        if setting.num_classes <= self.most:
            values |= {f"fid_class_{k}": distance for k, distance in distances.items()}
            if setting.num_classes == setting.network.num_classes:
                accuracies = class_accuracies(fake.y, fake.probabilities.argmax(1))
                values |= {f"accuracy_class_{k}": accuracy for k, accuracy in accuracies.items()}
        if distances:
            values["fid_class_mean"] = sum(distances.values()) / len(distances)
            values["fid_class_worst"] = max(distances.values())
        return values

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        if fake.y is None or real.y is None:
            without = "samples have" if fake.y is None else "reference has"
            yield f"no distances per class: the {without} no labels"
            return
        fewest = _fewest(fake.y, real.y, setting.num_classes)
        left_out = (fewest < 2).nonzero().flatten().tolist()
        if left_out:
            yield f"no distance for {_classes(left_out)}: fewer than 2 samples kept"
        few = ((fewest >= 2) & (fewest <= setting.network.dim)).nonzero().flatten().tolist()
        if few:
            yield (
                f"{_classes(few)}: at most {setting.network.dim} samples for {setting.network.dim} features; the "
                f"covariance is singular and fid_class far too high"
            )


def class_distances(fake: Tensor, fake_y: Tensor, real: Tensor, real_y: Tensor, num_classes: int) -> dict[int, float]:
    """The Fréchet distance of features fake [N, d] and real [M, d] of each label in [0, num_classes), by the label.

    Labels with fewer than 2 samples on either side, which have no covariance, are not in it.
    """
    fewest = _fewest(fake_y, real_y, num_classes).tolist()
    return {k: _distance(fake[fake_y == k], real[real_y == k]) for k in range(num_classes) if fewest[k] >= 2}


def class_accuracies(requested: Tensor, read: Tensor) -> dict[int, float]:
    """The share of samples asked to be of a class, labels int64 [N], that are read as it, by the classes asked for."""
    asked = requested.bincount().nonzero().flatten().tolist()
    return {k: label_accuracy(requested[requested == k], read[requested == k]) for k in asked}


def _distance(fake: Tensor, real: Tensor) -> float:
    """The Fréchet distance of fake [n, d] and real [m, d], in the space that they span where n + m < d.

    It is the same there, and a hundred classes of a hundred samples in 2,048 features cost seconds, not half an hour.
    """
    fake, real = fake.double(), real.double()
    if len(fake) + len(real) < fake.shape[1]:
        basis = torch.linalg.qr(torch.cat([fake, real]).T).Q
        fake, real = fake @ basis, real @ basis
    return frechet_distance(*moments(fake), *moments(real))


def _fewest(fake_y: Tensor, real_y: Tensor, num_classes: int) -> Tensor:
    """How many samples of each label the side with fewer of them has: int64 [num_classes]."""
    return fake_y.bincount(minlength=num_classes).minimum(real_y.bincount(minlength=num_classes))


def _classes(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10])) + (f" and {len(numbers) - 10} more" if len(numbers) > 10 else "")
    return f"class {shown}" if len(numbers) == 1 else f"classes {shown}"
