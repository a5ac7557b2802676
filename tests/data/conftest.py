"""What the tests of `sparring.data` share: small pictures, and a home without caches or data of its own."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def png() -> Callable[..., bytes]:
    """A function that makes the bytes of a random image file of shape [H, W] or [H, W, C]."""

    def make(seed: int, shape: tuple[int, ...] = (6, 5, 3), form: str = "PNG") -> bytes:
        pixels = np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, form)
        return out.getvalue()

    return make


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no `$SPARRING_DATA`: nothing of the machine's own is found."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("SPARRING_CACHE", str(cache))
    monkeypatch.delenv("SPARRING_DATA", raising=False)
    return cache


@pytest.fixture
def real_mnist_root() -> Path:
    """A folder that has real MNIST in mnist/; without it the test is skipped. Ask for it before `away`."""
    root = os.environ.get("SPARRING_DATA")
    if not root or not (Path(root) / "mnist").is_dir():
        pytest.skip("real MNIST is not here: set SPARRING_DATA to a folder that has mnist/")
    return Path(root)
