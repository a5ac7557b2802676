"""Do generated rows teach what real ones do? Train on synthetic, test on real (Esteban, Hyland and Rätsch 2017,
arXiv:1706.02633, section 4.2; for tables Xu et al. 2019, "Modeling tabular data using conditional GAN", section 5.2).

A predictor of one column from the others (gradient boosting on histograms; Friedman 2001, Annals of Statistics 29; Ke
et al. 2017, LightGBM) learns from the samples, another one from as many real rows, and both are tested on held-out real
rows: by the macro-averaged F1 where the column is a category, by R² where it is a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import f1_score, r2_score

from sparring.core.errors import RequestError, nearest
from sparring.core.forms.table import Column
from sparring.metrics.interval import LEVEL
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.tables import categories_of, columns_of, table_of

TARGETS = ("target", "label", "class", "y")
DRAWS = 200
"""Bootstrap samples of the held-out rows (Efron 1979, Annals of Statistics 7), of which the interval is made."""


class Utility(Metric):
    """`utility`, the score of what learned from the samples, with the interval that the draw of the held-out rows
    makes; `utility_real`, of what learned from as many real rows.

    The column that is foretold is `target`, or the one called target, label, class or y, or the last that holds
    categories, or the last: a note says which. Both predictors learn from equally many rows, `most` at most.
    It tells how much the samples know of that column, and nothing of the others or of what is not foretold by any.
    """

    target: str = ""
    most: int = 5000
    trees: int = 50

    better: ClassVar[dict[str, Better]] = {"utility": "higher"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples", "held_out"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"tables"})
    fewest: ClassVar[int] = 20

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        columns = columns_of(setting)
        if setting.held_out is None:
            raise RequestError("utility is tested on real rows that were not trained on: name them as held out")
        if len(columns) < 2:
            return {}
        place = target_of(columns, self.target)
        made, given, tests = (table_of(side, setting).numpy() for side in (fake, real, setting.held_out))
        num = min(len(made), len(given), self.most)
        truth = tests[:, place]
        known = ~np.isnan(truth)
        foretold = [
            predicted(rows[:num], tests[known], place, columns, self.trees, setting.seed) for rows in (made, given)
        ]
        score = macro_f1 if categories_of(columns[place]) else explained
        random = np.random.default_rng(setting.seed)
        drawn = [random.integers(int(known.sum()), size=int(known.sum())) for _ in range(DRAWS)]
        spread = [score(truth[known][rows], foretold[0][rows]) for rows in drawn]
        low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
        found, expected = (score(truth[known], each) for each in foretold)
        return {
            "utility": found,
            "utility_low": min(low, found),
            "utility_high": max(high, found),
            "utility_real": expected,
        }

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        columns = columns_of(setting)
        if "utility" in values:
            column = columns[target_of(columns, self.target)]
            by = "macro F1" if categories_of(column) else "R²"
            yield f"utility: how well column {column.name!r} is foretold from the others, {by}"


def target_of(columns: Sequence[Column], asked: str = "") -> int:
    """The place of the column to foretell. Raises `RequestError` when there is none of the name asked for."""
    names = [column.name for column in columns]
    if asked:
        if asked not in names:
            raise RequestError(f"utility.target {asked!r}: {nearest(asked, names)}")
        return names.index(asked)
    lower = [name.lower() for name in names]
    called = [lower.index(name) for name in TARGETS if name in lower]
    categorical = [place for place, column in enumerate(columns) if categories_of(column) > 1]
    return called[0] if called else categorical[-1] if categorical else len(columns) - 1


def predicted(
    rows: NDArray[np.float64],
    tests: NDArray[np.float64],
    place: int,
    columns: Sequence[Column],
    trees: int,
    seed: int,
) -> NDArray[np.float64]:
    """What a predictor that learned from rows [N, C] says of column `place` of tests [M, C]: [M].

    Of rows in which the column has one value alone, that value.
    """
    rows = rows[~np.isnan(rows[:, place])]
    if not len(rows):
        return np.full(len(tests), np.nan)
    truth = rows[:, place]
    if (truth == truth[0]).all():
        return np.full(len(tests), truth[0])
    # Categories beyond 255 are more than the trees can hold apart: they are taken as numbers.
    others = [other for other in range(len(columns)) if other != place]
    kinds = [1 < categories_of(columns[other]) <= 255 for other in others]
    make = HistGradientBoostingClassifier if categories_of(columns[place]) else HistGradientBoostingRegressor
    model = make(max_iter=trees, early_stopping=False, categorical_features=kinds, random_state=seed % 2**32)
    found: NDArray[np.float64] = model.fit(rows[:, others], truth).predict(tests[:, others])
    return found


def macro_f1(truth: NDArray[np.float64], foretold: NDArray[np.float64]) -> float:
    """The mean over the categories of truth of the harmonic mean of precision and recall: in [0, 1]."""
    return float(f1_score(truth, foretold, labels=np.unique(truth), average="macro", zero_division=0))


def explained(truth: NDArray[np.float64], foretold: NDArray[np.float64]) -> float:
    """R², the share of the variance of truth that is explained, at most 1."""
    return float(r2_score(truth, foretold))
