"""Inception v3 as the FID knows it: the graph of 2015-12-05 that TensorFlow's GAN metrics run, with its own pooling.

Architecture: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567), trained on
ImageNet; used by Salimans et al. for the Inception Score (arXiv:1606.03498) and by Heusel et al. for the FID
(arXiv:1706.08500). Beside torchvision's network of that name it has 1,008 classes, average pooling that leaves its
padding out, and max pooling in the last block. Weights: M. Seitzer's port, in the file of torch-fidelity.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.metrics.features.network import FeatureNetwork, in_parts
from sparring.metrics.features.pixels import resize_tensorflow1, to_rgb
from sparring.metrics.features.published import Published, read_published

WEIGHTS = Published(
    "weights-inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    96,
)
_AT_ONCE = 32


class Inception(FeatureNetwork):
    """Grey or RGB images of any size to the 2,048 features of the last pooling, and 1,008 ImageNet classes.

    The classes' logits leave the bias out, as those of the Inception Score do.
    """

    name = "inception-v3-compat"
    dim = 2048
    num_classes = 1008
    resize = "bilinear 299×299, TensorFlow 1"

    def __init__(self, tensors: dict[str, Tensor], sha256: str) -> None:
        """With the weights of torch-fidelity's file, by their names there."""
        super().__init__()
        with torch.device("meta"):  # the global random state stays as it was: nothing is initialised
            self.net = _layers()
        self.net.load_state_dict(tensors, assign=True)
        self.eval().requires_grad_(False)
        self.sha256 = sha256

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, 1 or 3, H, W] in [-1, 1] to features float32 [B, 2048]."""
        pixels = to_rgb(x.to(self.net["fc"].get_parameter("weight").device), self.name)
        return in_parts(self._features, pixels, _AT_ONCE)

    @torch.inference_mode()
    def classify(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features [B, 2048] and the probabilities of the classes [B, 1008]."""
        features = self(x)
        return features, F.linear(features, self.net["fc"].get_parameter("weight")).softmax(1)

    def _features(self, pixels: Tensor) -> Tensor:
        x = (resize_tensorflow1(pixels, 299) - 128) / 128
        for name, layer in self.net.items():
            if name == "Conv2d_3b_1x1" or name == "Mixed_5b":
                x = F.max_pool2d(x, 3, 2)
            if name != "fc":
                x = layer(x)
        return x.mean((2, 3))


class _Convolution(nn.Module):
    """A convolution without bias, then batch norm and ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int, padding: tuple[int, int]
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.bn(self.conv(x)))


def _convolution(
    inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, *, padded: bool = True
) -> _Convolution:
    """Padded to keep the size, unless its stride is 2 or it is asked not to."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2) if padded and stride == 1 else (0, 0)
    return _Convolution(inputs, outputs, (height, width), stride, padding)


class _Mixed(nn.Module):
    """Branches side by side, their channels put together in the order given.

    A branch is a chain of layers by name; its last element may be a pair, whose two outputs are put together. Poolings
    go by name too: `average` and `max` keep the size, `halve` is a max pooling of stride 2.
    """

    def __init__(
        self, branches: tuple[tuple[str | tuple[str, str], ...], ...], layers: dict[str, _Convolution]
    ) -> None:
        super().__init__()
        self.branches = branches
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._branch(x, branch) for branch in self.branches], 1)

    def _branch(self, x: Tensor, chain: tuple[str | tuple[str, str], ...]) -> Tensor:
        for step in chain:
            if step == "average":
                x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            elif step == "max":
                x = F.max_pool2d(x, 3, 1, 1)
            elif step == "halve":
                x = F.max_pool2d(x, 3, 2)
            elif isinstance(step, tuple):
                x = torch.cat([self.get_submodule(name)(x) for name in step], 1)
            else:
                x = self.get_submodule(step)(x)
        return x


def _mixed_a(inputs: int, pooled: int) -> _Mixed:
    c = _convolution
    layers = {
        "branch1x1": c(inputs, 64, 1),
        "branch5x5_1": c(inputs, 48, 1),
        "branch5x5_2": c(48, 64, 5),
        "branch3x3dbl_1": c(inputs, 64, 1),
        "branch3x3dbl_2": c(64, 96, 3),
        "branch3x3dbl_3": c(96, 96, 3),
        "branch_pool": c(inputs, pooled, 1),
    }
    double = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
    return _Mixed((("branch1x1",), ("branch5x5_1", "branch5x5_2"), double, ("average", "branch_pool")), layers)


