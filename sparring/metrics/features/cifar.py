"""A small classifier of CIFAR-10's pictures, trained by `bench/train_cifar_features.py`.

It is used on the data that it was trained on and on nothing else. After K. Jordan, "94% on CIFAR-10 in 3.29 seconds on
a single GPU" (arXiv:2404.00498, section 3): patches of 2×2 pixels are whitened, then come three blocks of two
convolutions.

The shipped weights were trained on JPEG copies of the pictures (quality 75) and read 88.4 % of the copied test pictures
right. Their features hardly see a shift of all colours (red raised by a tenth of its range adds 0.26 to a Fréchet
distance whose floor is 0.12, 10,000 samples a side), where blur with σ = 1 gives 18 and half the classes 19.
"""

from __future__ import annotations

import itertools
from importlib import resources

import safetensors.torch
import torch
from torch import Tensor, nn

from sparring.metrics.features.network import FeatureNetwork, expect_shape, hash_tensors, in_parts

WIDTHS = (24, 64, 128, 128)
"""Channels of the whitened patches and of the three blocks."""


def picture_classifier(*, train: bool) -> nn.ModuleDict:
    """Pictures [B, 3, 32, 32] to 128 features, each the greatest answer over the picture, and logits of ten classes.

    With `train`, a batch norm follows each convolution of the blocks, after the pooling where there is one. Its scale
    must stay positive: then it commutes with the pooling, and is folded into the convolution's weights when they are
    shipped.
    """
    body: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 2), nn.GELU()]
    for inputs, outputs in itertools.pairwise(WIDTHS):
        for channels, pooling in ((inputs, [nn.MaxPool2d(2)]), (outputs, [])):
            body.extend([nn.Conv2d(channels, outputs, 3, padding=1, bias=not train), *pooling])
            body.extend([nn.BatchNorm2d(outputs)] if train else [])
            body.append(nn.GELU())
    body.extend([nn.MaxPool2d(3), nn.Flatten()])
    return nn.ModuleDict({"body": nn.Sequential(*body), "head": nn.Linear(WIDTHS[-1], 10, bias=False)})


class Cifar32(FeatureNetwork):
    """CIFAR-10: 3×32×32 to 128 features, the last hidden layer, and ten classes."""

    name = "cifar32"
    shape = (3, 32, 32)
    dim = WIDTHS[-1]
    num_classes = 10
    MOST_AT_ONCE = 250
    """Samples; the widest layer holds a quarter of a megabyte of each."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):  # the global random state stays as it was: nothing is initialised
            net = picture_classifier(train=False)
        raw = (resources.files("sparring.metrics") / "weights" / f"{self.name}.safetensors").read_bytes()
        tensors = {key: value.float() for key, value in safetensors.torch.load(raw).items()}
        self.sha256 = hash_tensors(tensors)
        self.scale: Tensor
        self.register_buffer("scale", tensors.pop("scale"))
        net.load_state_dict(tensors, assign=True)
        self.body, self.head = net["body"].requires_grad_(False), net["head"].requires_grad_(False)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, 3, 32, 32] in [-1, 1] to features float32 [B, 128], of mean square 1 over the training images."""
        expect_shape(self.name, self.shape, x)
        x = x.to(self.scale.device, torch.float32, memory_format=torch.channels_last)
        return in_parts(self.body, x, self.MOST_AT_ONCE) * self.scale

    @torch.inference_mode()
    def classify(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features [B, 128] and the probabilities of the ten classes [B, 10]."""
        features = self(x)
        return features, self.head(features).softmax(1)
