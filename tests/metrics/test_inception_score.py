from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.inception_score import InceptionScore, inception_scores
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import nothing


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def score(fake: Tensor, real: Tensor, *, seed: int = 0, splits: int = 10) -> dict[str, float]:
    network: Any = None
    samples, reference = (Measured(nothing(0), p.sum(0), torch.zeros(len(p), 0), p) for p in (fake, real))
    return InceptionScore(splits=splits).measure(samples, reference, Setting(network, seed))


@pytest.mark.parametrize("K", [2, 10])
def test_as_many_classes_as_there_are_or_one(K: int) -> None:
    """Balanced and without doubt: K. All alike, however clear or unclear: 1."""
    assert inception_scores(torch.eye(K).repeat(20, 1)).tolist() == pytest.approx([K] * 10)
    assert inception_scores(torch.eye(K)[:1].repeat(40, 1)).tolist() == pytest.approx([1] * 10)
    assert inception_scores(torch.full((40, K), 1 / K)).tolist() == pytest.approx([1] * 10)


def test_two_classes_read_with_nine_tenths() -> None:
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64).repeat(50, 1)
    assert inception_scores(p).tolist() == pytest.approx([1.444935] * 10, abs=5e-7)
    expected = 2 * 0.9**0.9 * 0.1**0.1  # exp(ln 2 − H(.9))
    assert inception_scores(p, 1).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("N", "K", "scale"), [(1000, 10, 1.0), (1003, 7, 8.0), (45, 1000, 3.0), (200, 5, 300.0)])
def test_agrees_with_torch_fidelity(N: int, K: int, scale: float, fidelity: Any) -> None:
    """With its ten contiguous splits, without its shuffle; also where probabilities are zero."""
    logits = draw(0, N, K) * scale
    theirs = fidelity.metric_isc
    expected = theirs.isc_features_to_metric(logits, splits=10, shuffle=False)
    found = inception_scores(logits.softmax(1))
    assert found.mean().item() == pytest.approx(expected[theirs.KEY_METRIC_ISC_MEAN], rel=1e-10)
    assert found.std(correction=0).item() == pytest.approx(expected[theirs.KEY_METRIC_ISC_STD], rel=1e-6)


def test_splits_are_shuffled_as_samples_may_come_sorted() -> None:
    p = torch.eye(4, dtype=torch.float64).repeat_interleave(500, 0)
    assert inception_scores(p).mean() < 2
    found = score(p, p)
    assert found["inception_score"] > 3.9
    assert score(p, p, seed=1)["inception_score"] != found["inception_score"]
    before = torch.get_rng_state()
    assert score(p, p) == found
    assert torch.equal(torch.get_rng_state(), before)


def test_the_reference_is_scored_from_as_many() -> None:
    fake, real = (draw(0, 300, 5) * 2).softmax(1), (draw(1, 900, 5) * 2).softmax(1)
    found = score(fake, real)
    assert found["inception_score_real"] == inception_scores(real[:300]).mean().item()
    assert score(fake, real, splits=3)["inception_score_real"] == inception_scores(real[:300], 3).mean().item()
    assert score(fake, real, splits=3)["inception_score"] > found["inception_score"]  # larger splits, less bias
    assert found.keys() == {"inception_score", "inception_score_low", "inception_score_high", "inception_score_real"}


def test_the_interval_covers_what_splits_of_that_size_are_expected_to_give() -> None:
    """One-hots of two classes with shares .2 and .8, 50 in a split: exp H(k/50) over the binomial law of k; in 90 to
    99 % of 200 draws."""
    k = np.arange(51)
    scores = np.exp(scipy.stats.entropy([k / 50, 1 - k / 50]))
    expected = float(scipy.stats.binom.pmf(k, 50, 0.2) @ scores)
    assert expected < np.exp(scipy.stats.entropy([0.2, 0.8]))
    inside = []
    for seed in range(200):
        first = torch.rand(500, generator=torch.Generator().manual_seed(seed)) < 0.2
        p = torch.stack([first, ~first], 1).double()
        found = score(p, p, seed=seed)
        inside.append(found["inception_score_low"] <= expected <= found["inception_score_high"])
    assert 0.90 <= np.mean(inside) <= 0.99


def test_few_samples_make_fewer_splits() -> None:
    p = draw(0, 9, 3).softmax(1)
    assert len(inception_scores(p)) == 4
    assert len(inception_scores(p[:4])) == 2
    with pytest.raises(RequestError, match="at least 4 samples, found 3"):
        inception_scores(p[:3])
