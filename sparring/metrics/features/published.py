"""Weights that others publish: downloaded once, at first use, and read only after their bytes have the known hash.

PyTorch's files are pickles, which could run anything. They are read with torch's restricted reader, which builds
tensors and plain containers and refuses all else, and only when the hash fits; this is the one place in the package
that reads them.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from sparring.core.download import fetch
from sparring.core.errors import RequestError
from sparring.core.files import cache_folder


class Published(NamedTuple):
    """A file of tensors by name: PyTorch's own form, or safetensors where the name says so."""

    file: str
    """Its name in the cache folder."""
    url: str
    sha256: str
    megabytes: int


def read_published(published: Published) -> dict[str, Tensor]:
    """The file's tensors by name, from the cache folder's `networks/`, where it is downloaded to when it is missing.

    A download is announced in one line on stderr. Raises `RequestError` when it fails, and for bytes of another hash.
    """
    path = cache_folder() / "networks" / published.file
    if not path.exists():
        _download(published, path)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != published.sha256:
            raise RequestError(
                f"{path}: has SHA-256 {found}, expected {published.sha256}; delete it, and it is downloaded again"
            )
        file.seek(0)
        if path.suffix == ".safetensors":
            return safetensors.torch.load(file.read())
        tensors: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return tensors


def _download(published: Published, path: Path) -> None:
    print(f"downloading {published.file} ({published.megabytes:,} MB) from {published.url}", file=sys.stderr)
    try:
        fetch(published.url, published.sha256, (published.megabytes + 1) * 10**6, path)
    except (OSError, ValueError) as error:  # ValueError: not the bytes that were expected, and they were not kept
        why = type(error).__name__ if isinstance(error, OSError) else "other bytes"
        raise RequestError(
            f"{published.file}: {published.url} gave {why}; download it (SHA-256 {published.sha256}) to {path}"
        ) from None