def _mixed_b() -> _Mixed:
    c = _convolution
    layers = {
        "branch3x3": c(288, 384, 3, 2),
        "branch3x3dbl_1": c(288, 64, 1),
        "branch3x3dbl_2": c(64, 96, 3),
        "branch3x3dbl_3": c(96, 96, 3, 2),
    }
    return _Mixed((("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), ("halve",)), layers)


def _mixed_c(width: int) -> _Mixed:
    c = _convolution
    layers = {
        "branch1x1": c(768, 192, 1),
        "branch7x7_1": c(768, width, 1),
        "branch7x7_2": c(width, width, (1, 7)),
        "branch7x7_3": c(width, 192, (7, 1)),
        "branch7x7dbl_1": c(768, width, 1),
        "branch7x7dbl_2": c(width, width, (7, 1)),
        "branch7x7dbl_3": c(width, width, (1, 7)),
        "branch7x7dbl_4": c(width, width, (7, 1)),
        "branch7x7dbl_5": c(width, 192, (1, 7)),
        "branch_pool": c(768, 192, 1),
    }
    single = tuple(f"branch7x7_{i}" for i in (1, 2, 3))
    double = tuple(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5))
    return _Mixed((("branch1x1",), single, double, ("average", "branch_pool")), layers)


def _mixed_d() -> _Mixed:
    c = _convolution
    layers = {
        "branch3x3_1": c(768, 192, 1),
        "branch3x3_2": c(192, 320, 3, 2),
        "branch7x7x3_1": c(768, 192, 1),
        "branch7x7x3_2": c(192, 192, (1, 7)),
        "branch7x7x3_3": c(192, 192, (7, 1)),
        "branch7x7x3_4": c(192, 192, 3, 2),
    }
    long = tuple(f"branch7x7x3_{i}" for i in (1, 2, 3, 4))
    return _Mixed((("branch3x3_1", "branch3x3_2"), long, ("halve",)), layers)


def _mixed_e(inputs: int, pooling: str) -> _Mixed:
    c = _convolution
    layers = {
        "branch1x1": c(inputs, 320, 1),
        "branch3x3_1": c(inputs, 384, 1),
        "branch3x3_2a": c(384, 384, (1, 3)),
        "branch3x3_2b": c(384, 384, (3, 1)),
        "branch3x3dbl_1": c(inputs, 448, 1),
        "branch3x3dbl_2": c(448, 384, 3),
        "branch3x3dbl_3a": c(384, 384, (1, 3)),
        "branch3x3dbl_3b": c(384, 384, (3, 1)),
        "branch_pool": c(inputs, 192, 1),
    }
    single = ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b"))
    double = ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b"))
    return _Mixed((("branch1x1",), single, double, (pooling, "branch_pool")), layers)


def _layers() -> nn.ModuleDict:
    """In the order in which they are applied, but for two max poolings without weights."""
    return nn.ModuleDict(
        {
            "Conv2d_1a_3x3": _convolution(3, 32, 3, 2),
            "Conv2d_2a_3x3": _convolution(32, 32, 3, padded=False),
            "Conv2d_2b_3x3": _convolution(32, 64, 3),
            "Conv2d_3b_1x1": _convolution(64, 80, 1),
            "Conv2d_4a_3x3": _convolution(80, 192, 3, padded=False),
            "Mixed_5b": _mixed_a(192, 32),
            "Mixed_5c": _mixed_a(256, 64),
            "Mixed_5d": _mixed_a(288, 64),
            "Mixed_6a": _mixed_b(),
            "Mixed_6b": _mixed_c(128),
            "Mixed_6c": _mixed_c(160),
            "Mixed_6d": _mixed_c(160),
            "Mixed_6e": _mixed_c(192),
            "Mixed_7a": _mixed_d(),
            "Mixed_7b": _mixed_e(1280, "average"),
            "Mixed_7c": _mixed_e(2048, "max"),
            "fc": nn.Linear(2048, 1008),
        }
    )


def load_inception() -> Inception:
    """With the published weights. Raises `RequestError` as `read_published` does."""
    return Inception(read_published(WEIGHTS), WEIGHTS.sha256)
