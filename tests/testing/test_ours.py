"""Every part that ships passes the kit, found by looking: a new one is checked without being named here."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import sparring.games
from sparring.core.game import Constraint, Game, GeneratorPenalty, History, Objective, Part, Penalty, Show
from sparring.core.protocols import DataSpec
from sparring.games.adversarial import Adversarial
from sparring.games.auxiliary import AuxiliaryClassifier
from sparring.games.moves import Moves, Pretrained, Switch
from sparring.games.penalties import BalancedConsistency, Consistency
from sparring.games.show import DiffAugment
from sparring.networks.autoencoder import AutoencoderDiscriminator
from sparring.networks.condition import AuxiliaryHead
from sparring.networks.mlp import MLPDiscriminator
from sparring.recipes.images import mlp
from sparring.testing import check_part, check_recipe
from sparring.testing.module import CHECKS
from sparring.testing.play import Nowhere
from sparring.train.schedule import Budget

ABSTRACT = {"Energy", "FDivergence", "Unpaired"}  # what others derive from: they have nothing of their own to check
SHIFTED = (DiffAugment(policy=("translation",)),)
MADE = {
    "BalancedConsistency": BalancedConsistency(show=SHIFTED),
    "Consistency": Consistency(show=SHIFTED),
    "Pretrained": Pretrained(steps=2),
    "Switch": Switch(d=2, g=1),
}
"""Those that can't be made without arguments, and those whose defaults are longer than the kit's game."""
ENERGIES = {"BEGAN", "EBGAN", "MAGAN"}


def shipped() -> Iterator[type]:
    """Every class of `sparring.games` that the kit can check, once."""
    found: dict[type, None] = {}
    for module in pkgutil.walk_packages(sparring.games.__path__, "sparring.games."):
        for _, value in inspect.getmembers(import_module(module.name), inspect.isclass):
            own = value.__module__.startswith("sparring.games.") and issubclass(value, (Game, *CHECKS))
            if own and not value.__name__.startswith("_") and value.__name__ not in ABSTRACT:
                found[value] = None
    return iter(sorted(found, key=lambda cls: cls.__name__))


SHIPPED = list(shipped())
OF_THEIR_OWN = {"AuxiliaryClassifier", "SelfReconstruction", "Taught"}
"""Those that need players of their own: classes, decoders, likelihoods. The first is played below, the second in
tests/networks/test_fastgan.py, the third with the recipe for texts in tests/test_kinds.py."""
PLAIN = [cls for cls in SHIPPED if cls.__name__ not in OF_THEIR_OWN]


@pytest.mark.parametrize("cls", PLAIN, ids=lambda cls: cls.__name__)
def test_it_holds(cls: type) -> None:
    check_part(MADE.get(cls.__name__) or cls(), AutoencoderDiscriminator() if cls.__name__ in ENERGIES else None)


def test_a_game_with_a_network_of_its_own() -> None:
    data = DataSpec(name="kit", shape=(1, 8, 8), num_classes=3)
    recipe = mlp(Nowhere(), data, Budget(amount=1, unit="epochs"))
    head = MLPDiscriminator(width=16, depth=2, condition=AuxiliaryHead())
    check_recipe(recipe.replace(game=AuxiliaryClassifier(), discriminator=head), labels=True)


@pytest.mark.parametrize("game", [Adversarial()], ids=lambda game: type(game).__name__)
def test_a_game_with_labels(game: Game) -> None:
    data = DataSpec(name="kit", shape=(1, 8, 8), num_classes=3)
    check_recipe(mlp(Nowhere(), data, Budget(amount=1, unit="epochs")).replace(game=game), labels=True)


def test_none_is_overlooked() -> None:
    kinds = {base: sum(issubclass(cls, base) for cls in SHIPPED) for base in (Game, *CHECKS)}
    assert kinds[Objective] >= 20
    assert kinds[Penalty] >= 10
    assert kinds[GeneratorPenalty] >= 2
    assert kinds[Show] >= 4
    assert kinds[Constraint] >= 3
    assert kinds[Game] >= 5
    assert kinds[History] >= 2
    assert kinds[Moves] >= 4
    assert all(issubclass(cls, (Part, Game)) for cls in SHIPPED)
