import math

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.metrics.modes import class_shares, confident_share, kl_divergence, label_accuracy, num_covered


def test_shares_and_coverage() -> None:
    labels = torch.tensor([0] * 500 + [2] * 490 + [3] * 10)
    shares = class_shares(labels, 5)
    assert shares.tolist() == [0.5, 0, 0.49, 0.01, 0]
    assert num_covered(shares) == 2  # one per cent is not more than one per cent
    assert num_covered(shares, above=0.005) == 3


def test_kl_divergence() -> None:
    uniform = torch.full((4,), 0.25)
    assert kl_divergence(uniform, uniform) == 0
    assert kl_divergence(torch.tensor([1.0, 0, 0, 0]), uniform) == pytest.approx(math.log(4))
    assert kl_divergence(uniform, torch.tensor([0.5, 0.5, 0, 0])) == math.inf
    skewed = torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64)
    expected = 0.7 * math.log(0.7 / 0.25) + 0.3 * math.log(0.1 / 0.25)
    assert kl_divergence(skewed, uniform) == pytest.approx(expected)


def test_the_divergence_of_perfect_samples_is_its_floor() -> None:
    """(K − 1) / 2N: .0045 for 10 classes and 1,000 samples."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.full((10,), 0.1, dtype=torch.float64)
    found = [
        kl_divergence(class_shares(torch.randint(0, 10, (1000,), generator=generator), 10), uniform) for _ in range(500)
    ]
    assert sum(found) / 500 == pytest.approx(9 / 2000, rel=0.1)


def test_confidence_and_labels() -> None:
    assert confident_share(torch.tensor([0.5, 0.9, 0.91, 1.0])) == 0.5
    assert label_accuracy(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 4])) == 0.75
    with pytest.raises(RequestError, match="one requested label per sample"):
        label_accuracy(torch.tensor([1]), torch.tensor([1, 2, 0, 4]))
