"""Series: columns of numbers, measured at moments that follow each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms.form import Form


class Series(Form):
    """x [T, C]: column c runs from `low[c]` at -1 to `high[c]` at 1. Where series are `ragged`, x [T, C + 1] has one
    more column, 1 at the moments that a series has and -1 after its end.

    Values are written with `decimals[c]` digits after the point, as many as the data had; -1 means all of them.
    """

    columns: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    decimals: tuple[int, ...] = ()
    ragged: bool = False

    def __post_init__(self) -> None:
        count = len(self.columns)
        if not count or len(self.low) != count or len(self.high) != count or len(self.decimals) not in (0, count):
            raise RequestError(f"Series: expected as many columns as ends, at least one, found {self}")
        if any(not low < high for low, high in zip(self.low, self.high, strict=True)):
            raise RequestError(f"Series: expected each low below its high, found {self.low} and {self.high}")

    def decode(self, x: Tensor) -> list[NDArray[np.float64]]:
        """Each of x [N, T, C] as an array [t, C] in the data's units, t its length: at least 1."""
        values = x.detach().cpu().double().numpy()
        count = len(self.columns)
        low, high = np.array(self.low), np.array(self.high)
        scaled = low + (values[:, :, :count].clip(-1, 1) + 1) / 2 * (high - low)
        for column, digits in enumerate(self.decimals):
            if digits >= 0:
                scaled[:, :, column] = scaled[:, :, column].round(digits)
        if not self.ragged:
            return list(scaled)
        gone = values[:, :, count] < 0
        lengths = np.where(gone.any(1), gone.argmax(1), values.shape[1])
        return [series[: max(1, length)] for series, length in zip(scaled, lengths, strict=True)]
