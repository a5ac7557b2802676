"""Every part that ships passes the kit, found by looking: a new one is checked without being named here."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import sparring.games
from sparring.core.game import Constraint, Game, GeneratorPenalty, Objective, Part, Penalty, Show
from sparring.games.adversarial import Adversarial
from sparring.testing.module import CHECKS


def shipped() -> Iterator[type]:
    """Every class of `sparring.games` that the kit can check, once."""
    found: dict[type, None] = {}
    for module in pkgutil.walk_packages(sparring.games.__path__, "sparring.games."):
        for _, value in inspect.getmembers(import_module(module.name), inspect.isclass):
            own = value.__module__.startswith("sparring.games.") and issubclass(value, (*CHECKS,))
            if own and not value.__name__.startswith("_"):
                found[value] = None
    return iter(sorted(found, key=lambda cls: cls.__name__))


ABSTRACT = {"Unpaired"}  # what others derive from: it has nothing of its own to check
SHIPPED = [cls for cls in shipped() if cls.__name__ not in ABSTRACT]


@pytest.mark.parametrize("cls", SHIPPED, ids=lambda cls: cls.__name__)
def test_it_holds(cls: type) -> None:
    check = next(check for base, check in CHECKS.items() if issubclass(cls, base))
    check(cls())


def test_none_is_overlooked() -> None:
    kinds = {base: sum(issubclass(cls, base) for cls in SHIPPED) for base in CHECKS}
    assert kinds[Objective] >= 8
    assert kinds[Penalty] >= 2
    assert kinds[Game] >= 3
    assert all(issubclass(cls, (Part, Game)) for cls in SHIPPED)
    assert set(kinds) == {Objective, Penalty, GeneratorPenalty, Show, Constraint, Game}
    assert Adversarial in SHIPPED
