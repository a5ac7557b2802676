from importlib import resources
from typing import Any

import pytest
import torch
from sklearn import decomposition
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.metrics.features import PCA, Digits8, Digits28, choose, digit_classifier, hash_tensors, load


def test_the_weights_are_small() -> None:
    folder = resources.files("sparring.metrics") / "weights"
    files = {file.name: len(file.read_bytes()) for file in folder.iterdir()}
    assert {"digits28.safetensors", "digits8.safetensors"} <= files.keys()
    assert sum(files.values()) < 1_000_000


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


def test_principal_components_are_those_of_another_implementation(digits: tuple[Tensor, Tensor], held: Any) -> None:
    x, _ = digits
    found = PCA.fit(held(x), dim=10)
    reference = decomposition.PCA(10, svd_solver="full").fit(x.flatten(1).double().numpy())
    cosines = (found.components.double() * torch.from_numpy(reference.components_)).sum(1)
    assert torch.allclose(cosines.abs(), torch.ones(10, dtype=torch.float64), atol=1e-5)
    assert (found.components.gather(1, found.components.abs().argmax(1, keepdim=True)) > 0).all()
    variance = found(x).double().var(0)
    assert torch.allclose(variance, torch.from_numpy(reference.explained_variance_), rtol=1e-4)
    assert found.name == "pca10-pixels"
    assert found.classify(x)[1].shape == (1797, 0)


def test_large_pictures_are_averaged_down_and_the_name_says_so(held: Any) -> None:
    x = torch.rand(80, 3, 24, 41) * 2 - 1
    found = PCA.fit(held(x))
    assert (found.name, found.dim) == ("pca64-pixels-pool2", 64)
    blocks = x[:, :, :, :40].unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    pooled = torch.cat([blocks, x[:, :, :, 40:].unfold(2, 2, 2).mean(-1)], 3).flatten(1)
    assert torch.allclose(found(x), (pooled - pooled.mean(0)) @ found.components.T, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "name"), [((2,), "pca2-values"), ((3000,), "pca19-values-pool3"), ((1, 5, 7), "pca19-pixels")]
)
def test_components_of_few_samples_and_of_vectors(shape: tuple[int, ...], name: str, held: Any) -> None:
    source = held(torch.rand(20, *shape) * 2 - 1)
    found = PCA.fit(source)
    assert found.name == name
    assert found(source.x).shape == (20, found.dim)
    with pytest.raises(RequestError, match="found 9; score samples of the reference's own shape"):
        found(torch.zeros(2, 9))


def test_components_are_fitted_the_same_way_twice(digits: tuple[Tensor, Tensor], held: Any) -> None:
    x, _ = digits
    a, b = PCA.fit(held(x)), PCA.fit(held(x))
    assert a.sha256 == b.sha256
    assert PCA.fit(held(x[:-1])).sha256 != a.sha256


@pytest.mark.parametrize(
    ("name", "shape", "features"),
    [
        ("mnist", (1, 28, 28), "digits28"),
        ("mnist", (784,), "digits28"),
        ("mnist", (1, 32, 32), "pca"),
        ("fashion-mnist", (1, 28, 28), "pca"),
        ("digits", (1, 8, 8), "digits8"),
        ("faces", (1, 8, 8), "pca"),
    ],
)
def test_a_classifier_only_for_what_it_was_trained_on(name: str, shape: tuple[int, ...], features: str) -> None:
    assert choose(DataSpec(name=name, shape=shape)) == features


def test_load_by_name(held: Any) -> None:
    source = held(torch.rand(20, 1, 4, 4) * 2 - 1)
    assert load("digits8", source).name == "digits8"
    assert load("digits28", source).name == "digits28"
    assert load("pca", source).name == "pca16-pixels"
    with pytest.raises(RequestError, match=r"no features 'digit8': did you mean 'digits8'\?"):
        load("digit8", source)


def test_loading_leaves_the_global_random_state() -> None:
    before = torch.get_rng_state()
    Digits8(), Digits28()
    assert torch.equal(torch.get_rng_state(), before)
