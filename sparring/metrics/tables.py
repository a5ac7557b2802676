"""Tables again from the features `values`: what all metrics of tables look at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms.table import Categorical, Column, Continuous, Table, seconds_of
from sparring.metrics.metric import Measured, Setting


def table_of(measured: Measured, setting: Setting) -> Tensor:
    """The cells of a set, as they would be written: float64 [n, columns].

    Numbers as they are, dates as seconds since 1970, NaN where missing; of categories their numbers, the rare ones
    (`Categorical.others`) together.
    """
    x = (measured.features.double() * 2 - 1).numpy()
    cells, start = [], 0
    for column in columns_of(setting):
        width = sum(block.width for block in column.blocks())
        mine, start = x[:, start : start + width], start + width
        if isinstance(column, Continuous):
            read = column.read(mine, np.random.default_rng(0))
            if column.format:
                read = [None if cell is None else seconds_of(str(cell), column.format) for cell in read]
            cells.append(torch.tensor([np.nan if cell is None else float(cell) for cell in read], dtype=torch.float64))
        else:
            codes = mine.argmax(1) if width else np.zeros(len(x))
            cells.append(torch.from_numpy(codes).double())
    return torch.stack(cells, 1)


def columns_of(setting: Setting) -> tuple[Column, ...]:
    """The columns of a table."""
    if setting.data is None or not isinstance(setting.data.form, Table):
        raise RequestError("metrics of tables: expected data whose form is Table")
    return setting.data.form.columns


def categories_of(column: Column) -> int:
    """How many categories a column has, the rare ones counted as one; 0 of numbers."""
    return len(column.frequencies) if isinstance(column, Categorical) else 0
