from importlib import resources
from typing import Any

import pytest
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.features.digits import Digits8, Digits28, digit_classifier
from sparring.metrics.features.network import hash_tensors


def test_the_weights_are_small() -> None:
    folder = resources.files("sparring.metrics") / "weights"
    files = {file.name: len(file.read_bytes()) for file in folder.iterdir()}
    assert {"digits28.safetensors", "digits8.safetensors"} <= files.keys()
    assert sum(files.values()) < 1_700_000


def test_digits8_reads_the_digits_that_it_was_not_trained_on(digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    features, probabilities = Digits8().classify(x[1500:])
    assert (probabilities.argmax(1) == y[1500:]).double().mean() >= 0.97
    assert torch.allclose(probabilities.sum(1), torch.ones(297))
    assert features.shape == (297, 64)
    assert features.dtype == torch.float32
    assert features.square().mean() == pytest.approx(1, rel=0.1)


@pytest.mark.mnist
def test_digits28_reads_the_test_images_of_mnist(mnist: Any) -> None:
    x, y = mnist("test")
    network = Digits28()
    read = torch.cat([network.classify(part)[1].argmax(1) for part in x.split(1000)])
    assert (read == y).double().mean() >= 0.99


@pytest.mark.parametrize(("network", "size"), [(Digits8(), 8), (Digits28(), 28)])
def test_images_and_vectors_give_the_same_features(network: Digits8 | Digits28, size: int) -> None:
    x = torch.rand(3, 1, size, size) * 2 - 1
    assert torch.equal(network(x), network(x.flatten(1)))
    assert torch.equal(network(x), network.classify(x)[0])
    one_by_one = torch.cat([network(part) for part in x.split(1)])
    assert torch.allclose(network(x), one_by_one, atol=1e-5)
    with pytest.raises(RequestError, match=f"expected samples of shape 1×{size}×{size}, found 3×{size}×{size}"):
        network(torch.zeros(2, 3, size, size))


def test_the_hash_is_of_the_weights() -> None:
    network = Digits8()
    assert network.sha256 == Digits8().sha256
    assert network.sha256 != Digits28().sha256
    tensors = {key: value.clone() for key, value in network.state_dict().items()}
    assert hash_tensors(tensors) == network.sha256
    tensors["head.bias"][0] += 1e-6
    assert hash_tensors(tensors) != network.sha256


def test_batch_norm_is_only_for_training() -> None:
    kinds = [type(layer).__name__ for layer in digit_classifier(8, (2, 2), (3, 3), (1, 2), 4, train=True)["body"]]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 2 + ["Flatten", "Linear", "ReLU"]
    assert not any("BatchNorm" in type(layer).__name__ for layer in Digits28().modules())


def test_loading_leaves_the_global_random_state() -> None:
    before = torch.get_rng_state()
    Digits8(), Digits28()
    assert torch.equal(torch.get_rng_state(), before)
