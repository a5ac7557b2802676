"""A feature network: samples to vectors, with a name and a hash that say which vectors.

A Fréchet or kernel distance means something only beside its network.
"""

from __future__ import annotations

import hashlib

from torch import Tensor, nn


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
        raise NotImplementedError(f"{type(self).__name__} must define classify()")


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes, types and little-endian values, in the order of the names."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.numpy().astype(tensor.numpy().dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()
