import hashlib
from typing import Any

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.metrics.features import load
from sparring.metrics.features.values import Values


def test_values_are_those_of_the_samples_between_0_and_1() -> None:
    x = torch.tensor([[[[-1.0, -0.5], [0.0, 1.0]]]])
    network = Values((1, 2, 2))
    assert network(x).tolist() == [[0.0, 0.25, 0.5, 1.0]]
    features, none = network.classify(x)
    assert torch.equal(features, network(x))
    assert none.shape == (1, 0)
    assert (network.dim, network.num_classes, network.resize) == (4, 0, "none")


def test_the_hash_is_of_name_and_shape(held: Any) -> None:
    source = held(torch.zeros(5, 3))
    assert load("values", source).sha256 == hashlib.sha256(b"values (3,)").hexdigest()
    assert Values((1, 2, 3)).sha256 != Values((3, 2, 1)).sha256
    with pytest.raises(RequestError, match="features values: expected samples of shape 3, found 4;"):
        Values((3,))(torch.zeros(2, 4))
