"""The recipes for series and texts: from a file to scores, whatever its lengths, in a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Text
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.data.open import Data
from sparring.games.taught import Taught
from sparring.networks import RecurrentGenerator, TemporalGenerator
from sparring.networks.windowed import WindowedGenerator
from sparring.recipes.sequences import series, text
from sparring.train.events import Scored, Stepped
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer
from sparring.verdict import judge_of_run

CPU = torch.device("cpu")
BUDGET = Budget(amount=256, unit="images")


def written(kind: str, folder: Path) -> Path:
    random = np.random.RandomState(0)
    if kind == "texts":
        path = folder / "words.txt"
        words = ["".join(random.choice(list("abcde"), random.randint(2, 9))) for _ in range(200)]
        path.write_text("\n".join(words))
        return path
    if kind == "ragged":
        path = folder / "ragged"
        path.mkdir()
        for i in range(40):
            rows = [f"{t},{np.sin(t + i):.3f}" for t in range(random.randint(5, 12))]
            (path / f"{i}.csv").write_text("step,value\n" + "\n".join(rows) + "\n")
        return path
    path = folder / "series.npy"
    np.save(path, np.sin(np.arange(12)[:, None] / 3 + random.uniform(0, 6, (200, 1, 2))).astype(np.float32))
    return path


@pytest.mark.parametrize("kind", ["series", "ragged", "texts"])
def test_a_file_is_trained_on_and_judged(kind: str, tmp_path: Path) -> None:
    data = Data(source=str(written(kind, tmp_path)), kind="series" if kind == "series" else "auto")
    source = data.load()
    recipe = (text if kind == "texts" else series)(data, source.spec, BUDGET)
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe
    assert recipe.train.precision == "float32"
    recipe = recipe.replace(train=recipe.train.replace(matmul="highest", report_every=1, grids=0))
    recipe = recipe.replace(scoring=recipe.scoring.replace(samples=200, times=1))
    judge = judge_of_run(recipe, source, None, CPU, None)
    assert judge is not None
    trainer = Trainer(recipe, source, CPU, judge)
    events = list(trainer.run())
    assert sum(isinstance(event, Stepped) for event in events) == 256 // recipe.train.batch
    values = next(event.values for event in events if isinstance(event, Scored))
    assert next(iter(values)) == ("ngrams" if kind == "texts" else "spectrum")
    samples = source.spec.form.decode(trainer.sample(torch.randn(20, recipe.prior.dim), None))  # type: ignore[union-attr]
    assert len(samples) == 20
    if kind == "texts":
        assert all(set(word) <= set("abcde") for word in samples)
        assert len(set(samples)) > 10


def test_long_ones_are_written_by_convolutions_and_short_ones_judged_by_cells() -> None:
    waves = Series(columns=("a",), low=(0.0,), high=(1.0,))
    tokens = Text(tokens=("", "a", "b"))
    for length in (1, 3, 4, 32, 33, 128, 129):
        for recipe, data in (
            (series, DataSpec(name="some", shape=(length, 1), form=waves, num_classes=3)),
            (text, DataSpec(name="some", shape=(length, 3), form=tokens, y_shape=(2,))),
        ):
            made = recipe(Data(source="x"), data, BUDGET)
            kind: type = RecurrentGenerator if length <= 128 else TemporalGenerator
            if recipe is text and length <= 32:
                kind = WindowedGenerator
            assert isinstance(made.generator, kind)
            assert isinstance(made.game, Taught) == (recipe is text and length <= 128)
            y = torch.arange(4) % 3 if data.num_classes else torch.randn(4, 2)
            x = made.generator.build(data, made.prior.dim)(torch.randn(4, made.prior.dim), y)
            assert made.discriminator.build(data, made.prior.dim)(x, y).shape == (4,)


def test_other_data_are_refused() -> None:
    data = DataSpec(name="pictures", shape=(1, 8, 8))
    for recipe, kind in ((series, "series"), (text, "texts")):
        with pytest.raises(RequestError, match=rf"expected {kind}, found pictures of shape \[1, 8, 8\]"):
            recipe(Data(source="x"), data, BUDGET)
