"""Do generated texts repeat the texts trained on, and each other?

Copies are exact. Beside them the distance to the nearest text of the reference: the least number of tokens to be put
in, taken away or changed (Levenshtein 1966, Soviet Physics Doklady 10), divided by the length of the longer text. Both
mean something only beside what unseen real texts get, since short texts and common phrases come up by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.blocks import interval_of
from sparring.metrics.interval import proportion
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.ngrams import coded
from sparring.metrics.texts import texts_of

CANDIDATES = 32
"""Texts among which the nearest is looked for: those that share most pairs of tokens that follow each other."""
MOST = 4_000_000
"""Of how many places of the reference's texts copies are looked for."""
_PARTS = 1024  # into which pairs are thrown to be counted: few enough that a reference's are held at once
_STEPS = 2e8  # of the recurrence, about as many as take a few seconds; of longer texts fewer are looked at


class Copied(Metric):
    """`distinct`, the share of the samples that repeat no earlier one, and `distinct_real`, that of as many real texts;
    `copied`, the share that is in the reference letter by letter, with its interval; `nearest_text`, the mean distance
    of the first samples, `most` at most, to the nearest text of the reference, with its interval. Where texts are held
    out, `copied_held_out` and `nearest_text_held_out` are what those get.

    The nearest is looked for among the 32 texts of the reference that share most pairs of neighbouring tokens. Of texts
    of more than 176 tokens fewer than `most` are looked at, 20 at least.

    The reference must be what the generator was trained on. Only its texts whose tokens are kept can be recognised: a
    note says when some are not.
    """

    most: int = 200

    better: ClassVar[dict[str, Better]] = {"distinct": "higher", "copied": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"texts"})
    fewest: ClassVar[int] = 4

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        texts, known = texts_of(fake, setting), texts_of(real, setting, MOST)
        num = min(len(texts), len(known))
        found = {
            "distinct": len(torch.unique(texts[:num], dim=0)) / num,
            "distinct_real": len(torch.unique(known[:num], dim=0)) / num,
        }
        found |= proportion(int(copies(texts, known).sum()), len(texts)).named("copied")
        num = min(self.most, max(20, int(_STEPS / (CANDIDATES * texts.shape[1] ** 2))))
        away = nearest_distances(texts[:num], known)
        found |= interval_of(away).named("nearest_text")
        if setting.held_out is not None:
            unseen = texts_of(setting.held_out, setting)
            found["copied_held_out"] = copies(unseen, known).double().mean().item()
            found["nearest_text_held_out"] = nearest_distances(unseen[:num], known).mean().item()
        return found

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        kept, trained = len(texts_of(real, setting, MOST)), real.summary.num
        if kept < trained:
            yield f"copied: samples are compared with {kept:,} of {trained:,} texts, so other copies are not seen"


def copies(texts: Tensor, known: Tensor) -> Tensor:
    """Which of texts [N, T] are among known [M, T]: bool [N]."""
    _, codes = torch.unique(torch.cat([texts, known]), dim=0, return_inverse=True)
    return torch.isin(codes[: len(texts)], codes[len(texts) :])


def nearest_distances(texts: Tensor, known: Tensor) -> Tensor:
    """The least normalised edit distance of each of texts [N, T] to the candidates among known [M, T]: float64 [N], in
    [0, 1]. Two texts without tokens are at 0."""
    near = likest(texts, known, min(CANDIDATES, len(known)))
    return torch.stack([edit_distances(text, known[rows]).min() for text, rows in zip(texts, near, strict=True)])


def likest(texts: Tensor, known: Tensor, k: int) -> Tensor:
    """The k of known [M, T] that share most pairs of neighbouring tokens with each of texts [N, T], as a share of the
    pairs of both (Dice 1945, Ecology 26): int64 [N, k]."""
    mine, theirs = (_pairs(codes) for codes in coded(texts, known, 2))
    shared = 2 * mine @ theirs.T / (mine.sum(1, keepdim=True) + theirs.sum(1))
    return shared.topk(k, dim=1).indices


def _pairs(codes: Tensor) -> Tensor:
    """Which parts hold some of the pairs [N, P]: float32 0 or 1 [N, parts]."""
    there = torch.zeros(len(codes), 1 + _PARTS).scatter_(1, torch.where(codes < 0, 0, 1 + codes % _PARTS), 1.0)
    return there[:, 1:]


def edit_distances(text: Tensor, known: Tensor) -> Tensor:
    """The edit distance of text [T] to each of known [M, T], over the length of the longer: float64 [M].

    The recurrence d[i, j] = min(d[i−1, j] + 1, d[i, j−1] + 1, d[i−1, j−1] + [different]) row by row for all texts at
    once; within a row, the terms d[i, j−1] + 1 make of the others e_j the running minimum of e_j − j, plus j.
    """
    length, lengths = int((text > 0).sum()), (known > 0).sum(1)
    known = known[:, : max(1, int(lengths.max()))].to(torch.int32)
    at = torch.arange(known.shape[1] + 1, dtype=torch.int32)
    row = at.expand(len(known), -1)
    for place in range(length):
        changed = row[:, :-1] + (known != text[place]).int()
        others = torch.cat([row[:, :1] + 1, torch.minimum(changed, row[:, 1:] + 1)], 1)
        row = (others - at).cummin(1).values + at
    found = row.gather(1, lengths[:, None])[:, 0]
    return found.double() / lengths.clamp(min=max(1, length))
