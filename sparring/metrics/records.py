"""Do generated rows lie nearer to the rows trained on than they should? Distances to the closest record.

Rows are compared by Gower's distance with squares (Gower 1971, Biometrics 27): of numbers, by their rank among the
reference's (so that no unit and no outlier counts), and of categories, 1 where they differ and 0 where not, the root of
the sum. The closest record of each sample is looked for among the rows trained on and among as many held-out rows of
the same law: without memory half of the samples lie nearer to the first (as DCROverfittingProtection of SDMetrics, its
documentation).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.distances import nearest
from sparring.metrics.interval import proportion
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.tables import categories_of, columns_of, table_of

MOST = 2000
MOST_NUMBERS = 512
"""Of which a row's place in the space of distances is made; more categories than fit share places."""


class Records(Metric):
    """`nearer_to_training`, the share of the samples whose closest record is one that was trained on and not one of as
    many that were held out, with its interval: .5 without memory, 1 for copies; `same_record`, the share of the samples
    that equal a row trained on in all cells, with its interval, and `same_record_held_out`, that of the held-out rows.

    The reference must be what the generator was trained on. Distances are those of at most 2,000 rows of each set, so
    near copies of others are missed; equal rows are looked for among all that are kept. Of tables of few columns of
    categories real rows repeat each other too.
    """

    better: ClassVar[dict[str, Better]] = {"same_record": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples", "held_out"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"tables"})
    fewest: ClassVar[int] = 10

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        if setting.held_out is None:
            raise RequestError("records are compared with real rows that were not trained on: name them as held out")
        categories = [categories_of(column) for column in columns_of(setting)]
        rows = [table_of(side, setting) for side in (fake, real, setting.held_out)]
        num = min(len(rows[1]), len(rows[2]), MOST)
        placed = [places(side, rows[1], categories) for side in (rows[0][:MOST], rows[1][:num], rows[2][:num])]
        to_given, to_unseen = (nearest(placed[0], placed[side]).distances[:, 0] for side in (1, 2))
        ties = (to_given == to_unseen).sum()
        nearer = int((to_given < to_unseen).sum()) + int(ties) // 2
        return {
            **proportion(nearer, len(placed[0])).named("nearer_to_training"),
            **proportion(int(same(rows[0], rows[1]).sum()), len(rows[0])).named("same_record"),
            "same_record_held_out": same(rows[2], rows[1]).double().mean().item(),
        }

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        if setting.split == "test":
            yield "the reference is a test split: copies are looked for in what the generator was trained on, name that"
        elif values["nearer_to_training_low"] > 0.55:
            yield (
                f"memorisation is suspected: {values['nearer_to_training']:.1%} of the samples lie nearer to rows "
                "trained on than to as many unseen ones, where half should"
            )
        kept, trained = len(real.features), real.summary.num
        if kept < trained:
            yield f"records: samples are compared with {kept:,} of {trained:,} rows, so other copies are not seen"


def places(rows: Tensor, reference: Tensor, categories: Sequence[int]) -> Tensor:
    """Rows [N, C] as points whose squared Euclidean distance is the sum of the squares over the columns: float64
    [N, d]. A number's rank among the reference's runs from 0 to 1; a missing one is 1 away from the middle of all."""
    room = max(2, MOST_NUMBERS // len(categories))
    parts = []
    for cells, known, count in zip(rows.unbind(1), reference.unbind(1), categories, strict=True):
        if count:
            width = min(count, room)
            parts.append(torch.nn.functional.one_hot(cells.long() % width, width).double() / 2**0.5)
            continue
        there = known[~known.isnan()].sort().values
        ends = [torch.searchsorted(there, cells.contiguous(), right=right) for right in (False, True)]
        ranks = (ends[0] + ends[1]).double() / (2 * max(1, len(there)))
        missing = cells.isnan()
        parts.append(torch.stack([ranks.where(~missing, 0.5), missing.double()], 1))
    return torch.cat(parts, 1)


def same(rows: Tensor, known: Tensor) -> Tensor:
    """Which of rows [N, C] equal one of known [M, C] in all cells, missing ones included: bool [N]."""
    both = torch.cat([rows, known]).float().nan_to_num(torch.inf)
    _, codes = torch.unique(both, dim=0, return_inverse=True)
    return torch.isin(codes[: len(rows)], codes[len(rows) :])
