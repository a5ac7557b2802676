"""How far the columns of a table are from the real ones, two at a time: what goes with what.

Of each pair of columns the total variation between the tables of contingency: half the sum of the differences of the
shares of each pair of categories, as 1 less SDMetrics' ContingencySimilarity (its documentation, "Column Pair Trends").
Numbers and dates count as categories between the reference's deciles. So the columns' own distributions are in it too.
Of pairs of numbers alone also the difference of Pearson's correlations (there CorrelationSimilarity is 1 less half of
it), and of pairs of categories that of Cramér's V (Cramér 1946, Mathematical Methods of Statistics, p. 282).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sparring.metrics.blocks import FEWEST, against_rest
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.tables import categories_of, columns_of, table_of

PARTS = 10
MOST_PAIRS = 1000
"""Of more, so many evenly spread over all are looked at."""


class Pairs(Metric):
    """`pairs`, the mean distance of the pairs of columns, with its interval; `pairs_real`, what as many real rows get;
    `correlations` and `associations`, the mean difference of Pearson's r between numbers and of Cramér's V between
    categories, each beside its `_real`, where there are such pairs. Nothing of tables of one column.

    It sees nothing that takes three columns to see. Of columns of many categories most cells of the table hold few
    rows, so that real rows, too, are far from each other: judge `pairs` beside `pairs_real`.
    """

    better: ClassVar[dict[str, Better]] = {"pairs": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"tables"})
    fewest: ClassVar[int] = FEWEST

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        categories = [categories_of(column) for column in columns_of(setting)]
        varied = [place for place, count in enumerate(categories) if count != 1]
        rows, expected = (table_of(side, setting)[:, varied] for side in (fake, real))
        categories = [categories[place] for place in varied]
        found: dict[str, float] = {}
        every = some(list(itertools.combinations(range(len(varied)), 2)))
        if every:
            edges = expected.nanquantile(torch.linspace(0, 1, PARTS + 1, dtype=torch.float64)[1:-1], 0)
            sizes = [count or PARTS + 1 for count in categories]
            codes, theirs = (in_parts(side, edges, categories) for side in (rows, expected))
            compared = against_rest(codes, theirs, lambda a, b: contingency_distances(a, b, sizes, every))
            found |= compared.named("pairs")
        numbers = [place for place, count in enumerate(categories) if not count]
        if len(numbers) > 1:
            compared = against_rest(
                rows[:, numbers], expected[:, numbers], lambda a, b: (pearson(a) - pearson(b)).abs()
            )
            found |= _beside(compared.fake, compared.real, "correlations")
        kinds = some([pair for pair in every if categories[pair[0]] and categories[pair[1]]])
        if kinds:
            compared = against_rest(
                rows.long(),
                expected.long(),
                lambda a, b: (cramers_v(a, categories, kinds) - cramers_v(b, categories, kinds)).abs(),
            )
            found |= _beside(compared.fake, compared.real, "associations")
        return found


def some(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """All pairs, or `MOST_PAIRS` of them, evenly spread."""
    step = max(1.0, len(pairs) / MOST_PAIRS)
    return [pairs[int(place * step)] for place in range(min(len(pairs), MOST_PAIRS))]


def in_parts(rows: Tensor, edges: Tensor, categories: Sequence[int]) -> Tensor:
    """Cells [N, C] as categories, int64: numbers by the edges [9, C] between which they lie, `PARTS` where missing."""
    columns = [
        cells.long()
        if count
        else torch.searchsorted(edge.contiguous(), cells.contiguous()).where(~cells.isnan(), PARTS)
        for cells, edge, count in zip(rows.unbind(1), edges.unbind(1), categories, strict=True)
    ]
    return torch.stack(columns, 1)


def contingency_distances(a: Tensor, b: Tensor, sizes: Sequence[int], pairs: Sequence[tuple[int, int]]) -> Tensor:
    """The total variation of each pair of columns of categories a [N, C] and b [M, C]: float64 [pairs]."""
    found = []
    for i, j in pairs:
        shares = [_table(x, i, j, sizes) / len(x) for x in (a, b)]
        found.append((shares[0] - shares[1]).abs().sum() / 2)
    return torch.stack(found)


def pearson(rows: Tensor) -> Tensor:
    """Pearson's r of each pair of numbers of rows [N, C], float64, over the rows that have both: [C (C − 1) / 2]; 0
    where one of the two stands still."""
    there = (~rows.isnan()).double()
    x = (rows - rows.nanmean(0)).nan_to_num(0)
    counts = (there.T @ there).clamp(min=1)
    sums, squares = x.T @ there, (x * x).T @ there
    covariances = x.T @ x - sums * sums.T / counts
    variances = (squares - sums * sums / counts).clamp(min=0)
    spread = (variances * variances.T).sqrt()
    still = spread <= 1e-9 * (squares * squares.T).sqrt()
    first, second = torch.triu_indices(rows.shape[1], rows.shape[1], 1)
    found: Tensor = torch.where(still, 0, covariances / spread)[first, second]
    return found


def cramers_v(rows: Tensor, sizes: Sequence[int], pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Cramér's V of each pair of columns of categories [N, C]: √(χ² / N / (min(rows, columns) − 1)) over the categories
    that occur, 0 where one column has but one: float64 [pairs]."""
    found = []
    for i, j in pairs:
        table = _table(rows, i, j, sizes).reshape(sizes[i], sizes[j])
        table = table[table.sum(1) > 0][:, table.sum(0) > 0]
        expected = table.sum(1, keepdim=True) * table.sum(0) / len(rows)
        least = min(table.shape) - 1
        chi2 = ((table - expected).square() / expected).sum()
        found.append((chi2 / len(rows) / max(1, least)).sqrt() if least else chi2 * 0)
    return torch.stack(found)


def _table(rows: Tensor, i: int, j: int, sizes: Sequence[int]) -> Tensor:
    return torch.bincount(rows[:, i] * sizes[j] + rows[:, j], minlength=sizes[i] * sizes[j]).double()


def _beside(fake: Tensor, real: Tensor, name: str) -> dict[str, float]:
    return {name: fake.mean().item(), f"{name}_real": real.mean().item()}
