"""Conditions that are no classes, through everything that a run does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sparring.api
from sparring.core.errors import RequestError
from sparring.core.exchange import Exchange
from sparring.core.protocols import Batch, DataSpec, SourceSpec
from sparring.data.tensors import Resident, from_arrays
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1
from sparring.games.priors import Gaussian
from sparring.layers import Activation, Dense
from sparring.metrics.features import load
from sparring.metrics.judge import measure
from sparring.networks.condition import Concatenation, Projection
from sparring.networks.layered import Discriminator, Generator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.recipes.automatic import choose
from sparring.scoring import score_generator
from sparring.train.events import Sampled, Stepped
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Train
from sparring.train.samples import GRID_COLUMNS
from sparring.train.schedule import Budget
from sparring.train.signals import look
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator, averaged_weights

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
KINDS = {
    "attributes": RANDOM.random((40, 3)) > 0.5,
    "vector": RANDOM.normal(size=(40, 2)),
    "image": RANDOM.integers(0, 256, (40, 4, 6, 3), dtype=np.uint8),
}


def conditioned(kind: str) -> Resident:
    return from_arrays(RANDOM.integers(0, 256, (40, 8, 8), dtype=np.uint8), KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_shows_scores_and_resumes(kind: str, recipe: Recipe) -> None:
    source = conditioned(kind)
    train = recipe.train.replace(budget=Budget(amount=8 * 10, unit="images"), grids=2)
    recipe = recipe.replace(train=train.replace(health=train.health.replace(every=5)))
    asked: list[Batch] = []

    class Asks:
        better: dict[str, Any] = {}  # noqa: RUF012

        def score(self, sample: Callable[[int, int], Batch], *, num_samples: int, **said: Any) -> Any:
            asked.append(sample(0, 20))
            raise StopIteration

    trainer = Trainer(recipe, source, CPU, Asks())  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        trainer.score()
    trainer.judge = None
    whole = Trainer(recipe, source, CPU)
    events = list(whole.run())
    (batch,) = asked
    assert batch.y is not None
    known = {tuple(row.flatten().tolist()) for row in source.take(torch.arange(40)).y}  # type: ignore[union-attr]
    assert {tuple(row.flatten().tolist()) for row in batch.y} <= known, "the data's own conditions are asked for"

    grids = [event for event in events if isinstance(event, Sampled)]
    first = source.take(torch.arange(GRID_COLUMNS)).y
    for grid in grids:
        assert grid.samples.y is not None
        for column in range(GRID_COLUMNS):
            assert torch.equal(grid.samples.y[column::GRID_COLUMNS], first)  # type: ignore[arg-type]
    (values, *_) = [event.values for event in events if isinstance(event, Stepped)]
    assert "label_effect" in values

    half = Trainer(recipe, source, CPU)
    for _ in range(4):
        half.take_step()
    resumed = Trainer(recipe, source, CPU)
    resumed.load(*half.state())
    while not resumed.done:
        resumed.take_step()
    ends = [{k: v for k, v in t.state()[0].items() if k.startswith("generator")} for t in (whole, resumed)]
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_look_says_of_conditions_is_what_it_says_of_classes(kind: str, recipe: Recipe) -> None:
    """The same numbers as where each distinct condition is a class."""
    source = conditioned(kind)
    trainer = Trainer(recipe, source, CPU)
    z, batch = torch.randn(12, 4), source.take(torch.tensor([0, 1, 2, 3, 4, 5, 0, 1, 7, 7, 8, 9]))
    assert batch.y is not None
    table, classes = torch.unique(batch.y, dim=0, return_inverse=True)

    class Looked(torch.nn.Module):
        """A player that is given the number of a condition."""

        def __init__(self, net: torch.nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            out: Tensor = self.net(x, table[y])
            return out

    by_class = {name: Looked(net) for name, net in trainer.nets.items()}
    game = trainer.game
    found = []
    for nets, y in ((trainer.nets, batch.y), (by_class, classes)):
        exchange = Exchange(nets, Batch(batch.x, y), lambda _: z)
        critic = game.critic(nets, exchange.clock, {})
        found.append(look(exchange, critic, game.generator_loss, None))  # type: ignore[attr-defined]
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j and torch.equal(batch.y[i], batch.y[j])]
    spread = sum((batch.x[i] - batch.x[j]).norm() for i, j in pairs) / len(pairs)
    torch.testing.assert_close(found[0]["spread"], spread, rtol=1e-4, atol=1e-4)
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], msg=name)


def test_a_judge_takes_samples_with_conditions() -> None:
    source = conditioned("vector")
    measured = measure(load("values", source), [source.take(torch.arange(40))])
    assert measured.y is None
    assert measured.summary.num == 40


def test_a_trained_generator_asks_for_conditions(recipe: Recipe) -> None:
    source = conditioned("vector")
    trainer = Trainer(recipe, source, CPU)
    generator = TrainedGenerator(recipe.generator, source.spec, recipe.prior, averaged_weights(trainer.state()[0]))
    y = source.take(torch.arange(40)).y
    batch = generator.sample(40, labels=y)
    assert torch.equal(batch.y, y)  # type: ignore[arg-type]
    assert batch.x.shape == (40, 1, 8, 8)
    with pytest.raises(RequestError, match=r"a condition of shape \[2\] for every sample, found none; give them from"):
        generator.sample(4)
    with pytest.raises(RequestError, match=r"found labels of shape \[4, 3\]"):
        generator.sample(4, labels=torch.zeros(4, 3))
    seen: list[Batch] = []

    class Keeps:
        def score(self, sample: Callable[[int, int], Batch], *, generate: object, **said: Any) -> None:
            assert generate is None
            seen.append(sample(0, 10))

    score_generator(generator, Keeps(), source, 10, 0)  # type: ignore[arg-type]
    assert {tuple(row) for row in seen[0].y.tolist()} <= {tuple(row) for row in y.tolist()}  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_from_python(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    y = KINDS[kind]
    gan = sparring.api.GAN(
        Generator([Dense(16), Activation("relu"), Dense(64), Activation("tanh")]),
        Discriminator([Dense(16), Activation("relu", leaky_rate=0.2), Dense(1)]),
        prior=Gaussian(dim=3),
    )
    gan.train(RANDOM.integers(0, 256, (40, 8, 8), dtype=np.uint8), y, mini_batch_size=10, verbose=False)
    asked = y / 127.5 - 1 if kind == "image" else y
    z = RANDOM.normal(size=(5, 3))
    made = gan.generate(z, asked[:5])
    assert made.shape == (5, 8, 8, 1)
    assert not np.array_equal(made, gan.generate(z, asked[5:10]))
    assert gan.advice(made, asked[:5]).shape == made.shape
    drawn: list[Any] = []
    monkeypatch.setattr(sparring.api, "advice_picture", lambda *given: drawn.append(given))
    gan.advice_picture("advice.png")
    assert drawn[0][-1] == [], "conditions are no names to write under a picture"
    shape = {"image": r"\[3, 4, 6\]", "vector": r"\[2\]", "attributes": r"\[3\]"}[kind]
    with pytest.raises(RequestError, match=f"y: expected 5 conditions of shape {shape}, found none"):
        gan.generate(z)
    with pytest.raises(RequestError, match=f"y: expected 5 conditions of shape {shape}, found 4"):
        gan.generate(z, asked[:4])


class Nowhere(SourceSpec):
    """The data are handed over."""


@pytest.mark.parametrize("way", [Concatenation(), Projection()], ids=["concatenation", "projection"])
def test_a_small_game_learns_what_a_vector_means(way: Any) -> None:
    """Data x = y + noise: samples for a y lie around it."""
    random = torch.Generator().manual_seed(0)
    y = torch.rand(2000, 2, generator=random) - 0.5
    x = y + 0.1 * torch.randn(2000, 2, generator=random)
    adam = Adam(lr=3e-3, betas=(0.0, 0.99))
    recipe = Recipe(
        name="vector",
        source=Nowhere(),
        prior=Gaussian(dim=4),
        generator=MLPGenerator(width=32, depth=2),
        discriminator=MLPDiscriminator(width=32, depth=2, condition=way),
        game=Adversarial(penalties=(R1(weight=0.1, every=4),)),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(
            batch=128,
            budget=Budget(amount=128 * 150, unit="images"),
            average=Average(half_life=4000),
            precision="float32",
            matmul="highest",
            grids=0,
        ),
    )
    trainer = Trainer(recipe, from_arrays(x.clamp(-1, 1), y), CPU)
    for _ in trainer.run():
        pass
    made = trainer.sample(torch.randn(2000, 4, generator=random), y)
    slope = (made * y).mean(0) / y.square().mean(0)
    assert ((slope - 1).abs() < 0.25).all(), "0 where y is not heard"
    assert (made - y).std() < 0.2


def test_the_choice_of_a_recipe_says_what_conditions_there_are() -> None:
    data = DataSpec(name="a", shape=(1, 8, 8), y_shape=(5,))
    reasons = choose(Nowhere(), data, recipe=None, budget=None, seed=None).reasons
    assert any(reason.startswith("conditional: samples have conditions of shape [5];") for reason in reasons)


def test_data_say_whether_they_are_conditional() -> None:
    plain = DataSpec(name="a", shape=(2,))
    assert [d.is_conditional for d in (plain, plain.replace(num_classes=2), plain.replace(y_shape=(1,)))] == [
        *(False, True, True)
    ]
