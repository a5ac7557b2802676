"""What is chosen when nobody says, and why: a recipe by the data and the budget, the arithmetic by measurement."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch

from sparring.core import execute
from sparring.core.errors import RequestError, nearest
from sparring.core.forms import Series, Table, Text
from sparring.core.protocols import DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.show import DiffAugment
from sparring.recipes import fastgan, images, r3gan, residual, sequences, stylegan2, tables, toys
from sparring.train.precision import choose_arithmetic
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget

RecipeFunction = Callable[[SourceSpec, DataSpec, Budget], Recipe]

DEFAULT_BUDGET = Budget(amount=600)
_SMALLEST_CONVOLUTIONAL = 8
_FEW = 1000
_MODULES = (images, residual, r3gan, stylegan2, fastgan, sequences, tables, toys)


class Choice(NamedTuple):
    """A recipe in which nothing is left open, and the reason of each choice that was made for the user."""

    recipe: Recipe
    reasons: tuple[str, ...]


def recipes() -> dict[str, RecipeFunction]:
    """The named recipes: this package's public functions that return a `Recipe`."""
    found: dict[str, RecipeFunction] = {}
    for module in _MODULES:
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


class Facts(NamedTuple):
    """What the choice follows from."""

    data: DataSpec
    num_samples: int | None
    """None where it is not known."""


def choose(
    source: SourceSpec,
    data: DataSpec,
    *,
    recipe: str | None,
    budget: Budget | None,
    seed: int | None,
    num_samples: int | None = None,
) -> Choice:
    """The recipe for this data, with the choices that were not the user's and why they were made.

    A recipe that was named is taken as it is; one that was not is fitted to the number of samples.
    """
    reasons = []
    if budget is None:
        budget = DEFAULT_BUDGET
        reasons.append(f"budget {budget}: the default; --budget 90s, 500kimg or 20epochs says otherwise")
    facts = Facts(data, num_samples)
    if recipe is None:
        recipe, why = _recipe_for(facts)
        reasons.append(f"recipe {recipe}: {why}")
        made, fitted = _fit(find_recipe(recipe)(source, data, budget), facts)
        reasons += fitted
    else:
        made = find_recipe(recipe)(source, data, budget)
    if seed is not None:
        made = made.replace(train=made.train.replace(seed=seed))
    return Choice(made, (*reasons, _conditional(data)))


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


def _recipe_for(facts: Facts) -> tuple[str, str]:
    data = facts.data
    match data.form:
        case Series():
            return "series", f"samples are series of {data.shape[0]} moments"
        case Text():
            return "text", f"samples are texts of up to {data.shape[0]} tokens"
        case Table():
            return "table", f"samples are rows of a table of {len(data.form.columns)} columns"
    if not data.is_image and math.prod(data.shape) <= 2:
        return "toy", f"samples are points of {data.shape[0]} coordinate{'s' * (data.shape[0] > 1)}"
    if not data.is_image:
        return "mlp", f"samples are vectors of {math.prod(data.shape)} numbers"
    smallest = min(data.shape[1:])
    if smallest < _SMALLEST_CONVOLUTIONAL:
        return "mlp", f"{smallest} pixels are too few for stages of convolutions (from {_SMALLEST_CONVOLUTIONAL})"
    return "dcgan", f"images of {data.shape[1]}×{data.shape[2]}"


def _fit(made: Recipe, facts: Facts) -> tuple[Recipe, list[str]]:
    """The recipe brought to the number of samples, with a reason for each change."""
    reasons = []
    for rule in (_penalty, _augmentation, _batch):
        made, why = rule(made, facts)
        reasons += [why] if why else []
    return made, reasons


def _penalty(made: Recipe, facts: Facts) -> tuple[Recipe, str]:
    """Nothing is changed: the recipe has scaled it, and it is said."""
    if not facts.data.is_image or not isinstance(made.game, Adversarial) or not made.game.penalties:
        return made, ""
    penalty = made.game.penalties[0]
    return made, (
        f"penalty {type(penalty).__name__} of weight {penalty.weight:.3g}: in proportion to the "
        f"{math.prod(facts.data.shape[1:])} pixels, over which squared gradients are summed"
    )


def _augmentation(made: Recipe, facts: Facts) -> tuple[Recipe, str]:
    """Augmentation for few images, which a discriminator learns by heart (Zhao et al. 2020, figure 1)."""
    few = facts.num_samples is not None and facts.num_samples < _FEW
    if not few or not facts.data.is_image or not isinstance(made.game, Adversarial) or made.game.show:
        return made, ""
    changed = made.replace(game=made.game.replace(show=(DiffAugment(),)))
    return changed, f"augmentation: {facts.num_samples} images are few enough to be learnt by heart"


def _batch(made: Recipe, facts: Facts) -> tuple[Recipe, str]:
    """No batch of more than half of all samples."""
    count, batch = facts.num_samples, made.train.batch
    if count is None or not facts.data.is_image or batch <= max(2, count // 2):
        return made, ""
    small = 2 ** (max(2, count // 2).bit_length() - 1)
    return made.replace(train=made.train.replace(batch=small)), f"batch {small}: there are {count} samples"


def _conditional(data: DataSpec) -> str:
    if data.num_classes:
        return f"conditional: the data has {data.num_classes} classes; --labels ignore leaves them out"
    if isinstance(data.form, Table) and data.y_shape:
        return "conditional: on a category of one column at a time, drawn so that rare ones are learned"
    if data.y_shape:
        shape = list(data.y_shape)
        return f"conditional: samples have conditions of shape {shape}; --labels ignore leaves them out"
    return "unconditional: the data has no labels, or they were set aside"
