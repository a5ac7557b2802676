"""Checks of a whole file, yours or ours."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import cast

import numpy as np

from sparring.core.errors import RequestError
from sparring.core.execute import load_file
from sparring.core.game import Constraint, Game, GeneratorPenalty, History, Objective, Part, Penalty, Show
from sparring.core.protocols import NetworkSpec
from sparring.data.tensors import from_arrays
from sparring.games.adversarial import Adversarial
from sparring.games.moves import Moves
from sparring.testing.expect import expect
from sparring.testing.parts import check_constraint, check_generator_penalty, check_objective, check_penalty, check_show
from sparring.testing.play import Nowhere, check_game, check_recipe
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget

CHECKS: dict[type, tuple[Callable[..., None] | None, str]] = {
    Objective: (check_objective, "objective"),
    Penalty: (check_penalty, "penalties"),
    GeneratorPenalty: (check_generator_penalty, "generator_penalties"),
    Show: (check_show, "show"),
    Constraint: (check_constraint, "constraints"),
    History: (None, "history"),
    Moves: (None, "moves"),
}
"""By the class that a part derives from: what is checked of the part alone, and its place in `Adversarial`."""


def check_part(part: Part | Game, discriminator: NetworkSpec | None = None) -> None:
    """All that is asked of a part: by itself, and in a game of a few steps in its place; or of a whole game.

    `discriminator` is for parts that need one of their own, such as an autoencoder.
    """
    if isinstance(part, Game):
        check_game(part, discriminator=discriminator)
        return
    check, place = next(found for base, found in CHECKS.items() if isinstance(part, base))
    if check is not None:
        check(part)
    several = isinstance(getattr(Adversarial(), place), tuple)
    check_game(Adversarial().replace(**{place: (part,) if several else part}), discriminator=discriminator)


def check_module(module: ModuleType) -> list[str]:
    """Checks every part that a module defines, as its defaults make it, and every function that returns a `Recipe`;
    returns their names. Raises `AssertionError` at the first that fails, and when there is nothing to check."""
    found = []
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__ or name.startswith("_"):
            continue
        if inspect.isclass(value):
            if issubclass(value, (Game, *CHECKS)):
                try:
                    part = cast(Part | Game, value())
                except TypeError as error:
                    raise AssertionError(
                        f"{name}: expected defaults to make it, so that it can be checked: {error}"
                    ) from None
                check_part(part)
                found.append(name)
        elif inspect.isfunction(value) and inspect.signature(value).return_annotation in ("Recipe", Recipe):
            source = from_arrays(np.random.default_rng(0).integers(0, 256, (48, 8, 8), dtype=np.uint8))
            check_recipe(value(Nowhere(), source.spec, Budget(amount=1, unit="epochs")), source)
            found.append(name)
    expect(bool(found), f"{module.__name__}: defines no part of a game and no recipe")
    return found


def main() -> int:
    """Checks the files that are named; says what was checked, or the first thing that is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m sparring.testing", description="Checks parts of games and recipes."
    )
    parser.add_argument("files", nargs="+", metavar="FILE.py", help="executed, then checked")
    for file in parser.parse_args().files:
        try:
            found = check_module(load_file(f"{file}:", option="FILE.py", kind="recipe"))
        except RequestError as error:
            print(error, file=sys.stderr)
            return 2
        except AssertionError as error:
            print(f"{file}: {error}", file=sys.stderr)
            return 1
        print(f"{file}: {', '.join(found)}: all that is asked of them holds")
    return 0
