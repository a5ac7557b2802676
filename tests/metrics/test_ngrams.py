from typing import Any

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from sparring.core.forms import Text
from sparring.core.protocols import Batch
from sparring.metrics.judge import Judge
from sparring.metrics.ngrams import NGrams, coded, counts, divergence, grams


def test_ngrams_by_hand() -> None:
    texts = torch.tensor([[1, 2, 0, 0], [3, 3, 3, 3], [0, 0, 0, 0]])
    bigrams = [[tuple(gram) for gram in row if -2 not in gram] for row in grams(texts, 2).tolist()]
    assert bigrams == [[(-1, 1), (1, 2), (2, 0)], [(-1, 3), (3, 3), (3, 3), (3, 3), (3, 0)], [(-1, 0)]]
    single = [[tuple(gram) for gram in row if -2 not in gram] for row in grams(texts, 1).tolist()]
    assert single == [[(1,), (2,), (0,)], [(3,)] * 4 + [(0,)], [(0,)]]
    four = [tuple(gram) for gram in grams(texts, 4)[0].tolist() if -2 not in gram]
    assert four == [(-1, -1, -1, 1), (-1, -1, 1, 2), (-1, 1, 2, 0)]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_codes_are_equal_where_ngrams_are(n: int) -> None:
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 5, (count, 6), generator=random) for count in (30, 40))
    a, b = (torch.where((x == 0).cumsum(1) > 0, 0, x) for x in (a, b))
    known: dict[tuple[int, ...], int] = {}
    for texts, codes in zip((a, b), coded(a, b, n), strict=True):
        for gram, code in zip(grams(texts, n).flatten(0, 1).tolist(), codes.flatten().tolist(), strict=True):
            assert known.setdefault(tuple(gram), code) == code
    assert len(set(known.values())) == len(known)
    assert {code for gram, code in known.items() if gram[0] == -2} == {-1}


def test_large_vocabularies_do_not_overflow() -> None:
    texts = torch.tensor([[2**23, 2**23 - 1, 2**23], [2**23, 2**23 - 1, 1]])
    first, second = coded(texts[:1], texts[1:], 4)
    assert (first == second).tolist() == [[True, True, False, False]]


def test_the_divergence_is_scipys() -> None:
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 9, (50,), generator=random) for _ in range(2))
    expected = jensenshannon(a.numpy(), b.numpy(), base=2) ** 2
    assert divergence(a, b).item() == pytest.approx(expected, rel=1e-12)
    assert divergence(a, 3 * a).item() == pytest.approx(0, abs=1e-15)
    assert divergence(torch.tensor([5, 0]), torch.tensor([0, 1])).item() == 1


def words(count: int, seed: int, weights: Tensor) -> Tensor:
    """Texts of three of the words ab, bc, cc, a."""
    random = torch.Generator().manual_seed(seed)
    spelled = torch.tensor([[1, 2], [2, 3], [3, 3], [1, 0]])
    drawn = torch.multinomial(weights, 3 * count, replacement=True, generator=random)
    rows = spelled[drawn].reshape(count, 6)
    return torch.stack([torch.nn.functional.pad(row[row > 0], (0, 6 - int((row > 0).sum()))) for row in rows])


def test_texts_are_judged(held: Any) -> None:
    form = Text(tokens=("", "a", "b", "c"))
    even = torch.ones(4)
    judge = Judge(held(form.one_hot(words(2000, 0, even)), form=form), metrics=(NGrams(),))

    def score(texts: Tensor) -> dict[str, float]:
        x = form.one_hot(texts)
        return judge.score(lambda start, count: Batch(x[start : start + count], None), num_samples=500, seed=0).values

    found = score(words(500, 1, even))
    assert found["ngrams"] == pytest.approx(found["ngrams_real"], rel=0.3)
    assert found["ngrams"] == pytest.approx(sum(found[f"ngrams_{n}"] for n in range(1, 5)) / 4)
    other = score(words(500, 1, torch.tensor([2.0, 1, 1, 1])))
    assert found["ngrams_high"] < other["ngrams_low"]
    shuffled = words(500, 1, even)
    shuffled = torch.stack([torch.cat([row[row > 0].flip(0), row[row == 0]]) for row in shuffled])
    backwards = score(shuffled)
    assert backwards["ngrams_1"] == pytest.approx(found["ngrams_1"])
    assert backwards["ngrams_4"] > 2 * found["ngrams_4"]
    few = score(words(1, 1, even).expand(500, 6))
    assert few["ngrams"] > 10 * found["ngrams"]


def test_values_by_hand(held: Any) -> None:
    """All real texts are aaa, all fakes ab."""
    form = Text(tokens=("", "a", "b"))
    real, fake = torch.tensor([[1, 1, 1]]).expand(20, 3), torch.tensor([[1, 2, 0]]).expand(10, 3)
    judge = Judge(held(form.one_hot(real), form=form), metrics=(NGrams(longest=2),))
    x = form.one_hot(fake)
    found = judge.score(lambda start, count: Batch(x[start : start + count], None), num_samples=10, seed=0).values
    single = jensenshannon([3, 0, 1], [1, 1, 1], base=2) ** 2  # a, b and the end
    pairs = jensenshannon([1, 2, 1, 0, 0], [1, 0, 0, 1, 1], base=2) ** 2  # ^a aa a$ ab b$
    assert found["ngrams_1"] == pytest.approx(single)
    assert found["ngrams_2"] == pytest.approx(pairs)
    assert found["ngrams"] == found["ngrams_low"] == pytest.approx((single + pairs) / 2)
    assert found["ngrams_real"] == 0
    assert counts(torch.tensor([[0, -1], [2, 2]]), 3).tolist() == [1, 0, 2]
