"""How alike the samples of a text generator are to each other: self-BLEU (Zhu et al. 2018, "Texygen", arXiv:1802.01886,
section 3): the mean BLEU of each sample with all others as its references.

BLEU (Papineni et al. 2002, ACL, section 2.3) of a text against references, with weights of 1/4 for n = 1..4:

    BLEU = BP · exp(¼ Σ log p_n),   p_n = Σ min(count, greatest count in one reference) / Σ count

over the n-grams of the text, without marks; BP = 1 where the text is longer than the reference whose length r is
nearest to its own, c, else exp(1 − r / c). Where a p_n is 0, its 0 matches count as ε = 0.1 (method 1 of Chen and
Cherry 2014, WMT, which Texygen uses). A text of fewer than n tokens has one n-gram that matches nothing, as there.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.metric import Kind, Measured, Metric, Needs, Setting
from sparring.metrics.texts import texts_of

EPSILON = 0.1


class SelfBLEU(Metric):
    """`self_bleu`, of the first `most` samples, and `self_bleu_real`, of as many real texts.

    It has no best but that of the real texts: above it samples repeat each other, below it they are more different
    than real ones are, as noise is. It depends on the number of texts and has no interval. It counts the tokens as
    they are: of characters it says less than of words.
    """

    most: int = 500

    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"texts"})
    fewest: ClassVar[int] = 4

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        texts, expected = texts_of(fake, setting), texts_of(real, setting)
        num = min(len(texts), len(expected), self.most)
        return {"self_bleu": self_bleu(texts[:num]), "self_bleu_real": self_bleu(expected[:num])}


def self_bleu(texts: Tensor, longest: int = 4) -> float:
    """The mean BLEU of each of texts [N, T], N >= 2, 0 after their ends, with the others as references; texts without
    tokens count as 0."""
    lengths = (texts > 0).sum(1)
    logs = torch.zeros(len(texts), dtype=torch.float64)
    for n in range(1, longest + 1):
        windows = texts.unfold(1, n, 1) if texts.shape[1] >= n else texts.new_zeros(len(texts), 0, n)
        there = (windows > 0).all(2)
        _, codes = torch.unique(windows.flatten(0, 1), dim=0, return_inverse=True)
        # Pairs of a text and one of its n-grams, each once, with how often it is there.
        rows = torch.arange(len(texts))[:, None].expand(there.shape)[there]
        pairs, times = torch.unique(torch.stack([codes.reshape(there.shape)[there], rows]), dim=1, return_counts=True)
        matched = torch.zeros(len(texts), dtype=torch.float64)
        matched.index_add_(0, pairs[1], torch.minimum(times, _most_elsewhere(pairs[0], times)).double())
        total = there.sum(1).clamp(min=1)
        logs += torch.where(matched > 0, matched, EPSILON).div(total).log() / longest
    # Of two references that are as near in length the shorter counts.
    away = (lengths[:, None] - lengths).abs() * (texts.shape[1] + 1) + lengths
    away.fill_diagonal_(torch.iinfo(away.dtype).max)
    nearest = lengths[away.argmin(1)]
    brevity = (1 - nearest / lengths.clamp(min=1)).clamp(max=0).exp()
    return torch.where(lengths > 0, brevity * logs.exp(), 0).mean().item()


def _most_elsewhere(codes: Tensor, times: Tensor) -> Tensor:
    """For each pair of an n-gram and a text, sorted by n-gram: the greatest count of that n-gram in another text."""
    groups, group = torch.unique_consecutive(codes, return_inverse=True)
    greatest = times.new_zeros(len(groups)).scatter_reduce(0, group, times, "amax")
    is_greatest = times == greatest[group]
    ties = times.new_zeros(len(groups)).index_add(0, group, is_greatest.long())
    below = times.new_zeros(len(groups)).scatter_reduce(0, group, torch.where(is_greatest, 0, times), "amax")
    alone = is_greatest & (ties[group] == 1)
    return torch.where(alone, below[group], greatest[group])
