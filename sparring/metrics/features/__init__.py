"""Feature networks: where samples are compared."""

from sparring.metrics.features.choose import NAMES, choose, load
from sparring.metrics.features.digits import Digits8, Digits28, digit_classifier
from sparring.metrics.features.module import wrap
from sparring.metrics.features.network import FeatureNetwork, hash_tensors
from sparring.metrics.features.pca import PCA

__all__ = [
    "NAMES",
    "PCA",
    "Digits8",
    "Digits28",
    "FeatureNetwork",
    "choose",
    "digit_classifier",
    "hash_tensors",
    "load",
    "wrap",
]
