"""Metrics of texts against counts by hand and slow code of their formulas."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from sparring.core.forms import Text
from sparring.core.protocols import Batch
from sparring.metrics.copied import Copied, copies, edit_distances, nearest_distances
from sparring.metrics.judge import Judge, Score
from sparring.metrics.metric import Metric, Setting
from sparring.metrics.self_bleu import SelfBLEU, self_bleu
from sparring.metrics.texts import texts_of
from sparring.metrics.validity import Validity, valid_texts

FORM = Text(tokens=("", *"abcdefghij"))


def numbers(*texts: str, T: int = 0) -> Tensor:
    """Tokens of words of the letters a to j."""
    width = T or max(map(len, texts))
    rows = [[FORM.tokens.index(letter) for letter in text] for text in texts]
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def some(count: int, T: int, tokens: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    texts = torch.randint(0, tokens + 1, (count, T), generator=random)
    return torch.where((texts == 0).cumsum(1) > 0, 0, texts)


def judged(held: Any, metric: Metric, fake: Tensor, real: Tensor, unseen: Tensor | None = None) -> Score:
    held_out = None if unseen is None else held(FORM.one_hot(unseen), form=FORM)
    judge = Judge(held(FORM.one_hot(real), form=FORM), metrics=(metric,), held_out=held_out)
    x = FORM.one_hot(fake)
    return judge.score(lambda start, count: Batch(x[start : start + count], None), num_samples=len(x), seed=0)


def test_valid_texts_by_hand() -> None:
    known = numbers("abc", "bcd", "abab")
    texts = numbers("abcd", "abc", "abd", "bc", "", "aba", "ab", T=4)
    assert valid_texts(texts, known, 2).tolist() == [True, True, False, True, False, False, True]
    assert valid_texts(numbers("ababc"), numbers("abc", "bcd", "abab", T=5), 2).tolist() == [True]
    assert valid_texts(numbers("ababc"), numbers("abc", "bcd", "abab", T=5), 4).tolist() == [False]
    assert valid_texts(numbers("ab", T=4), numbers("abab"), 2).tolist() == [True]
    assert valid_texts(numbers("abab"), known, 4).tolist() == [True]
    assert valid_texts(numbers("ababab"), numbers("abab", T=6), 3).tolist() == [True]


def test_validity_beside_unseen_texts(held: Any) -> None:
    """Texts of the reference are valid but for the tenth that is left out, whose place the held-out texts take."""
    real = some(400, 4, 2, 0)
    found = judged(held, Validity(), real, real).values
    assert found["validity"] > 0.95
    assert found["validity_real"] > 0.8
    rare = some(400, 4, 8, 2)
    assert judged(held, Validity(), rare, rare).values["validity_real"] < 0.6
    noise = some(400, 4, 8, 1)
    other = judged(held, Validity(), noise, real, noise).values
    assert other["validity"] == other["validity_real"] < 0.6
    assert other["validity_low"] < other["validity"] < other["validity_high"]


def bleu(text: tuple[int, ...], references: list[tuple[int, ...]]) -> float:
    """By the formula, slowly."""
    if not text:
        return 0.0
    total = 0.0
    for n in range(1, 5):
        own = Counter(text[i : i + n] for i in range(len(text) - n + 1))
        most: Counter[tuple[int, ...]] = Counter()
        for reference in references:
            most |= Counter(reference[i : i + n] for i in range(len(reference) - n + 1))
        matched = sum(min(count, most[gram]) for gram, count in own.items())
        total += math.log((matched or 0.1) / max(1, sum(own.values()))) / 4
    nearest = min((abs(len(reference) - len(text)), len(reference)) for reference in references)[1]
    return math.exp(total) * (1.0 if len(text) > nearest else math.exp(1 - nearest / len(text)))


@pytest.mark.parametrize(("T", "tokens"), [(12, 2), (12, 9), (3, 2)])
def test_self_bleu_is_its_formula(T: int, tokens: int) -> None:
    texts = some(60, T, tokens, T)
    rows = [tuple(token for token in row if token) for row in texts.tolist()]
    expected = sum(bleu(row, rows[:i] + rows[i + 1 :]) for i, row in enumerate(rows)) / len(rows)
    assert self_bleu(texts) == pytest.approx(expected, rel=1e-12)


def test_self_bleu_by_hand(held: Any) -> None:
    """aabcde beside abcdef: p = 5/6, 4/5, 3/4, 2/3, whose product is 1/3, both ways; the lengths are equal."""
    assert self_bleu(numbers("aabcde", "abcdef")) == pytest.approx((1 / 3) ** 0.25)
    assert self_bleu(numbers("abcde", "abcde")) == 1
    assert self_bleu(numbers("abcd", "abcdef")) == pytest.approx(
        (math.exp(1 - 6 / 4) + (4 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25) / 2
    )
    assert self_bleu(numbers("abcd", "efgh")) == pytest.approx((0.1**4 / 24) ** 0.25)
    found = judged(held, SelfBLEU(most=40), numbers("abcde").expand(50, 5), some(50, 5, 9, 0)).values
    assert found["self_bleu"] == 1
    assert found["self_bleu_real"] == pytest.approx(self_bleu(some(50, 5, 9, 0)), rel=0.3)


def levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (left != right))
    return row[-1]


def test_edit_distances_are_the_recurrences() -> None:
    texts = some(40, 9, 3, 5)
    spelled = ["".join(FORM.tokens[token] for token in row if token) for row in texts.tolist()]
    for i in range(10):
        expected = [levenshtein(spelled[i], other) / max(len(spelled[i]), len(other), 1) for other in spelled]
        assert edit_distances(texts[i], texts).tolist() == pytest.approx(expected)
    assert levenshtein("abcdef", "bcdfg") == 3


def test_the_nearest_text_is_among_the_candidates() -> None:
    known = some(500, 12, 9, 0)
    changed = known[:20].clone()
    changed[:, 3] = torch.where(changed[:, 3] > 0, changed[:, 3] % 9 + 1, 0)
    exact = torch.stack([edit_distances(text, known).min() for text in changed])
    assert nearest_distances(changed, known).tolist() == pytest.approx(exact.tolist(), abs=0.1)


def test_what_follows_the_end_is_not_read(held: Any) -> None:
    x = numbers("ab", "cd", "ef", "gh", T=4)
    after = x.clone()
    after[:, 3] = 5
    judge = Judge(held(FORM.one_hot(after), form=FORM), metrics=(Copied(),))
    assert torch.equal(texts_of(judge.real, Setting(judge.network, data=judge.data)).unique(dim=0), x)


def test_copies_beside_unseen_texts(held: Any) -> None:
    real, unseen = some(300, 8, 9, 0), some(300, 8, 9, 1)
    half = torch.cat([real[:150], some(150, 8, 9, 2)])
    found = judged(held, Copied(), half, real, unseen).values
    alone = copies(some(150, 8, 9, 2), real).double().mean().item()
    assert found["copied"] == pytest.approx(0.5 + alone / 2)
    assert found["copied_held_out"] == pytest.approx(copies(unseen, real).double().mean().item())
    assert 1.5 * found["nearest_text"] < found["nearest_text_held_out"]
    repeated = judged(held, Copied(), unseen[:10].repeat(10, 1), real).values
    assert repeated["distinct"] == pytest.approx(len(unseen[:10].unique(dim=0)) / 100)
    assert repeated["distinct_real"] > 0.7
    assert "copied_held_out" not in repeated


def test_a_note_says_when_texts_are_not_kept(held: Any) -> None:
    real = some(100, 4, 9, 0)
    x = FORM.one_hot(real)
    judge = Judge(held(x, form=FORM), metrics=(Copied(),), keep=50)
    found = judge.score(lambda start, count: Batch(x[start : start + count], None), num_samples=50, seed=0)
    assert found.notes == ("copied: samples are compared with 50 of 100 texts, so other copies are not seen",)
