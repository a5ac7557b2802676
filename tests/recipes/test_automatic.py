from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Table
from sparring.core.forms.table import Categorical
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.data.open import Data
from sparring.games.adversarial import Adversarial
from sparring.games.show import DiffAugment
from sparring.recipes.automatic import DEFAULT_BUDGET, choose, find_recipe, recipes, settle
from sparring.train.recipe import Recipe

SHAPES: list[tuple[int, ...]] = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 24, 40), (4, 96, 64), (1, 5, 7), (784,), (2,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_every_choice_builds_and_survives_json(shape: tuple[int, ...], num_classes: int) -> None:
    data = DataSpec(name="some", shape=shape, num_classes=num_classes)
    recipe, reasons = choose(Data(source="digits"), data, recipe=None, budget=None, seed=7)
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe
    assert recipe.train.seed == 7
    assert any(reason.startswith(f"recipe {recipe.name}: ") for reason in reasons)
    assert any(("conditional" in reason) and (("unconditional" in reason) == (num_classes == 0)) for reason in reasons)
    y = torch.arange(4) % 3 if num_classes else None
    x = recipe.generator.build(data, recipe.prior.dim)(torch.randn(4, recipe.prior.dim), y)
    assert x.shape == (4, *shape)
    assert recipe.discriminator.build(data, recipe.prior.dim)(x, y).shape == (4,)


def reasons_of(data: DataSpec, **more: Any) -> tuple[Recipe, str]:
    recipe, reasons = choose(Data(source="digits"), data, recipe=None, budget=None, seed=None, **more)
    return recipe, "\n".join(reasons)


def test_few_images_are_augmented_and_batches_stay_below_half_of_them() -> None:
    data = DataSpec(name="some", shape=(3, 32, 32))
    many, said = reasons_of(data, num_samples=5000)
    assert isinstance(many.game, Adversarial)
    assert (many.game.show, many.train.batch) == ((), 64)
    assert "augmentation" not in said
    few, said = reasons_of(data, num_samples=100)
    assert isinstance(few.game, Adversarial)
    assert few.game.show == (DiffAugment(),)
    assert few.train.batch == 32
    assert "augmentation: 100 images are few enough" in said
    assert "batch 32: there are 100 samples" in said
    named = choose(Data(source="x"), data, recipe="dcgan", budget=None, seed=None, num_samples=100).recipe
    assert named.train.batch == 64, "a recipe that was named is taken as it is"


def test_penalties_grow_with_the_number_of_pixels_and_this_is_said() -> None:
    small, _ = reasons_of(DataSpec(name="some", shape=(1, 28, 28)))
    large, said = reasons_of(DataSpec(name="some", shape=(1, 56, 84)))
    assert isinstance(small.game, Adversarial)
    assert isinstance(large.game, Adversarial)
    assert large.game.penalties[0].weight == pytest.approx(6 * small.game.penalties[0].weight)
    assert "in proportion to the 4704 pixels" in said


def test_the_kind_of_data_decides() -> None:
    table = Table(columns=(Categorical(name="a", values=("x", "y"), counts=(3, 4)),))
    recipe, said = reasons_of(DataSpec(name="some", shape=(2,), y_shape=(2,), form=table))
    assert recipe.name == "table"
    assert "rows of a table of 1 columns" in said


def test_settling_leaves_nothing_automatic_and_keeps_what_was_said() -> None:
    data = DataSpec(name="some", shape=(1, 8, 8))
    recipe = choose(Data(source="digits"), data, recipe="dcgan", budget=None, seed=None).recipe
    settled, reasons = settle(recipe, torch.device("cpu"))
    assert settled.train.precision in ("float32", "bfloat16")
    assert settled.train.matmul in ("highest", "medium")
    assert len(reasons) == 1
    assert settle(settled, torch.device("cpu")) == (settled, ())
    mine = recipe.replace(train=recipe.train.replace(precision="float32"))
    assert settle(mine, torch.device("cpu")).recipe.train.precision == "float32"


def test_named_recipes_are_those_of_the_module() -> None:
    images = {"dcgan", "mlp", "resnet", "r3gan", "r3gan_published", "stylegan2", "fastgan"}
    assert images | {"toy", "table", "series", "text"} == set(recipes())
    for function in recipes().values():
        assert function.__doc__


def test_a_file_s_function_is_found_and_a_broken_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "mine_a.py"
    file.write_text("from sparring.recipes.images import mlp\ndef mine(s, d, b):\n    return mlp(s, d, b)\n")
    made = find_recipe(f"{file}:mine")(Data(source="digits"), DataSpec(name="a", shape=(4,)), DEFAULT_BUDGET)
    assert made.name == "mlp"
    with pytest.raises(RequestError, match="no function 'other'"):
        find_recipe(f"{file}:other")
    with pytest.raises(RequestError, match="existing file"):
        find_recipe(str(file))
    broken = tmp_path / "mine_b.py"
    broken.write_text("1/0\n")
    with pytest.raises(RequestError, match=r"mine_b\.py.*ZeroDivisionError"):
        find_recipe(f"{broken}:mine")
