from typing import Any

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.metrics.features.choose import choose, load


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
