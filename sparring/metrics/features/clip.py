"""CLIP's view of an image: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
(arXiv:2103.00020); as features of generated images, Kynkäänniemi et al. (arXiv:2203.06026).

The weights are OpenAI's own upload to Hugging Face, since the original files are TorchScript, whose reading runs code.
The numbers are those of the originals, brought to float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.metrics.features.network import FeatureNetwork, in_parts
from sparring.metrics.features.pixels import resize_tensorflow1, to_rgb
from sparring.metrics.features.published import Published, read_published
from sparring.metrics.features.transformer import Transformer

_AT = "https://huggingface.co/openai/clip-vit"
WEIGHTS = {
    "clip-vit-b-32": Published(
        "clip-vit-base-patch32.bin",
        f"{_AT}-base-patch32/resolve/3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268/pytorch_model.bin",
        "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
        605,
    ),
    "clip-vit-l-14": Published(
        "clip-vit-large-patch14.safetensors",
        f"{_AT}-large-patch14/resolve/32bd64288804d66eefd0ccbe215aa642df71cc41/model.safetensors",
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        1711,
    ),
}
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_AT_ONCE = 32


class Clip(FeatureNetwork):
    """Grey or RGB images of any size to CLIP's image embedding, before it is brought to length 1."""

    num_classes = 0

    def __init__(self, name: str, tensors: dict[str, Tensor], sha256: str) -> None:
        """With the weights of a `CLIPModel` of Hugging Face's transformers, by their names there."""
        super().__init__()
        self.name, self.sha256 = name, sha256
        renamed = _renamed(tensors)
        self.projection: Tensor
        self.register_buffer("projection", tensors["visual_projection.weight"].float())
        self.net = Transformer(renamed, lambda x: x * torch.sigmoid(1.702 * x), eps=1e-5)
        self.dim = len(self.projection)
        self.size = round((len(renamed["positions"]) - 1) ** 0.5) * renamed["patch.weight"].shape[-1]
        self.resize = f"bilinear {self.size}×{self.size}, TensorFlow 1"
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", 255 * torch.tensor(_MEAN).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(_STD).view(3, 1, 1))

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, 1 or 3, H, W] in [-1, 1] to features float32 [B, dim]."""
        return in_parts(self._features, to_rgb(x.to(self.mean.device), self.name), _AT_ONCE)

    def _features(self, pixels: Tensor) -> Tensor:
        token: Tensor = self.net((resize_tensorflow1(pixels, self.size) - self.mean) / self.std)
        return token @ self.projection.T


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    of, found = "vision_model.", {}
    found["patch.weight"] = tensors[f"{of}embeddings.patch_embedding.weight"]
    found["token"] = tensors[f"{of}embeddings.class_embedding"]
    found["positions"] = tensors[f"{of}embeddings.position_embedding.weight"]
    blocks = len({name.split(".")[3] for name in tensors if name.startswith(f"{of}encoder.layers.")})
    for kind in ("weight", "bias"):
        found[f"before.{kind}"] = tensors[f"{of}pre_layrnorm.{kind}"]
        found[f"after.{kind}"] = tensors[f"{of}post_layernorm.{kind}"]
        for i in range(blocks):
            block = f"{of}encoder.layers.{i}."
            found[f"{i}.qkv.{kind}"] = torch.cat([tensors[f"{block}self_attn.{c}_proj.{kind}"] for c in "qkv"])
            found[f"{i}.proj.{kind}"] = tensors[f"{block}self_attn.out_proj.{kind}"]
            for ours, theirs in {
                "norm1": "layer_norm1",
                "norm2": "layer_norm2",
                "fc1": "mlp.fc1",
                "fc2": "mlp.fc2",
            }.items():
                found[f"{i}.{ours}.{kind}"] = tensors[f"{block}{theirs}.{kind}"]
    return found


def load_clip(name: str) -> Clip:
    """With the published weights of that name. Raises `RequestError` as `read_published` does."""
    return Clip(name, read_published(WEIGHTS[name]), WEIGHTS[name].sha256)
