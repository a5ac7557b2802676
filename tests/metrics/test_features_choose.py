from pathlib import Path
from typing import Any

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.metrics.features.choose import NAMES, choose, load


@pytest.mark.parametrize(
    ("name", "shape", "features"),
    [
        ("mnist", (1, 28, 28), "digits28"),
        ("mnist", (784,), "digits28"),
        ("mnist", (1, 32, 32), "pca"),
        ("fashion-mnist", (1, 28, 28), "pca"),
        ("digits", (1, 8, 8), "digits8"),
        ("faces", (1, 8, 8), "pca"),
        ("ring8", (2,), "values"),
        ("points", (3,), "pca"),
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


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("inception", "weights-inception-2015-12-05-6726825d.pth"),
        ("inception-v3-compat", "weights-inception-2015-12-05-6726825d.pth"),
        ("clip", "clip-vit-base-patch32.bin"),
        ("clip-vit-l-14", "clip-vit-large-patch14.safetensors"),
        ("dinov2", "dinov2_vitl14_pretrain.pth"),
        ("dinov2-vit-s-14", "dinov2_vits14_pretrain.pth"),
        ("dinov2-vit-b-14", "dinov2_vitb14_pretrain.pth"),
    ],
)
def test_published_networks_ask_for_their_file(name: str, file: str, cache: Path, held: Any) -> None:
    (cache / "networks").mkdir(parents=True)
    (cache / "networks" / file).write_bytes(b"something else")
    assert name in NAMES
    with pytest.raises(RequestError, match=f"networks/{file}: has SHA-256 "):
        load(name, held(torch.zeros(5, 3, 8, 8)))


@pytest.mark.parametrize(("wrong", "meant"), [("incption", "inception"), ("dino", "dinov2"), ("value", "values")])
def test_other_names_are_answered_with_the_nearest(wrong: str, meant: str, held: Any) -> None:
    with pytest.raises(RequestError, match=rf"no features '{wrong}': did you mean '{meant}'\?"):
        load(wrong, held(torch.zeros(5, 3, 8, 8)))
