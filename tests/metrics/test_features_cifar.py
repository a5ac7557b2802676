import os
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.data.open import Data
from sparring.metrics.features.choose import choose, load
from sparring.metrics.features.cifar import Cifar32, picture_classifier
from sparring.metrics.features.network import hash_tensors


def shipped() -> dict[str, Tensor]:
    return safetensors.torch.load((resources.files("sparring.metrics") / "weights/cifar32.safetensors").read_bytes())


def test_the_weights_are_small_and_whole() -> None:
    tensors = shipped()
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert sum(tensor.nbytes for tensor in tensors.values()) < 1_200_000


def test_features_and_classes_are_those_of_the_layers_written_out() -> None:
    w = {key: value.double() for key, value in shipped().items()}
    x = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    h = F.gelu(F.conv2d(x.double(), w["body.0.weight"], w["body.0.bias"]))
    convolutions = [f"body.{i}" for i in (2, 5, 7, 10, 12, 15)]
    for i, name in enumerate(convolutions):
        h = F.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)
        h = F.gelu(F.max_pool2d(h, 2) if i % 2 == 0 else h)
    expected = h.amax((2, 3)) * w["scale"]
    features, probabilities = Cifar32().classify(x)
    assert (features.dtype, features.shape) == (torch.float32, (5, 128))
    assert torch.allclose(features.double(), expected, atol=1e-4)
    assert torch.allclose(probabilities.double(), (expected @ w["head.weight"].T).softmax(1), atol=1e-5)


def test_many_samples_are_read_in_parts() -> None:
    network = Cifar32()
    x = torch.rand(network.MOST_AT_ONCE + 3, 3, 32, 32) * 2 - 1
    features = network(x)
    assert len(features) == len(x)
    ends = torch.tensor([0, len(x) - 4, len(x) - 3, len(x) - 1])
    assert torch.allclose(features[ends], network(x[ends]), atol=1e-5)


def test_only_its_own_shape() -> None:
    for shape in ((3, 16, 16), (1, 32, 32), (3072,)):
        with pytest.raises(RequestError, match="features cifar32: expected samples of shape 3×32×32, found"):
            Cifar32()(torch.zeros(2, *shape))


def test_the_hash_is_of_the_weights() -> None:
    network = Cifar32()
    tensors = {key: value.clone() for key, value in network.state_dict().items()}
    assert hash_tensors(tensors) == network.sha256
    assert tensors.keys() == shipped().keys()
    tensors["scale"] *= 2
    assert hash_tensors(tensors) != network.sha256


def test_loading_leaves_the_global_random_state() -> None:
    before = torch.get_rng_state()
    Cifar32()
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_norm_is_only_for_training() -> None:
    trained, folded = (
        [type(layer).__name__ for layer in picture_classifier(train=train)["body"]] for train in (True, False)
    )
    assert trained.count("BatchNorm2d") == 6
    assert [kind for kind in trained if kind != "BatchNorm2d"] == folded


@pytest.mark.parametrize(
    ("name", "shape", "features"),
    [
        ("cifar10", (3, 32, 32), "cifar32"),
        ("cifar10", (1, 32, 32), "pca"),
        ("cifar10", (3, 16, 16), "pca"),
        ("birds", (3, 32, 32), "pca"),
    ],
)
def test_chosen_only_for_what_it_was_trained_on(name: str, shape: tuple[int, ...], features: str) -> None:
    assert choose(DataSpec(name=name, shape=shape)) == features


def test_load_by_name(held: Any) -> None:
    assert isinstance(load("cifar32", held(torch.zeros(4, 3, 32, 32))), Cifar32)


def test_reads_pictures_that_it_was_not_trained_on() -> None:
    if not (Path(os.environ.get("SPARRING_DATA", "")) / "cifar10").exists():
        pytest.skip("$SPARRING_DATA has no cifar10/")
    source = Data(source="cifar10", split="test").load()
    x, y = source.take(torch.arange(0, len(source), 20))
    features, probabilities = Cifar32().classify(x)
    assert (probabilities.argmax(1) == y).double().mean() >= 0.85
    assert features.square().mean() == pytest.approx(1, rel=0.1)
