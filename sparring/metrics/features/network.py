"""A feature network: samples to vectors, with a name and a hash that say which vectors.

A Fréchet or kernel distance means something only beside its network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError


class FeatureNetwork(nn.Module):
    """Samples to vectors, with a name and a hash that say which vectors.

    Called with x [B, C, H, W] or [B, D] in [-1, 1] it gives features float32 [B, dim].
    """

    name: str
    sha256: str
    """Of the numbers that define the network: equal hashes, comparable distances."""
    dim: int
    num_classes: int
    """0 when it cannot tell classes apart."""
    resize: str = "none"
    """How samples are brought to the size that it looks at, or 'none'."""

    def classify(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features [B, dim] and class probabilities [B, num_classes]; [B, 0] when it cannot tell."""
        if self.num_classes:
            raise NotImplementedError(f"{type(self).__name__} tells classes and must define classify()")
        features = self(x)
        return features, features.new_empty(len(features), 0)


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes, types and little-endian values, in the order of the names."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        if tensor.dtype == torch.bfloat16:  # numpy has no such numbers
            tensor = tensor.view(torch.int16)
        digest.update(tensor.numpy().astype(tensor.numpy().dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def expect_shape(name: str, shape: tuple[int, ...], x: Tensor) -> None:
    """Raises `RequestError` unless x is [B, *shape]."""
    if x.shape[1:] != shape:
        raise RequestError(
            f"features {name}: expected samples of shape {'×'.join(map(str, shape))}, "
            f"found {'×'.join(map(str, x.shape[1:]))}; choose other features, or score samples of that shape"
        )


def in_parts(function: Callable[[Tensor], Tensor], x: Tensor, most: int) -> Tensor:
    """function(x) for a function of each sample by itself, with at most that many samples in memory at once."""
    return torch.cat([function(part) for part in torch.split(x, most)])
