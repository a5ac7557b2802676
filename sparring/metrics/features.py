"""Feature networks: where samples are compared. A Fréchet or kernel distance means something only beside its network.

`Digits28` and `Digits8` are small classifiers trained by `bench/train_features.py`, used on the data that they were
trained on and on nothing else. For any other data the features are the principal components of the pixels, named as
such: they see layout and contrast, not what a picture shows.
"""

from __future__ import annotations

import functools
import hashlib
import math
from importlib import resources

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.core.errors import RequestError, nearest
from sparring.core.protocols import DataSpec, Source
from sparring.metrics.summary import merge, moments_of, summarise

NAMES = ("digits28", "digits8", "pca")


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


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes, types and little-endian values, in the order of the names."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.numpy().astype(tensor.numpy().dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


class PCA(FeatureNetwork):
    """Principal components of the reference's own values, not whitened: `pca64-pixels`, or `pca64-pixels-pool2` when
    pictures of more than 1,024 values are first averaged over 2×2 pixels (`-values` for data that are not pictures).

    A distance here compares layout and contrast at the scale of the values, [-1, 1]. It knows nothing of content and
    must not be compared with a distance in any other features.
    """

    MOST_INPUTS = 1024
    FITTED_ON = 10_000
    num_classes = 0

    def __init__(self, shape: tuple[int, ...], pool: int, mean: Tensor, components: Tensor) -> None:
        """Of samples of that shape, averaged over `pool` values each way: mean [D], components [dim, D]."""
        super().__init__()
        self.shape, self.pool, self.dim = shape, pool, len(components)
        kind = "pixels" if len(shape) == 3 else "values"
        self.name = f"pca{self.dim}-{kind}" + (f"-pool{pool}" if pool > 1 else "")
        self.sha256 = hash_tensors({"mean": mean, "components": components})
        self.mean: Tensor
        self.components: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)

    @classmethod
    def fit(cls, reference: Source, dim: int = 64) -> PCA:
        """The first components of the reference (of 10,000 samples evenly spread over it, where it holds more).

        Each component's largest entry is positive. Raises `RequestError` for a reference of fewer than 2 samples.
        """
        if len(reference) < 2:
            raise RequestError(f"features of {reference.spec.name} need at least 2 samples, found {len(reference)}")
        index = torch.arange(len(reference))
        if len(reference) > cls.FITTED_ON:
            index = torch.linspace(0, len(reference) - 1, cls.FITTED_ON, dtype=torch.float64).long()
        pool = _pooling(reference.spec.shape, cls.MOST_INPUTS)
        parts = (summarise(_pooled(reference.take(part).x, pool)) for part in torch.split(index, 1000))
        mean, cov = moments_of(functools.reduce(merge, parts))
        kept = min(dim, len(mean), len(index) - 1)
        components = torch.linalg.eigh(cov).eigenvectors[:, -kept:].flip(1).T
        largest = components.gather(1, components.abs().argmax(1, keepdim=True))
        return cls(reference.spec.shape, pool, mean.float(), (components * largest.sign()).float())

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, *shape] in [-1, 1] to features float32 [B, dim]."""
        if x.shape[1:] != self.shape:
            raise RequestError(
                f"features {self.name}: expected samples of shape {'×'.join(map(str, self.shape))}, "
                f"found {'×'.join(map(str, x.shape[1:]))}; score samples of the reference's own shape"
            )
        pooled = _pooled(x.to(self.mean.device), self.pool)
        return (pooled - self.mean) @ self.components.T

    @torch.inference_mode()
    def classify(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features [B, dim] and no probabilities [B, 0]."""
        features = self(x)
        return features, features.new_empty(len(features), 0)


def _pooling(shape: tuple[int, ...], most: int) -> int:
    """The smallest window whose averages leave at most that many values of a sample."""
    pool = 1
    while math.prod((*shape[:-2], *(math.ceil(n / pool) for n in shape[-2:]))) > most and pool < max(shape):
        pool += 1
    return pool


def _pooled(x: Tensor, pool: int) -> Tensor:
    """x [B, C, H, W] or [B, D], averaged over windows of that size, flat: float32 [B, values]."""
    x = x.float()
    if pool > 1:
        x = F.avg_pool2d(x, pool, ceil_mode=True) if x.dim() == 4 else F.avg_pool1d(x[:, None], pool, ceil_mode=True)
    return x.flatten(1)


def choose(data: DataSpec) -> str:
    """The features for some data: `digits28` for MNIST, `digits8` for scikit-learn's digits, else `pca`.

    A classifier is chosen only for the very data that it was trained on, by name and shape.
    """
    if data.name == "mnist" and data.shape in ((1, 28, 28), (784,)):
        return Digits28.name
    if data.name == "digits" and data.shape == (1, 8, 8):
        return Digits8.name
    return "pca"


def load(name: str, reference: Source) -> FeatureNetwork:
    """The feature network of that name; `pca` is fitted on the reference. Raises `RequestError` for other names."""
    if name == Digits28.name:
        return Digits28()
    if name == Digits8.name:
        return Digits8()
    if name == "pca":
        return PCA.fit(reference)
    raise RequestError(f"there are no features {name!r}: {nearest(name, NAMES)}")
