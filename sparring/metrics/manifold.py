"""Fidelity and variety apart: how much of each set lies near the other, by balls that reach to the k-th neighbour.

Around every sample lies a ball whose radius is the distance to its k-th nearest other sample of the same set; the
balls of a set together stand for its support.

- Precision is the share of fakes inside any ball of a real sample, recall the share of real samples inside any ball of
  a fake (Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2). The surface counts as inside (`<=`), and the k-th
  other sample is the (k + 1)-th when a sample counts as its own nearest, as in the authors' code and torch-fidelity.
- Density is the mean number of real balls that a fake lies in, over k; coverage is the share of real balls that hold a
  fake (Naeem et al. 2020, arXiv:2002.09797, §3). The surface counts as outside (`<`), as in their package
  prdc, so that a copy of the reference has density 1 exactly.

A generator that samples the very distribution of the reference has density 1 and a coverage known in advance
(`coverage_by_chance`), but precision and recall below 1, the more so the higher the dimension: .98 in 2 and .61 in 64
dimensions for Gaussians and 2,000 samples. All but density also move with the numbers of samples.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.distances import held_by_balls, in_any_ball, nearest_others
from sparring.metrics.interval import Interval, from_error, proportion
from sparring.metrics.metric import Better, Measured, Metric, Setting


class PrecisionRecall(Metric):
    """`precision` and `recall` with their intervals.

    The intervals are those of shares of independent samples given the other set's balls. They leave out that another
    draw would move the balls: redrawn as a whole, both vary about 1.3 times as widely.
    """

    k: int = 3

    better: ClassVar[dict[str, Better]] = {"precision": "higher", "recall": "higher"}

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        precision, recall = precision_recall(fake.features, real.features, self.k)
        return precision.named("precision") | recall.named("recall")


class DensityCoverage(Metric):
    """`density` and `coverage` with their intervals; `coverage_real`, what samples of the reference's own distribution
    would get on average: the ceiling that the numbers of samples set.

    The intervals are those of independent samples given the other set. They leave out that another draw would move the
    balls, and, of coverage, that other fakes would fall into other balls: redrawn as a whole, both vary about 1.5 times
    as widely.
    """

    k: int = 5

    better: ClassVar[dict[str, Better]] = {"density": "higher", "coverage": "higher"}
    fewest: ClassVar[int] = 6

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        density, coverage = density_coverage(fake.features, real.features, self.k)
        by_chance = coverage_by_chance(len(fake.features), len(real.features), self.k)
        return density.named("density") | coverage.named("coverage") | {"coverage_real": by_chance}


def precision_recall(fake: Tensor, real: Tensor, k: int = 3) -> tuple[Interval, Interval]:
    """Precision and recall of fake [N, d] against real [M, d], shares in [0, 1].

    Raises `RequestError` for k samples or fewer on either side, and for values that are not finite.
    """
    real_radii, fake_radii = (nearest_others(x, k).distances[:, -1] for x in (real, fake))
    precise, recalled = in_any_ball(fake, real, real_radii), in_any_ball(real, fake, fake_radii)
    return proportion(int(precise.sum()), len(fake)), proportion(int(recalled.sum()), len(real))


def density_coverage(fake: Tensor, real: Tensor, k: int = 5) -> tuple[Interval, Interval]:
    """Density, >= 0 and possibly above 1, and coverage in [0, 1] of fake [N, d], N >= 2, against real [M, d].

    Raises `RequestError` for k real samples or fewer, and for values that are not finite.
    """
    held = held_by_balls(fake, real, nearest_others(real, k).distances[:, -1])
    density = held.balls.double() / k
    error = (density.std() / len(fake) ** 0.5).item()
    return from_error(density.mean().item(), error, len(fake) - 1), proportion(int((held.points > 0).sum()), len(real))


def coverage_by_chance(num_fake: int, num_real: int, k: int = 5) -> float:
    """The expected coverage of fakes from the distribution of the reference itself, whatever that is, without ties.

    A real ball is empty when the k nearest among the other num_real − 1 real samples and all fakes are real:
    1 − ∏ (num_real − 1 − j) / (num_real + num_fake − 1 − j), j = 0 … k − 1 (after Naeem et al. 2020, §3).

    >>> coverage_by_chance(2000, 2000)
    0.9688...
    """
    j = torch.arange(k, dtype=torch.float64)
    return 1 - ((num_real - 1 - j) / (num_real + num_fake - 1 - j)).prod().item()
