"""Feature networks by name, and which one fits some data."""

from __future__ import annotations

from sparring.core.errors import RequestError, nearest
from sparring.core.protocols import DataSpec, Source
from sparring.metrics.features.digits import Digits8, Digits28
from sparring.metrics.features.network import FeatureNetwork
from sparring.metrics.features.pca import PCA

NAMES = ("digits28", "digits8", "pca")


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
