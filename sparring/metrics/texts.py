"""Texts again from the features `tokens`, as numbers of tokens: what all metrics of texts look at."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms import Text
from sparring.metrics.metric import Measured, Setting

MOST_TOKENS = 500_000
"""Of how many places of a set the metrics look at; of longer texts at fewer."""


def texts_of(measured: Measured, setting: Setting, most: int = MOST_TOKENS) -> Tensor:
    """The first texts of a set as numbers of tokens: int64 [n, T], 0 after a text's end.

    n is as many as there are, or as have `most` places, at least 10.
    """
    if setting.data is None or not isinstance(setting.data.form, Text):
        raise RequestError("metrics of texts: expected data whose form is Text")
    numbers = measured.features[: max(10, most // setting.data.shape[0])].long()
    return torch.where((numbers == 0).cumsum(1) > 0, 0, numbers)
