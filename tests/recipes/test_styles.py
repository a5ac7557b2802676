"""The recipes of StyleGAN2 and FastGAN: they build for every shape and survive JSON, step, and follow their rules."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.data.open import Data
from sparring.data.tensors import from_arrays
from sparring.recipes.fastgan import fastgan
from sparring.recipes.stylegan2 import stylegan2
from sparring.testing.play import Nowhere, check_recipe
from sparring.train.schedule import Budget

BUDGET = Budget(amount=1, unit="epochs")


@pytest.mark.parametrize("function", [stylegan2, fastgan])
def test_a_recipe_plays(function) -> None:  # type: ignore[no-untyped-def]
    source = from_arrays(np.random.default_rng(0).integers(0, 256, (48, 8, 8), dtype=np.uint8))
    check_recipe(function(Nowhere(), source.spec, BUDGET), source)


@pytest.mark.parametrize("function", [stylegan2, fastgan])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_recipe_builds_and_goes_through_json(function, num_classes) -> None:  # type: ignore[no-untyped-def]
    data = DataSpec(name="some", shape=(4, 24, 17), num_classes=num_classes)
    recipe = function(Data(source="digits"), data, BUDGET)
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe
    G, D = (spec.build(data, recipe.prior.dim) for spec in (recipe.generator, recipe.discriminator))
    y = torch.arange(4) % 3 if num_classes else None
    assert D(G(torch.randn(4, recipe.prior.dim), y), y).shape == (4,)
    recipe.game.check(data, {"generator": G, "discriminator": D})
