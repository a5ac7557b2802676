import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.metrics.features import load
from sparring.metrics.features.digits import Digits28
from sparring.metrics.features.stacked import StackedDigits28


def test_a_number_is_its_digits() -> None:
    x = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network, digits = StackedDigits28(), Digits28()
    features, probabilities = network.classify(x)
    channels = [digits.classify(x[:, c : c + 1]) for c in range(3)]
    assert torch.equal(network(x), features)
    assert torch.allclose(features, torch.cat([f for f, _ in channels], 1), atol=1e-5)
    for number in (0, 7, 123, 909, 999):
        h, t, o = number // 100, number // 10 % 10, number % 10
        expected = channels[0][1][:, h] * channels[1][1][:, t] * channels[2][1][:, o]
        assert torch.allclose(probabilities[:, number], expected, atol=1e-7)
    assert probabilities.shape == (4, 1000)
    assert torch.allclose(probabilities.sum(1), torch.ones(4))
    assert (network.dim, network.num_classes) == (192, 1000)


@pytest.mark.mnist
def test_numbers_made_of_mnist_are_read(mnist: Callable[[str], Any]) -> None:
    x, y = mnist("test")
    stacks, digits = x[:600].reshape(200, 3, 28, 28), y[:600].reshape(200, 3)
    read = StackedDigits28().classify(stacks)[1].argmax(1)
    assert (read == digits @ torch.tensor([100, 10, 1])).double().mean() > 0.97


def test_only_three_channels_of_28_by_28(held: Any) -> None:
    network = load("stacked-digits28", held(torch.zeros(5, 3, 28, 28)))
    assert network.name == "stacked-digits28"
    assert network.sha256 == hashlib.sha256(f"stacked-digits28 {Digits28().sha256}".encode()).hexdigest()
    with pytest.raises(RequestError, match="expected samples of shape 3×28×28, found 1×28×28"):
        network(torch.zeros(2, 1, 28, 28))
