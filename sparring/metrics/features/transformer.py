"""A vision transformer (Dosovitskiy et al., arXiv:2010.11929) and the features it gives, as CLIP and DINOv2 share them.

Patches of an image become tokens beside one of the class; blocks of attention and of a small network follow, each
after a layer norm and beside what came in; the class token, normed, is the feature. Widths are read off the weights;
each head of attention has 64 channels in every published size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.metrics.features.network import FeatureNetwork, in_parts
from sparring.metrics.features.pixels import resize_tensorflow1, to_rgb

_HEAD = 64
_AT_ONCE = 32


class Transformer(nn.Module):
    """x [B, 3, size, size] to the normed class token [B, width]; the size is what the positions are of.

    Args:
        tensors: `patch.weight` [width, 3, P, P] (and `.bias`), `token` [width], `positions` [1 + (size/P)², width],
            `before.weight` and `.bias` (a layer norm before the blocks) or neither, `after.weight` and `.bias`, and of
            each block i `i.norm1`, `i.qkv`, `i.proj`, `i.norm2`, `i.fc1`, `i.fc2`, each with `.weight` and `.bias`.
        activation: between `fc1` and `fc2`.
        eps: of the layer norms.
    """

    def __init__(self, tensors: dict[str, Tensor], activation: Callable[[Tensor], Tensor], eps: float) -> None:
        super().__init__()
        self.activation, self.eps = activation, eps
        self.blocks = len({name.split(".")[0] for name in tensors if name[0].isdigit()})
        self.width = len(tensors["token"])
        self.size = round((len(tensors["positions"]) - 1) ** 0.5) * tensors["patch.weight"].shape[-1]
        for name, tensor in tensors.items():
            self.register_buffer(name.replace(".", "_"), tensor.float())

    def forward(self, x: Tensor) -> Tensor:
        patches = self._get("patch_weight")
        x = F.conv2d(x, patches, self._buffers.get("patch_bias"), patches.shape[-1]).flatten(2).mT
        token = self._get("token").expand(len(x), 1, -1)
        x = torch.cat([token, x], 1) + self._get("positions")
        if "before_weight" in self._buffers:
            x = self._norm("before", x)
        for i in range(self.blocks):
            x = x + self._attention(i, self._norm(f"{i}_norm1", x))
            hidden = self.activation(self._linear(f"{i}_fc1", self._norm(f"{i}_norm2", x)))
            x = x + self._linear(f"{i}_fc2", hidden)
        return self._norm("after", x[:, 0])

    def _attention(self, i: int, x: Tensor) -> Tensor:
        B, N, _ = x.shape
        heads = self._linear(f"{i}_qkv", x).reshape(B, N, 3, -1, _HEAD).permute(2, 0, 3, 1, 4)
        queries, keys, values = heads.unbind(0)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        return self._linear(f"{i}_proj", mixed.transpose(1, 2).flatten(2))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self._get(f"{name}_weight"), self._get(f"{name}_bias"))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.width,), self._get(f"{name}_weight"), self._get(f"{name}_bias"), self.eps)

    def _get(self, name: str) -> Tensor:
        return self.get_buffer(name)


class TransformerFeatures(FeatureNetwork):
    """Grey or RGB images of any size to the class token of a vision transformer that was trained on photographs.

    Args:
        name, sha256: those of the features.
        net: the transformer; images are brought to its size.
        mean, std: of each channel of its training images, by which pixels in [0, 1] were normalised.
    """

    num_classes = 0

    def __init__(
        self,
        name: str,
        sha256: str,
        net: Transformer,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.name, self.sha256, self.net, self.dim = name, sha256, net, net.width
        self.resize = f"bilinear {net.size}×{net.size}, TensorFlow 1"
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1))

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, 1 or 3, H, W] in [-1, 1] to features float32 [B, dim]."""
        return in_parts(self._features, to_rgb(x.to(self.mean.device), self.name), _AT_ONCE)

    def _features(self, pixels: Tensor) -> Tensor:
        token: Tensor = self.net((resize_tensorflow1(pixels, self.net.size) - self.mean) / self.std)
        return token
