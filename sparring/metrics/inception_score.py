"""Inception score: how clearly samples are read, and how evenly (Salimans et al. 2016, arXiv:1606.03498, section 4).

    IS = exp E_x KL(p(y|x) ‖ p(y))   with   p(y) = E_x p(y|x)

From 1 (every sample is read alike) to K (each as one of K classes without doubt, all equally often). It never looks at
the reference. It is called so whatever network reads the samples; only with Inception's 1,000 classes may it be
compared with published figures.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.interval import from_error
from sparring.metrics.metric import Better, Measured, Metric, Needs, Setting


class InceptionScore(Metric):
    """`inception_score`, the mean over splits of the samples in the classes of the judge's own network, with its
    interval; `inception_score_real`, what as many samples of the reference get.

    Samples are shuffled by the seed before they are split, as they may come sorted by class. The interval is for what
    splits of this size are expected to give, which is less than a larger number of samples would. At the ceiling (all
    classes equally often and read without doubt), from where the score can only fall, it is a little too short: for
    two classes it covers 88 %, for ten it does as it should.
    """

    splits: int = 10

    better: ClassVar[dict[str, Better]] = {"inception_score": "higher"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"classes"})

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        num = len(fake.probabilities)
        order = torch.randperm(num, generator=torch.Generator().manual_seed(setting.seed))
        found = inception_scores(fake.probabilities[order], self.splits)
        error = found.std().item() / len(found) ** 0.5
        values = from_error(found.mean().item(), error, len(found) - 1).named("inception_score")
        return values | {"inception_score_real": inception_scores(real.probabilities[:num], self.splits).mean().item()}


def inception_scores(probabilities: Tensor, splits: int = 10) -> Tensor:
    """The score of each of `splits` contiguous parts of class probabilities [N, K]: float64 [splits], in [1, K].

    Parts hold at least 2 samples: with fewer than 2 · splits there are fewer of them. Raises `RequestError` for N < 4.
    """
    N = len(probabilities)
    if N < 4:
        raise RequestError(f"an inception score with an error needs at least 4 samples, found {N}; ask for more")
    splits = min(splits, N // 2)
    parts = torch.tensor_split(probabilities.double(), [i * N // splits for i in range(1, splits)])
    return torch.stack([_score(part) for part in parts])


def _score(p: Tensor) -> Tensor:
    """With Σ p log p − Σ p log q both as xlogy, a class of probability 0 counts as 0 and not as NaN."""
    marginal = p.mean(0)
    score: Tensor = (torch.special.xlogy(p, p).sum(1).mean() - torch.special.xlogy(marginal, marginal).sum()).exp()
    return score
