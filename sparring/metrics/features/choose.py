"""Feature networks by name, and which one fits some data."""

from __future__ import annotations

import math
from pathlib import Path

from sparring.core.errors import RequestError, nearest
from sparring.core.forms import Text
from sparring.core.protocols import DataSpec, Source
from sparring.metrics.features import clip, dinov2
from sparring.metrics.features.cifar import Cifar32
from sparring.metrics.features.digits import Digits8, Digits28
from sparring.metrics.features.inception import Inception, load_inception
from sparring.metrics.features.module import load_module
from sparring.metrics.features.network import FeatureNetwork
from sparring.metrics.features.onnx import load_onnx
from sparring.metrics.features.pca import PCA
from sparring.metrics.features.stacked import StackedDigits28
from sparring.metrics.features.tokens import Tokens
from sparring.metrics.features.values import Values

USUAL_SIZE = {"inception": Inception.name, "clip": "clip-vit-b-32", "dinov2": "dinov2-vit-l-14"}
"""What the short names stand for."""
NAMES = (
    "digits28",
    "digits8",
    "cifar32",
    "pca",
    "values",
    "tokens",
    "stacked-digits28",
    *USUAL_SIZE,
    Inception.name,
    *clip.WEIGHTS,
    *dinov2.WEIGHTS,
)


def choose(data: DataSpec) -> str:
    """The features for some data: `digits28` for MNIST, `digits8` for scikit-learn's digits, `cifar32` for CIFAR-10,
    `tokens` for texts, `values` for series, rows of tables and vectors of one or two numbers, else `pca`.

    A classifier is chosen only for the very data that it was trained on, by name and shape.
    """
    if data.name == "mnist" and data.shape in ((1, 28, 28), (784,)):
        return Digits28.name
    if data.name == "digits" and data.shape == (1, 8, 8):
        return Digits8.name
    if data.name == "cifar10" and data.shape == Cifar32.shape:
        return Cifar32.name
    if isinstance(data.form, Text):
        return Tokens.name
    if data.form is not None:
        return Values.name
    if not data.is_image and math.prod(data.shape) <= 2:
        return Values.name
    return "pca"


def load(name: str, reference: Source, *, execute: bool = False) -> FeatureNetwork:
    """The feature network of a name in `NAMES`, or of a file: FILE.onnx, or, with `execute`, FILE.py:FUNCTION.

    `pca` is fitted on the reference; the others take its shape from it or have one of their own. `execute` is for a
    name that the user has just typed, and for no other: one that was read, as from a run's recipe, could run any file.
    Raises `RequestError` for other names, files that do not fit, and weights that cannot be downloaded.
    """
    if name.endswith(".onnx"):
        return load_onnx(Path(name), reference.spec)
    if ".py" in name and execute:
        return load_module(name, reference.spec)
    if ".py" in name:
        raise RequestError(
            f"features {name!r}: a file is executed only where the command line names it with --features; in Python "
            "pass the network itself"
        )
    name = USUAL_SIZE.get(name, name)
    if name in NAMES and isinstance(reference.spec.form, Text) != (name == Tokens.name):
        raise RequestError(
            f"features {name!r}: texts are seen as tokens, and nothing else is; {reference.spec.name} is seen as "
            f"{choose(reference.spec)}"
        )
    if name == Digits28.name:
        return Digits28()
    if name == Digits8.name:
        return Digits8()
    if name == Cifar32.name:
        return Cifar32()
    if name == StackedDigits28.name:
        return StackedDigits28()
    if name == "pca":
        return PCA.fit(reference)
    if name == Values.name:
        return Values(reference.spec.shape)
    if name == Tokens.name:
        return Tokens(reference.spec.shape)
    if name == Inception.name:
        return load_inception()
    if name in clip.WEIGHTS:
        return clip.load_clip(name)
    if name in dinov2.WEIGHTS:
        return dinov2.load_dinov2(name)
    raise RequestError(f"there are no features {name!r}: {nearest(name, NAMES)}")
