"""A small source to judge against, and a cache folder that is not the user's."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sparring.core.protocols import Batch, DataSpec


class Held:
    """A source of samples that a test made up."""

    def __init__(self, x: Tensor, y: Tensor | None = None, *, name: str = "made", sha256: str = "", levels: int = 0):
        self.x, self.y = x, y
        self.spec = DataSpec(
            name=name,
            shape=tuple(x.shape[1:]),
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


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 digits: x [1797, 1, 8, 8] in [-1, 1] and labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.from_numpy(found.images).float()[:, None] / 8 - 1, torch.from_numpy(found.target).long()


@pytest.fixture(scope="session")
def mnist() -> Callable[[str], tuple[Tensor, Tensor]]:
    """Reads a split of real MNIST ('train' or 't10k'): uint8 [N, 28, 28] as x [N, 1, 28, 28] in [-1, 1], and labels."""
    import gzip

    folder = Path(os.environ.get("SPARRING_DATA", "")) / "mnist"
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("real MNIST is not under $SPARRING_DATA")

    def read(split: str) -> tuple[Tensor, Tensor]:
        images, labels = (
            np.frombuffer(gzip.decompress((folder / f"{split}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
            for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
        )
        x = torch.from_numpy(images.reshape(-1, 1, 28, 28).copy()).float() / 127.5 - 1
        return x, torch.from_numpy(labels.astype(np.int64))

    return read
