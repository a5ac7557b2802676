"""Does a generator repeat what it was trained on? Distances to the nearest training sample, beside those that real
samples have which it never saw.

Such a distance means nothing alone: data come dense in one place and sparse in another, and unseen real samples are
close to some training sample too. So every number stands beside the one that the held-out samples get.

- A sample is authentic when it is farther from its nearest training sample than that one's own nearest neighbour in the
  training set (Alaa et al. 2022, arXiv:2102.08921, §4). For samples of the training set's own distribution the share is
  not one half: 33.33, 37.85 and 40.74 % for uniform data in 1, 2 and 3 dimensions.
- C_T asks whether generated samples lie nearer to the training set than held-out ones (Meehan, Chaudhuri and Dasgupta
  2020, arXiv:2004.05675, §3): the z-score of a Mann–Whitney test in each of a few cells, averaged. About 0 when not,
  far below when so. It also falls for a generator that shows mostly kinds of samples that lie close together, which
  is no memorisation.
- Copies are the samples whose distance to the nearest training sample, in units of that one's own distance to its
  nearest neighbour, is at most that of the closest hundredth of the held-out samples. The unit makes dense and sparse
  kinds of data alike. The hundredth is rare enough that one copy in twenty samples shows, and is still the tenth
  smallest, not an outlier, of 1,000 held-out samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from scipy import stats
from sklearn.cluster import KMeans
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.distances import finite, nearest, nearest_others
from sparring.metrics.interval import Interval, proportion
from sparring.metrics.metric import Better, Measured, Metric, Needs, Setting
from sparring.metrics.summary import moments

CLOSEST = 0.01
"""The share of held-out samples whose closeness to the training set makes a generated sample a copy."""
MARGIN = 0.04
"""How many more copies, as a share of all samples, than unseen real samples have are called memorised."""


class Memorisation(Metric):
    """`authentic_share` with its interval, `authentic_share_held_out`; `copies` and `copies_held_out` (.01 but for
    rounding and ties), each with its interval; `ct`. The reference must be what the generator was trained on; what ends
    in `_held_out` is what real samples get that were not.

    Intervals are those of shares of independent samples, given the training set and, of `copies`, the distance that
    makes a copy. Only training samples whose features are kept can be recognised: a note says when some are not.
    Variants of a training sample are found as far as they are near it in the judge's features: on MNIST in digits28,
    with 1,000 samples, a replay is found also with noise of 5 % or a shift of one pixel sideways, and from one copy in
    ten samples; not with noise of 10 %, a diagonal shift, or one copy in twenty (`bench/memorisation.py`).
    """

    cells: int = 3

    better: ClassVar[dict[str, Better]] = {"authentic_share": "higher", "copies": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"held_out"})

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        sets = fake.features, real.features, _held_out(setting)
        return _values(closeness(*sets)) | {"ct": ct(*sets, cells=self.cells)}

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        if setting.split == "test":
            yield "the reference is a test split: copies are looked for in what the generator was trained on, name that"
        if memorised(values):
            yield (
                f"memorisation is suspected: {values['copies']:.1%} of the samples are as close to a training sample "
                f"as only {values['copies_held_out']:.1%} of unseen real samples are"
            )
        kept, trained = len(real.features), real.summary.num
        if kept < trained:
            yield (
                f"samples are compared with {kept:,} of {trained:,} training samples: about {kept / trained:.0%} of "
                f"any copies are seen"
            )


class Closeness(NamedTuple):
    """How close samples come to the training set, and unseen real samples beside them. Shares in [0, 1]."""

    authentic: Interval
    authentic_held_out: float
    copies: Interval
    copies_held_out: Interval


def memorised(values: Mapping[str, float]) -> bool:
    """Whether the values of `Memorisation` speak of a generator that repeats its training set.

    The rule: the lower end of `copies` exceeds the upper end of `copies_held_out` by more than `MARGIN`. The two
    intervals answer for chance, the threshold's included, which so few of the held-out samples set; the margin answers
    for honest generators whose samples are a little too typical. Copies alone decide: the authentic share may rise with
    bad samples as it falls with copies, and C_T falls for unseen samples of a dense class alone.

    >>> memorised({"copies_low": 0.20, "copies_held_out_high": 0.02})
    True
    >>> memorised({"copies_low": 0.05, "copies_held_out_high": 0.02})
    False
    """
    return values["copies_low"] > values["copies_held_out_high"] + MARGIN


def closeness(fake: Tensor, train: Tensor, held_out: Tensor) -> Closeness:
    """Authentic samples and copies among fake [N, d], by their distances to train [M, d], and those of held_out [H, d].

    Training samples that are equal count as one, or else nothing near them would be a copy. Raises `RequestError` for
    no samples, fewer than 2 different training samples, and values that are not finite.
    """
    if not len(fake) or not len(held_out):
        raise RequestError(
            f"memorisation needs generated and held-out samples, found {len(fake)} and {len(held_out)}; ask for more"
        )
    train = torch.from_numpy(np.unique(finite(train).numpy(), axis=0))
    if len(train) < 2:
        raise RequestError("memorisation needs at least 2 different training samples, found 1; add more")
    spacing = nearest_others(train).distances[:, 0]
    (fake_authentic, fake_ratio), (real_authentic, real_ratio) = (_beside(x, train, spacing) for x in (fake, held_out))
    threshold = real_ratio.sort().values[math.ceil(CLOSEST * len(held_out)) - 1]
    return Closeness(
        authentic=proportion(int(fake_authentic.sum()), len(fake)),
        authentic_held_out=real_authentic.double().mean().item(),
        copies=proportion(int((fake_ratio <= threshold).sum()), len(fake)),
        copies_held_out=proportion(int((real_ratio <= threshold).sum()), len(held_out)),
    )


def ct(fake: Tensor, train: Tensor, held_out: Tensor, *, cells: int = 3) -> float:
    """C_T of fake [N, d] and held_out [H, d] against train [M, d], M >= 1; with one cell, standard normal when fake and
    held-out samples have one distribution.

    Cells are k-means clusters of the training set, the same every time. The distance is to the nearest training sample
    of the same cell. Cells weigh as many held-out samples as they hold; those with 20 generated samples or fewer are
    left out. Where none is left the result is NaN. Above 64 dimensions all sets are reduced to the training set's first
    64 principal components. Raises `RequestError` for values that are not finite.
    """
    fake, train, held_out = (finite(x) for x in (fake, train, held_out))
    if train.shape[1] > 64:
        mean, cov = moments(train)
        components = torch.linalg.eigh(cov).eigenvectors[:, -64:]
        fake, train, held_out = ((x - mean) @ components for x in (fake, train, held_out))
    cells = min(cells, len(np.unique(train.numpy(), axis=0)))
    clusters = KMeans(cells, n_init=10, random_state=0).fit(train.numpy())
    fake_cell, train_cell, held_cell = (torch.from_numpy(clusters.predict(x.numpy())) for x in (fake, train, held_out))
    scores, weights = [], []
    for cell in range(cells):
        made, unseen = fake[fake_cell == cell], held_out[held_cell == cell]
        if len(made) > 20 and len(unseen):
            trained = train[train_cell == cell]
            scores.append(_z_score(*(nearest(x, trained).distances[:, 0] for x in (made, unseen))))
            weights.append(len(unseen))
    if not weights:
        return math.nan
    return sum(w * z for w, z in zip(weights, scores, strict=True)) / sum(weights)


def _z_score(a: Tensor, b: Tensor) -> float:
    """How far a [m] ranks above b [n]: Mann and Whitney's U less its mean, in its standard deviations."""
    m, n = len(a), len(b)
    u = stats.rankdata(torch.cat([a, b]).numpy())[:m].sum() - m * (m + 1) / 2
    return float((u - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12))


def _beside(x: Tensor, train: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each sample is authentic, and its distance in units of its nearest training sample's spacing: bool and
    float64 [N]."""
    found = nearest(x, train)
    distance, unit = found.distances[:, 0], spacing[found.positions[:, 0]]
    return distance > unit, distance / unit


def _held_out(setting: Setting) -> Tensor:
    if setting.held_out is None:
        raise RequestError(
            "memorisation is measured beside real samples that were not trained on; name them as held out"
        )
    return setting.held_out.features


def _values(found: Closeness) -> dict[str, float]:
    return {
        **found.authentic.named("authentic_share"),
        "authentic_share_held_out": found.authentic_held_out,
        **found.copies.named("copies"),
        **found.copies_held_out.named("copies_held_out"),
    }
