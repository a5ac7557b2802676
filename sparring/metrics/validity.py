"""How many texts hold nothing that real texts never hold: validity against an n-gram model of the reference.

A text is valid when each of its n-grams, n tokens that follow each other with the marks where a text begins and ends,
occurs in the reference. (For grammars this is membership in the strictly n-testable language that the reference's texts
span; McNaughton and Papert 1971, Counter-Free Automata.) The share of real texts that were not seen says how much of
that is asked too strictly.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.interval import proportion
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.ngrams import coded
from sparring.metrics.texts import texts_of


class Validity(Metric):
    """`validity`, the share of the samples all of whose 4-grams (`longest`) occur in nine tenths of the reference, with
    its interval; `validity_real`, that of the other tenth; or of the held-out texts, where there are some.

    Copies of real texts are valid, and so is one valid text shown again and again: read it beside `distinct` and
    `copied`. Long texts hold more n-grams and are rarely valid: of a reference with few texts `validity_real` is low.
    """

    longest: int = 4

    better: ClassVar[dict[str, Better]] = {"validity": "higher"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"texts"})
    fewest: ClassVar[int] = 10

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        texts, known = texts_of(fake, setting), texts_of(real, setting)
        unseen, known = known[: len(known) // 10], known[len(known) // 10 :]
        if setting.held_out is not None:
            unseen = texts_of(setting.held_out, setting)
        valid, valid_real = (valid_texts(each, known, self.longest) for each in (texts, unseen))
        expected = {"validity_real": valid_real.double().mean().item()}
        return proportion(int(valid.sum()), len(valid)).named("validity") | expected


def valid_texts(texts: Tensor, known: Tensor, n: int) -> Tensor:
    """Whether all n-grams of each of texts [N, T] occur in known [M, T]: bool [N]."""
    mine, theirs = coded(texts, known, n)
    occurs = torch.zeros(2 + max(int(mine.max()), int(theirs.max())), dtype=torch.bool)
    occurs[0] = True  # no n-gram, past the end
    occurs[theirs.flatten() + 1] = True
    return occurs[mine + 1].all(1)
