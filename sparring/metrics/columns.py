"""How far the columns of a table are from the real ones, each by itself.

Of numbers and dates the distance of Kolmogorov and Smirnov, the greatest difference of the two distribution functions;
of categories the total variation, half the sum of the differences of their shares. Both lie in [0, 1], and are 1 less
the scores KSComplement and TVComplement of SDMetrics (its documentation, "Column Shapes"). Missing cells count: as one
more category, or as numbers greater than all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.blocks import FEWEST, against_rest
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.tables import categories_of, columns_of, table_of


class Columns(Metric):
    """`columns`, the mean distance of the columns, with its interval; `columns_real`, what as many real rows get;
    `columns_worst`, the distance of the worst column, which a note names.

    It sees nothing of how columns go together: rows put together of cells drawn from each column alone get as little
    as real ones. `Pairs` sees two at a time.
    """

    better: ClassVar[dict[str, Better]] = {"columns": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"tables"})
    fewest: ClassVar[int] = FEWEST

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        categories = [categories_of(column) for column in columns_of(setting)]
        rows, expected = table_of(fake, setting), table_of(real, setting)
        found = against_rest(rows, expected, lambda a, b: column_distances(a, b, categories))
        return found.named("columns") | {"columns_worst": found.fake.mean(0).max().item()}

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        columns = columns_of(setting)
        rows, expected = table_of(fake, setting), table_of(real, setting)
        found = column_distances(rows, expected, [categories_of(column) for column in columns])
        worst = int(found.argmax())
        yield f"columns: the one that is met worst is {columns[worst].name!r}, {found[worst]:.2g} from the real one"


def column_distances(a: Tensor, b: Tensor, categories: Iterable[int]) -> Tensor:
    """The distance of each column of the cells a [N, C] and b [M, C]: float64 [C]; `categories` says how many each
    has, 0 for numbers."""
    return torch.stack(
        [
            total_variation(mine.long(), theirs.long(), count) if count else kolmogorov_smirnov(mine, theirs)
            for mine, theirs, count in zip(a.unbind(1), b.unbind(1), categories, strict=True)
        ]
    )


def kolmogorov_smirnov(a: Tensor, b: Tensor) -> Tensor:
    """The greatest difference of the distribution functions of a [N] and b [M]: float64 []. NaN counts as infinite."""
    a, b = (x.double().nan_to_num(torch.inf).sort().values for x in (a, b))
    at = torch.cat([a, b])
    shares = [torch.searchsorted(x, at, right=True).double() / len(x) for x in (a, b)]
    return (shares[0] - shares[1]).abs().max()


def total_variation(a: Tensor, b: Tensor, count: int) -> Tensor:
    """Half the sum of the differences of the shares of categories in [0, count), int64 [N] and [M]: float64 []."""
    shares = [torch.bincount(x, minlength=count).double() / len(x) for x in (a, b)]
    return (shares[0] - shares[1]).abs().sum() / 2
