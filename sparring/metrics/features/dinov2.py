"""DINOv2: Oquab et al., "Learning Robust Visual Features without Supervision" (arXiv:2304.07193); as features of
generated images, Stein et al. (arXiv:2306.04675), who found distances in them to agree best with people.

Their FD-DINOv2 brings images to 224×224 with an antialiased bicubic filter; here, as in torch-fidelity, it is bilinear:
the scores are near theirs for images of that size and above, and not the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.metrics.features.published import Published, read_published
from sparring.metrics.features.transformer import Transformer, TransformerFeatures

_AT = "https://dl.fbaipublicfiles.com/dinov2"
WEIGHTS = {
    "dinov2-vit-s-14": Published(
        "dinov2_vits14_pretrain.pth",
        f"{_AT}/dinov2_vits14/dinov2_vits14_pretrain.pth",
        "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
        88,
    ),
    "dinov2-vit-b-14": Published(
        "dinov2_vitb14_pretrain.pth",
        f"{_AT}/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
        "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        346,
    ),
    "dinov2-vit-l-14": Published(
        "dinov2_vitl14_pretrain.pth",
        f"{_AT}/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        1218,
    ),
}
_SIZE = 224
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Dinov2(TransformerFeatures):
    """Grey or RGB images of any size to the normed class token of the last block."""

    def __init__(self, name: str, tensors: dict[str, Tensor], sha256: str) -> None:
        """With the weights of the authors' files, by their names there."""
        super().__init__(name, sha256, Transformer(_renamed(tensors), F.gelu, eps=1e-6), _MEAN, _STD)


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    patch = tensors["patch_embed.proj.weight"]
    found = {
        "patch.weight": patch,
        "patch.bias": tensors["patch_embed.proj.bias"],
        "token": tensors["cls_token"].flatten(),
        "positions": _positions(tensors["pos_embed"][0].float(), _SIZE // patch.shape[-1]),
        "after.weight": tensors["norm.weight"],
        "after.bias": tensors["norm.bias"],
    }
    blocks = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    for i in range(blocks):
        for kind in ("weight", "bias"):
            for ours, theirs in {"norm1": "norm1", "norm2": "norm2", "qkv": "attn.qkv", "fc1": "mlp.fc1"}.items():
                found[f"{i}.{ours}.{kind}"] = tensors[f"blocks.{i}.{theirs}.{kind}"]
            # The scale of each branch's output channels, put into the layer that makes them.
            for ours, theirs, scale in (("proj", "attn.proj", "ls1"), ("fc2", "mlp.fc2", "ls2")):
                gamma, tensor = tensors[f"blocks.{i}.{scale}.gamma"], tensors[f"blocks.{i}.{theirs}.{kind}"]
                found[f"{i}.{ours}.{kind}"] = gamma[:, None] * tensor if kind == "weight" else gamma * tensor
    return found


def _positions(positions: Tensor, size: int) -> Tensor:
    """The class token's and those of size×size patches, interpolated from the grid of training (37×37).

    The authors' code asks for a scale of (size + 0.1) / 37, and is followed, or the features would be others.
    """
    old = round((len(positions) - 1) ** 0.5)
    grid = positions[1:].T.reshape(1, -1, old, old)
    if old != size:
        grid = F.interpolate(grid, mode="bicubic", scale_factor=((size + 0.1) / old,) * 2)
    return torch.cat([positions[:1], grid[0].flatten(1).T])


def load_dinov2(name: str) -> Dinov2:
    """With the published weights of that name. Raises `RequestError` as `read_published` does."""
    return Dinov2(name, read_published(WEIGHTS[name]), WEIGHTS[name].sha256)
