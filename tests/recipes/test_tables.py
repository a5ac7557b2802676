"""The recipe for tables: a table is learned from its file, rows come out in its own units, and others are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Table
from sparring.core.forms.table import Categorical
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.data.open import Data
from sparring.networks.tabular import TabularDiscriminator
from sparring.recipes.automatic import choose, settle
from sparring.recipes.tables import table
from sparring.train.events import Scored
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator
from sparring.verdict import judge_of_run

CPU = torch.device("cpu")
ROWS = 2500


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight that follows the height, both a kind, one kind of four rare; some weights are missing."""
    random = np.random.default_rng(0)
    kinds = random.choice(4, ROWS, p=(0.5, 0.3, 0.15, 0.05))
    height = 150 + 15 * kinds + random.normal(0, 4, ROWS)
    weight = 0.9 * (height - 100) + random.normal(0, 2, ROWS)
    rows = [f"{height[i]:.1f},{'' if i % 10 == 0 else f'{weight[i]:.1f}'},kind {kinds[i]}" for i in range(ROWS)]
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    path.write_text("\n".join(["height,weight,kind", *rows]))
    return path


def test_a_table_is_learned_from_its_file(path: Path) -> None:
    data = Data(source=str(path))
    source = data.load()
    budget = Budget(amount=128 * 150, unit="images")
    recipe, reasons = choose(data, source.spec, recipe=None, budget=budget, seed=1)
    assert recipe.name == "table"
    assert any("rows of a table of 3 columns" in reason for reason in reasons)
    recipe = settle(recipe, CPU).recipe
    assert recipe.train.precision == "float32"
    assert from_json(to_json(recipe)) == recipe
    judge = judge_of_run(recipe, source, None, CPU, None)
    trainer = Trainer(recipe, source, CPU, judge)
    scored = [event for event in trainer.run() if isinstance(event, Scored)]
    assert next(iter(scored[-1].values)) == "pairs", "what the best checkpoint is chosen by"
    assert "columns" in scored[-1].values

    average = trainer.players["generator"].average
    assert average is not None
    form = source.spec.form
    assert isinstance(form, Table)
    made = TrainedGenerator(recipe.generator, source.spec, recipe.prior, average.state_dict())
    cells = form.decode(made.sample(2000).x)
    assert list(cells) == ["height", "weight", "kind"]
    shares = [cells["kind"].count(f"kind {k}") / 2000 for k in range(4)]
    column = form.columns[2]
    np.testing.assert_allclose(shares, np.array(column.counts) / ROWS, atol=0.05)  # type: ignore[attr-defined]
    assert abs(cells["weight"].count(None) / 2000 - 0.1) < 0.08
    for k in range(3):
        heights = [h for h, kind in zip(cells["height"], cells["kind"], strict=True) if kind == f"kind {k}"]
        assert abs(np.mean(heights) - (150 + 15 * k)) < 4, "a shuffled column would be at 165"
    there = [(h, w) for h, w in zip(cells["height"], cells["weight"], strict=True) if w is not None]
    assert np.corrcoef(np.array(there, float).T)[0, 1] > 0.5, "that of shuffled columns is 0"


def test_what_is_asked_for_comes_out(path: Path) -> None:
    source = Data(source=str(path)).load()
    form = source.spec.form
    assert isinstance(form, Table)
    recipe = table(Data(source=str(path)), source.spec, Budget(amount=9, unit="images"))
    net = recipe.generator.build(source.spec, recipe.prior.dim)
    made = TrainedGenerator(recipe.generator, source.spec, recipe.prior, net.state_dict())
    y = torch.zeros(50, 4)
    y[:, 3] = 1
    assert form.decode(made.sample(50, labels=y).x)["kind"] == ["kind 3"] * 50


def test_vectors_are_no_table() -> None:
    with pytest.raises(RequestError, match=r"recipe table: expected rows of a table, found v of shape \[3\]"):
        table(Data(source="v"), DataSpec(name="v", shape=(3,)), Budget(amount=1))


@pytest.mark.parametrize(("rows", "drops"), [(150, True), (50_000, False), (0, False)])
def test_few_rows_are_learned_with_dropout(rows: int, drops: bool) -> None:
    column = Categorical(name="a", values=(0, 1), counts=(1, 1))
    data = DataSpec(name="t", shape=(2,), form=Table(columns=(column,), rows=rows), levels=0, y_shape=(2,))
    network = table(Data(source="t.csv"), data, Budget(amount=1)).discriminator
    assert isinstance(network, TabularDiscriminator)
    assert (network.dropout > 0) == drops
