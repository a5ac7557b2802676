"""Whether rows that the default recipe makes of small real tables are as good to learn from as real ones, and new.

    python bench/tables_real.py [--data wine cancer diabetes] [--seeds 0 1 2] [--budget 250kimg]
                                [--out docs/figures/tables_real.json]

scikit-learn's tables (UCI's wine, 178 rows, and breast cancer, 569; diabetes of Efron et al. 2004, 442, in its own
units). A third of the rows, drawn by the seed, with equal shares of the classes, is set aside before anything is
looked at: the recipe, its scores and the choice of the checkpoint see two thirds, as a CSV file. Predictors of
scikit-learn as they come (linear or logistic regression on scaled columns, a random forest, gradient boosting) are
trained on the real two thirds, on as many synthetic rows, and on 2,000 of them, and tested on the third.

- `real`, `synthetic`, `synthetic_2000`: macro F1 of classes, R² of diabetes, the mean of the three predictors;
  `ratio`, `ratio_2000`: the latter two over the first. `mae_ratio`: mean absolute error, real over synthetic.
- `copies`: of 2,000 synthetic rows, those equal to a training row in every cell. `nearest`: median distance of these
  to the nearest training row over that of the held-out real rows, in deviations of the columns (a category that
  differs counts as one); `nearer`: the share of them that is nearer than the median held-out row, .5 for new rows of
  the same law.

250,000 rows are about 2,000 steps, half a minute of one core. Figures are stored one by one, and those that are there
are not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import f1_score, mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sparring.core.forms import Table
from sparring.data.open import Data
from sparring.opening import Request
from sparring.recipes.automatic import choose, settle
from sparring.rundir import RunFolder
from sparring.train.schedule import Budget, parse_budget
from sparring.train.trainer import Trainer
from sparring.verdict import best_checkpoint, generator_of, judge_of_run

CPU = torch.device("cpu")
MANY = 2000
Cells = NDArray[np.float64]


def read(name: str) -> tuple[list[str], Cells]:
    """Names of the columns, the last of which is the target, and all rows."""
    found = {
        "wine": load_wine,
        "cancer": load_breast_cancer,
        "diabetes": lambda: load_diabetes(scaled=False),
    }[name]()
    return [*map(str, found.feature_names), "target"], np.column_stack([found.data, found.target])


def scores(train: Cells, test: Cells, classes: bool) -> dict[str, float]:
    """Of the three predictors: macro F1, or R² and the mean absolute error."""
    x, y, values, truth = train[:, :-1], train[:, -1], test[:, :-1], test[:, -1]
    models = (
        [
            LogisticRegression(max_iter=5000),
            RandomForestClassifier(random_state=0),
            GradientBoostingClassifier(random_state=0),
        ]
        if classes
        else [LinearRegression(), RandomForestRegressor(random_state=0), GradientBoostingRegressor(random_state=0)]
    )
    told = [make_pipeline(StandardScaler(), model).fit(x, y).predict(values) for model in models]
    if classes:
        return {"score": float(np.mean([f1_score(truth, each, average="macro") for each in told]))}
    return {
        "score": float(np.mean([r2_score(truth, each) for each in told])),
        "mae": float(np.mean([mean_absolute_error(truth, each) for each in told])),
    }


def nearest(rows: Cells, train: Cells, categories: list[int]) -> Cells:
    """The distance of each row to the nearest of `train`."""
    away = (rows[:, None] - train[None]) / np.where(train.std(0) > 0, train.std(0), 1)
    away[:, :, categories] = away[:, :, categories] != 0
    return np.sqrt(np.square(away).sum(2)).min(1)


def one(name: str, seed: int, budget: Budget) -> dict[str, Any]:
    columns, rows = read(name)
    classes = name != "diabetes"
    train, test = train_test_split(rows, test_size=1 / 3, random_state=seed, stratify=rows[:, -1] if classes else None)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([[*row[:-1], int(row[-1])] for row in train.tolist()])
        data = Data(source=str(path))
        source = data.load()
        recipe = settle(choose(data, source.spec, recipe=None, budget=budget, seed=seed).recipe, CPU).recipe
        recipe = recipe.replace(train=recipe.train.replace(grids=0))  # nobody looks at pictures
        judge = judge_of_run(recipe, source, None, CPU, None)
        assert judge is not None
        trainer = Trainer(recipe, source, CPU, judge)
        folder = RunFolder.create(Path(place) / "run", Request(recipe, "table", (), {}), source.spec, source.report)
        for _ in folder.record(trainer.run()):
            pass
        chosen = best_checkpoint(folder.path, trainer, judge)
        generator = generator_of(chosen, trainer)
    form = source.spec.form
    assert isinstance(form, Table)
    assert [column.name for column in form.columns] == columns, "every column is learned"

    def made(count: int, number: int) -> Cells:
        cells = form.decode(generator.sample(count, seed=number).x)
        return np.array([cells[column] for column in columns], np.float64).T

    few, many = made(len(train), 1), made(MANY, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        real, same, more = (scores(each, test, classes) for each in (train, few, many))
    categories = [i for i, column in enumerate(columns) if column in {c.name for c in form.conditional()}]
    held, fake = nearest(test, train, categories), nearest(many, train, categories)
    row: dict[str, Any] = {
        "data": name,
        "seed": seed,
        "rows": len(train),
        "real": real["score"],
        "synthetic": same["score"],
        "synthetic_2000": more["score"],
        "ratio": same["score"] / real["score"],
        "ratio_2000": more["score"] / real["score"],
    }
    if not classes:
        row |= {"mae_ratio": real["mae"] / same["mae"], "mae_ratio_2000": real["mae"] / more["mae"]}
    row |= {
        "copies": int((many[:, None] == train[None]).all(2).any(1).sum()),
        "nearest": float(np.median(fake) / np.median(held)),
        "nearer": float((fake < np.median(held)).mean()),
        "images": int(chosen.path.stem),
        "of_images": trainer.clock.images,
        "seconds": trainer.course.seconds,
    }
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", nargs="+", choices=["wine", "cancer", "diabetes"], default=["wine", "cancer", "diabetes"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", default="250kimg")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out and options.out.exists() else []
    there = {(row["data"], row["seed"]) for row in rows}
    for name in options.data:
        for seed in options.seeds:
            if (name, seed) in there:
                continue
            rows.append(one(name, seed, parse_budget(options.budget)))
            print(json.dumps(rows[-1]), flush=True)
            if options.out:
                options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
