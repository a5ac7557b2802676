"""A small source to judge against, and a cache folder that is not the user's."""

import importlib
import os
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from sparring.core.protocols import Batch, DataSpec
from sparring.data.open import Data


class Held:
    """A source of samples that a test made up."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        name: str = "made",
        sha256: str = "",
        levels: int = 0,
        form: Any = None,
    ):
        self.x, self.y = x, y
        self.spec = DataSpec(
            name=name,
            shape=tuple(x.shape[1:]),
            form=form,
            levels=levels,
            num_classes=0 if y is None else int(y.max()) + 1,
            sha256=sha256,
        )
        self.report = {"split": "train"}

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Batch:
        return Batch(self.x[index], None if self.y is None else self.y[index])

    def to(self, device: torch.device) -> "Held":
        return self


@pytest.fixture
def held() -> type[Held]:
    return Held


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def whole(name: str, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
    source = Data(source=name, split=split).load()
    x, y = source.take(torch.arange(len(source)))
    assert y is not None
    return x, y


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,500 digits for training and then the 297 for testing: x [1797, 1, 8, 8] and labels."""
    (x, y), (test_x, test_y) = whole("digits", "train"), whole("digits", "test")
    return torch.cat([x, test_x]), torch.cat([y, test_y])


@pytest.fixture
def mnist(cache: Path) -> Callable[[Literal["train", "test"]], tuple[Tensor, Tensor]]:
    """Reads a split of real MNIST: x [N, 1, 28, 28] in [-1, 1] and labels."""
    if not (Path(os.environ.get("SPARRING_DATA", "")) / "mnist").exists():
        pytest.skip("$SPARRING_DATA has no mnist/")
    return lambda split: whole("mnist", split)


@pytest.fixture(scope="session")
def fidelity() -> Any:
    """torch-fidelity, the reference implementation.

    It imports torchvision, which has no build for the CPU build of torch: the few names that it needs are stood in for.
    Of these only `normalize` does anything; its data sets, transforms and VGG weights are not used.
    """

    def normalize(x: Tensor, mean: Any, std: Any, inplace: bool = False) -> Tensor:
        mean, std = (torch.as_tensor(v, dtype=x.dtype, device=x.device).view(-1, 1, 1) for v in (mean, std))
        return (x - mean) / std

    def module(name: str, **names: Any) -> types.ModuleType:
        made = types.ModuleType(name)
        vars(made).update(names)
        return made

    sets = {name: type(name, (), {}) for name in ("CIFAR10", "CIFAR100", "STL10")}
    parts = {
        "torchvision.datasets": module("torchvision.datasets", **sets),
        "torchvision.transforms.functional": module("torchvision.transforms.functional", normalize=normalize),
        "torchvision.models": module("torchvision.models"),
    }
    parts["torchvision.transforms"] = module(
        "torchvision.transforms", functional=parts["torchvision.transforms.functional"]
    )
    parts["torchvision"] = module(
        "torchvision",
        datasets=parts["torchvision.datasets"],
        transforms=parts["torchvision.transforms"],
        models=parts["torchvision.models"],
    )
    sys.modules.update({name: part for name, part in parts.items() if name not in sys.modules})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("torch_fidelity")
