"""CLIP's view of an image: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
(arXiv:2103.00020); as features of generated images, Kynkäänniemi et al. (arXiv:2203.06026).

The weights are OpenAI's own upload to Hugging Face, since the original files are TorchScript, whose reading runs code.
The numbers are those of the originals, brought to float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.metrics.features.published import Published, read_published
from sparring.metrics.features.transformer import Transformer, TransformerFeatures

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


class Clip(TransformerFeatures):
    """Grey or RGB images of any size to CLIP's image embedding, before it is brought to length 1."""

    def __init__(self, name: str, tensors: dict[str, Tensor], sha256: str) -> None:
        """With the weights of a `CLIPModel` of Hugging Face's transformers, by their names there."""
        net = Transformer(_renamed(tensors), lambda x: x * torch.sigmoid(1.702 * x), eps=1e-5)
        super().__init__(name, sha256, net, _MEAN, _STD)
        self.projection: Tensor
        self.register_buffer("projection", tensors["visual_projection.weight"].float())
        self.dim = len(self.projection)

    def _features(self, pixels: Tensor) -> Tensor:
        return super()._features(pixels) @ self.projection.T


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
