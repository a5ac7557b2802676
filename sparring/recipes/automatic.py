"""What is chosen when nobody says, and why: the recipe from the data and the budget, the arithmetic by measurement."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch

from sparring.core import execute
from sparring.core.errors import RequestError, nearest
from sparring.core.protocols import DataSpec, SourceSpec
from sparring.recipes import images, toys
from sparring.train.precision import choose_arithmetic
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget

RecipeFunction = Callable[[SourceSpec, DataSpec, Budget], Recipe]

DEFAULT_BUDGET = Budget(amount=600)
_SMALLEST_CONVOLUTIONAL = 8


class Choice(NamedTuple):
    """A recipe in which nothing is left open, and the reason of each choice that was made for the user."""

    recipe: Recipe
    reasons: tuple[str, ...]


def recipes() -> dict[str, RecipeFunction]:
    """The named recipes: this package's public functions that return a `Recipe`."""
    found: dict[str, RecipeFunction] = {}
    for module in (images, toys):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            returns = inspect.signature(function).return_annotation
            if function.__module__ == module.__name__ and not name.startswith("_") and returns in ("Recipe", Recipe):
                found[name] = function
    return found


def find_recipe(name: str) -> RecipeFunction:
    """A recipe by its name, or from a file of the user's: FILE.py:FUNCTION, which is then executed."""
    if ".py" not in name:
        if name not in recipes():
            raise RequestError(f"--recipe {name!r}: there is no such recipe, {nearest(name, recipes())}")
        return recipes()[name]
    return execute.load_function(name, option="--recipe", kind="recipe")


def load_file(name: str) -> ModuleType:
    """The module of a recipe FILE.py:FUNCTION; executes the file, once in a process."""
    return execute.load_file(name, option="--recipe", kind="recipe")


def choose(
    source: SourceSpec, data: DataSpec, *, recipe: str | None, budget: Budget | None, seed: int | None
) -> Choice:
    """The recipe for this data, with the choices that were not the user's and why they were made."""
    reasons = []
    if budget is None:
        budget = DEFAULT_BUDGET
        reasons.append(f"budget {budget}: the default; --budget 90s, 500kimg or 20epochs says otherwise")
    if recipe is None:
        recipe, why = _recipe_for(data)
        reasons.append(f"recipe {recipe}: {why}")
    made = find_recipe(recipe)(source, data, budget)
    if seed is not None:
        made = made.replace(train=made.train.replace(seed=seed))
    if data.num_classes:
        reasons.append(f"conditional: the data has {data.num_classes} classes; --labels ignore leaves them out")
    elif data.y_shape:
        shape = list(data.y_shape)
        reasons.append(f"conditional: samples have conditions of shape {shape}; --labels ignore leaves them out")
    else:
        reasons.append("unconditional: the data has no labels, or they were set aside")
    return Choice(made, tuple(reasons))


def settle(recipe: Recipe, device: torch.device) -> Choice:
    """The recipe with its arithmetic decided for this machine."""
    train = recipe.train
    if "auto" not in (train.precision, train.matmul):
        return Choice(recipe, ())
    found = choose_arithmetic(device)
    precision = found.precision if train.precision == "auto" else train.precision
    matmul = found.matmul if train.matmul == "auto" else train.matmul
    settled = recipe.replace(train=train.replace(precision=precision, matmul=matmul))
    return Choice(settled, (f"precision {precision}, float32 matmul {matmul}: {found.reason}",))


def _recipe_for(data: DataSpec) -> tuple[str, str]:
    if not data.is_image and data.shape[0] <= 2:
        return "toy", f"samples are points of {data.shape[0]} coordinate{'s' * (data.shape[0] > 1)}"
    if not data.is_image:
        return "mlp", f"samples are vectors of {data.shape[0]} numbers"
    smallest = min(data.shape[1:])
    if smallest < _SMALLEST_CONVOLUTIONAL:
        return "mlp", f"{smallest} pixels are too few for stages of convolutions (from {_SMALLEST_CONVOLUTIONAL})"
    return "dcgan", f"images of {data.shape[1]}×{data.shape[2]}"
