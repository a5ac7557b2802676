"""How far the short sequences of tokens of texts are from those of real texts.

Of n-grams, n tokens that follow each other, with the marks where a text begins and ends, the shares p among the
samples' and q among the reference's are compared by the Jensen-Shannon divergence in bits (Lin 1991, IEEE Trans.
Information Theory 37, eq. 3.6, with equal weights):

    JS(p, q) = ½ Σ p log₂ (p / m) + ½ Σ q log₂ (q / m),   m = ½ (p + q)

It is 0 for equal shares and 1 where none is shared.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sparring.metrics.blocks import FEWEST, against_rest
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.texts import texts_of


class NGrams(Metric):
    """`ngrams`, the mean over n = 1..4 of the Jensen-Shannon divergences of n-grams, with its interval; `ngrams_real`,
    what as many real texts get; and `ngrams_1` to `ngrams_4`, each alone.

    It sees spelling and words as far as `longest` tokens reach, and how often each is used, so also a generator that
    shows but a few texts. It does not see whether a whole text makes sense. Of longer n-grams most are met only once,
    so that real texts, too, are far from each other: judge `ngrams` beside `ngrams_real`.
    """

    longest: int = 4

    better: ClassVar[dict[str, Better]] = {"ngrams": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"texts"})
    fewest: ClassVar[int] = FEWEST

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        parts = [coded(texts_of(fake, setting), texts_of(real, setting), n) for n in range(1, self.longest + 1)]
        sizes = [1 + max(int(codes.max()) for codes in part) for part in parts]
        widths = [part[0].shape[1] for part in parts]

        def distances(a: Tensor, b: Tensor) -> Tensor:
            pairs = zip(torch.split(a, widths, 1), torch.split(b, widths, 1), sizes, strict=True)
            return torch.stack([divergence(counts(mine, size), counts(theirs, size)) for mine, theirs, size in pairs])

        fakes, reals = (torch.cat(side, 1) for side in zip(*parts, strict=True))
        found = against_rest(fakes, reals, distances)
        each = {f"ngrams_{n}": value for n, value in enumerate(found.fake.mean(0).tolist(), 1)}
        return found.named("ngrams") | each


def grams(texts: Tensor, n: int) -> Tensor:
    """The n-grams of texts [N, T], 0 after their ends: int64 [N, P, n], −1 before a text begins, 0 where it has ended.
    Each text's last n-gram is the first that ends in 0; in those after it all numbers are −2.

    Of n − 1 marks before a text all its n-grams are made, as an n-gram model needs them; for n = 1 the end alone is a
    mark.
    """
    marked = torch.cat([texts.new_full((len(texts), n - 1), -1), texts, texts.new_zeros(len(texts), 1)], 1)
    found = marked.unfold(1, n, 1)
    lengths = (texts > 0).sum(1, keepdim=True)
    return torch.where((torch.arange(found.shape[1]) <= lengths)[..., None], found, -2)


def coded(a: Tensor, b: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The n-grams of texts a [N, T] and b [M, T] as numbers that both share: int64 [N, P] and [M, P], −1 where there
    is none."""
    found = grams(a, n), grams(b, n)
    rows = torch.cat([part.flatten(0, 1) for part in found])
    codes = rows[:, 0]
    for place in range(1, n):  # two columns at a time, made dense again, so that no product overflows
        codes = torch.from_numpy(np.unique(codes.numpy(), return_inverse=True)[1])
        codes = codes * (int(rows[:, place].max()) + 3) + rows[:, place] + 2
    codes = torch.from_numpy(np.unique(codes.numpy(), return_inverse=True)[1])
    codes = torch.where(rows[:, 0] == -2, -1, codes)
    shared = codes.reshape(-1, found[0].shape[1])
    return shared[: len(a)], shared[len(a) :]


def counts(codes: Tensor, size: int) -> Tensor:
    """How often each code below `size` occurs in codes [N, P], −1 aside: int64 [size]."""
    return torch.bincount((codes + 1).flatten(), minlength=size + 1)[1:]


def divergence(a: Tensor, b: Tensor) -> Tensor:
    """The Jensen-Shannon divergence [], in bits, of the shares of counts [S] of which neither are all 0."""
    p, q = a.double() / a.sum(), b.double() / b.sum()
    m = (p + q) / 2
    entropy = torch.special.entr(torch.stack([m, p, q])).sum(1) / np.log(2)
    found: Tensor = entropy[0] - (entropy[1] + entropy[2]) / 2
    return found.clamp(min=0)
