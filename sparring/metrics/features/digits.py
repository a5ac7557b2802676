"""Small classifiers of handwritten digits, trained by `bench/train_features.py`.

They are used on the data that they were trained on and on nothing else.
"""

from __future__ import annotations

import math
from importlib import resources

import safetensors.torch
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.metrics.features.network import FeatureNetwork, hash_tensors


def digit_classifier(
    size: int, channels: tuple[int, ...], kernels: tuple[int, ...], strides: tuple[int, ...], dim: int, *, train: bool
) -> nn.ModuleDict:
    """Convolutions, then a dense layer to `dim` features, then logits of ten digits.

    With `train`, a batch norm follows each convolution; it is folded into the convolution's weights when they are
    shipped, so that scoring pays nothing for it.
    """
    body: list[nn.Module] = []
    inputs = 1
    for outputs, kernel, stride in zip(channels, kernels, strides, strict=True):
        body.append(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2))
        body.extend([nn.BatchNorm2d(outputs)] if train else [])
        body.append(nn.ReLU())
        inputs, size = outputs, math.ceil(size / stride)
    body.extend([nn.Flatten(), nn.Linear(inputs * size * size, dim), nn.ReLU()])
    return nn.ModuleDict({"body": nn.Sequential(*body), "head": nn.Linear(dim, 10)})


class _DigitClassifier(FeatureNetwork):
    """A shipped classifier; its features are the last hidden layer, after ReLU."""

    size: int
    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    dim = 64
    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):  # the global random state stays as it was: nothing is initialised
            net = self.architecture(train=False)
        raw = (resources.files("sparring.metrics") / "weights" / f"{self.name}.safetensors").read_bytes()
        tensors = {key: value.float() for key, value in safetensors.torch.load(raw).items()}
        net.load_state_dict(tensors, assign=True)
        self.body, self.head = net["body"].requires_grad_(False), net["head"].requires_grad_(False)
        self.sha256 = hash_tensors(tensors)

    @classmethod
    def architecture(cls, *, train: bool) -> nn.ModuleDict:
        return digit_classifier(cls.size, cls.channels, cls.kernels, cls.strides, cls.dim, train=train)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, 1, size, size] or [B, size·size] in [-1, 1] to features float32 [B, 64]."""
        if x[0].numel() != self.size**2:
            raise RequestError(
                f"features {self.name}: expected samples of shape 1×{self.size}×{self.size}, "
                f"found {'×'.join(map(str, x.shape[1:]))}; use features 'pca' for other data"
            )
        x = x.to(next(self.head.parameters()).device, torch.float32)
        features: Tensor = self.body(x.reshape(-1, 1, self.size, self.size))
        return features

    @torch.inference_mode()
    def classify(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features [B, 64] and the probabilities of the ten digits [B, 10]."""
        features = self(x)
        return features, self.head(features).softmax(1)


class Digits28(_DigitClassifier):
    """MNIST: 1×28×28 (or [784]) to 64 features and ten digits."""

    name = "digits28"
    size = 28
    channels, kernels, strides = (16, 48, 96), (5, 3, 3), (2, 2, 2)


class Digits8(_DigitClassifier):
    """scikit-learn's digits: 1×8×8 to 64 features and ten digits."""

    name = "digits8"
    size = 8
    channels, kernels, strides = (32, 64, 64), (3, 3, 3), (1, 2, 2)
