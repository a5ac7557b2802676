"""Stacked MNIST: three digits, one in each channel, that make a number from 000 to 999.

The setting is of Metz et al., "Unrolled Generative Adversarial Networks" (arXiv:1611.02163), section 3.3.1: the modes
that a generator reaches are counted by a classifier of digits on each channel.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from sparring.metrics.features.digits import Digits28
from sparring.metrics.features.network import FeatureNetwork, expect_shape


class StackedDigits28(FeatureNetwork):
    """Each of three channels read by `Digits28`: 192 features, and 1,000 classes whose hundreds are the first channel.

    The probability of a number is the product of its digits' probabilities: the channels are read apart.
    """

    name = "stacked-digits28"
    shape = (3, 28, 28)
    dim = 3 * Digits28.dim
    num_classes = 1000

    def __init__(self) -> None:
        super().__init__()
        self.digit = Digits28()
        self.sha256 = hashlib.sha256(f"{self.name} {self.digit.sha256}".encode()).hexdigest()

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, 3, 28, 28] in [-1, 1] to features float32 [B, 192], 64 of each channel in turn."""
        return self.classify(x)[0]

    @torch.inference_mode()
    def classify(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features [B, 192] and the probabilities of the numbers [B, 1000]."""
        expect_shape(self.name, self.shape, x)
        features, read = self.digit.classify(x.reshape(-1, 1, 28, 28))
        hundreds, tens, ones = read.reshape(-1, 3, 10).unbind(1)
        numbers = torch.einsum("bi,bj,bk->bijk", hundreds, tens, ones)
        return features.reshape(-1, self.dim), numbers.flatten(1)
