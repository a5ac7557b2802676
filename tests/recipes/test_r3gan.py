"""The recipes of R3GAN: the paper's numbers, and that what burns in is a function of the clock, also over a resume."""

from __future__ import annotations

import json

import pytest
import torch

from sparring.core.exchange import Clock
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.data.open import Data
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Relativistic
from sparring.games.penalties import R1R2
from sparring.games.show import ADA
from sparring.networks.r3gan import CIFAR10, FFHQ64, FFHQ256, R3GANDiscriminator, R3GANGenerator
from sparring.recipes.automatic import settle
from sparring.recipes.r3gan import r3gan, r3gan_published
from sparring.train.optimizers import Adam
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer

CPU = torch.device("cpu")
SECONDS = Budget(amount=60)


def data_of(*shape: int) -> DataSpec:
    return DataSpec(name="some", shape=shape)


def at(recipe: Recipe, progress: float) -> dict[str, float]:
    """What burns in, as it is at a share of the run."""
    clock, adam, game = Clock(0, 0, 0.0, progress), recipe.optimizers.generator, recipe.game
    assert isinstance(adam, Adam)
    assert isinstance(game, Adversarial)
    assert recipe.optimizers.discriminator == adam
    found = {
        "lr": adam.lr * adam.schedule.factor(clock),
        "beta2": adam.at(clock).betas[1],
        "gamma": game.penalties[0].at(clock, {}).weight,
    }
    for show in game.show:
        assert isinstance(show, ADA)
        found["p"] = show.at(clock, {}).p
    return found


@pytest.mark.parametrize(
    ("size", "pair", "batch", "gamma", "p", "burn_in"),
    [
        (32, CIFAR10, 512, (0.05, 0.005), 0.55, 0.08),
        (64, FFHQ64, 256, (2.0, 0.2), 0.3, 0.1),
        (256, FFHQ256, 256, (150.0, 15.0), 0.3, 0.1),
    ],
)
def test_what_was_published(
    size: int, pair: object, batch: int, gamma: tuple[float, float], p: float, burn_in: float
) -> None:
    recipe = r3gan_published(Data(source="x"), data_of(3, size, size), SECONDS)
    assert (recipe.generator, recipe.discriminator) == pair
    assert recipe.train.batch == batch
    begin = {"lr": 2e-4, "beta2": 0.9, "gamma": gamma[0], "p": 0.0}
    end = {"lr": 5e-5, "beta2": 0.99, "gamma": gamma[1], "p": p}
    assert at(recipe, 0.0) == pytest.approx(begin)
    assert at(recipe, burn_in / 2) == pytest.approx({k: (begin[k] + end[k]) / 2 for k in begin})
    assert at(recipe, burn_in) == at(recipe, 1.0) == pytest.approx(end)
    average = recipe.train.average
    assert average.decay(10_000_000, 1000) == pytest.approx(0.5 ** (1000 / (average.half_life / 2)))
    game = recipe.game
    assert isinstance(game, Adversarial)
    assert isinstance(game.objective, Relativistic)
    (penalty,) = game.penalties
    assert isinstance(penalty, R1R2)
    assert penalty.every == 1
    (show,) = game.show
    assert isinstance(show, ADA)
    assert (show.colour, show.paired, "cutout" in show.policy, "noise" in show.policy) == (0.5, True, True, False)
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


def test_the_penalty_grows_with_the_pixels() -> None:
    small, large = (at(r3gan(Data(source="x"), data_of(1, n, n), SECONDS), 1.0)["gamma"] for n in (28, 56))
    assert large == pytest.approx(4 * small)


def test_its_players_are_small_and_grow_with_the_budget() -> None:
    sizes = []
    for seconds in (60.0, 7200.0):
        recipe = r3gan(Data(source="x"), data_of(1, 28, 28), Budget(amount=seconds))
        assert isinstance(recipe.generator, R3GANGenerator)
        assert isinstance(recipe.discriminator, R3GANDiscriminator)
        players = (spec.build(data_of(1, 28, 28), 64) for spec in (recipe.generator, recipe.discriminator))
        sizes.append(sum(p.numel() for player in players for p in player.parameters()))
    assert sizes[0] < 200_000 < 600_000 < sizes[1]


def test_a_resume_goes_on_bit_by_bit() -> None:
    source = Data(source="digits").load()
    recipe = r3gan(Data(source="digits"), source.spec, Budget(amount=160, unit="images"))
    game = recipe.game.replace(show=(ADA(paired=True, final=0.6, until=0.5),))
    train = recipe.train.replace(batch=16, grids=0, precision="float32", matmul="highest")
    recipe = settle(recipe.replace(game=game, train=train), CPU).recipe
    whole, first = Trainer(recipe, source, CPU), Trainer(recipe, source, CPU)
    for _ in range(10):
        whole.take_step()
    for _ in range(4):
        first.take_step()
    tensors, meta = first.state()
    second = Trainer(recipe, source, CPU)
    second.load({name: tensor.clone() for name, tensor in tensors.items()}, meta)
    for _ in range(6):
        second.take_step()
    ends = [player.state() for trainer in (whole, second) for player in trainer.players.values()]
    for one, other in zip(ends[:2], ends[2:], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
