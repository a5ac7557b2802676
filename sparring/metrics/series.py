"""Series again from the features `values`: what all metrics of series look at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms import Series
from sparring.metrics.metric import Measured, Setting

MOST_VALUES = 4_000_000
"""Of how many numbers of a set the metrics look at; of longer series at fewer."""


def series_of(measured: Measured, setting: Setting, most: int = MOST_VALUES) -> Tensor:
    """The first series of a set, as they would be written: float32 [n, T, C] in [-1, 1], NaN after a series' end.

    n is as many as there are, or as hold `most` numbers, at least 10. Values beyond the ends are brought there, and
    rounded to the digits that the data have.
    """
    form = form_of(setting)
    width = len(form.columns) + form.ragged
    T = measured.features.shape[1] // width
    x = measured.features[: max(10, most // (T * width))].reshape(-1, T, width) * 2 - 1
    low, high = np.array(form.low), np.array(form.high)
    series = torch.full((len(x), T, len(form.columns)), torch.nan)
    for row, values in enumerate(form.decode(x)):
        series[row, : len(values)] = torch.from_numpy((values - low) / (high - low) * 2 - 1)
    return series


def form_of(setting: Setting) -> Series:
    """What is known of the series that are judged. Raises `RequestError` for other data."""
    if setting.data is None or not isinstance(setting.data.form, Series):
        raise RequestError("metrics of series: expected data whose form is Series")
    return setting.data.form
