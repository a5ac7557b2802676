"""Checks of whole games: a few steps between small networks."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from sparring.core.game import Game
from sparring.core.protocols import NetworkSpec, Source, SourceSpec
from sparring.data.tensors import from_arrays
from sparring.games.priors import Gaussian
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.testing.expect import expect, round_trip
from sparring.train.optimizers import SGD, Adam, Optimizers
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer


class Nowhere(SourceSpec):
    """Stands for data that are handed over by themselves."""


def check_game(game: Game, *, labels: bool = False, discriminator: NetworkSpec | None = None) -> None:
    """Plays a few steps between small networks, or against a discriminator that the game needs; see `check_recipe`."""
    adam = Adam(lr=1e-3)
    recipe = Recipe(
        name="kit",
        source=Nowhere(),
        prior=Gaussian(dim=3),
        generator=MLPGenerator(width=16, depth=1),
        discriminator=discriminator or MLPDiscriminator(width=16, depth=1),
        game=game,
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(budget=Budget(amount=1, unit="epochs")),
    )
    check_recipe(recipe, labels=labels)


def check_recipe(recipe: Recipe, source: Source | None = None, *, labels: bool = False, steps: int = 6) -> None:
    """A run of a few steps: its recipe survives JSON, both players move, all stays finite, one thread and two agree up
    to rounding, and a run that stopped half-way goes on exactly as one that did not.

    `source` is what it is played on; without one, 48 small images of noise, with labels where `labels` says so.
    """
    name = recipe.name
    round_trip(recipe)
    if source is None:
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (48, 8, 8), dtype=np.uint8)
        source = from_arrays(images, random.integers(0, 3, 48) if labels else None)
    train = recipe.train.replace(
        batch=12,
        budget=Budget(amount=12 * steps, unit="images"),
        precision="float32",
        matmul="highest",
        report_every=2,
        grids=0,
        health=recipe.train.health.replace(every=0),
        mend=(),
    )
    recipe = recipe.replace(train=train, scoring=Scoring(times=0))
    whole = _played(recipe, source, steps)
    for player in ("generator", "discriminator"):
        still = all(torch.equal(a, b) for a, b in _both(_played(recipe, source, 0), whole, f"{player}.net."))
        expect(not still, f"{name}: the {player} has not moved in {steps} steps")
    for key, tensor in whole.items():
        expect(not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"{name}: {key} is not finite")
    half = Trainer(recipe, source, torch.device("cpu"))
    for _ in range(steps // 2):
        half.take_step()
    tensors, meta = half.state()
    stored = safetensors.torch.save({k: v.detach().contiguous() for k, v in tensors.items()})
    resumed = Trainer(recipe, source, torch.device("cpu"))
    resumed.load(safetensors.torch.load(stored), json.loads(json.dumps(meta)))
    for _ in range(steps - steps // 2):
        resumed.take_step()
    for key, tensor in resumed.state()[0].items():
        same = torch.equal(tensor, whole[key])
        expect(same, f"{name}: {key} differs after a stop and a resume: something is remembered outside the state")
    sgd = SGD(lr=1e-2, momentum=0.0)  # Adam would turn the sign of a rounding error into a whole step
    plain = recipe.replace(optimizers=Optimizers(generator=sgd, discriminator=sgd))
    with _threads(1):
        one = _played(plain, source, 3)
    with _threads(2):
        two = _played(plain, source, 3)
    for key, tensor in one.items():
        if ".net." in key and tensor.is_floating_point():
            close = torch.allclose(tensor, two[key], rtol=1e-3, atol=1e-5)
            expect(close, f"{name}: {key} differs between one thread and two by more than rounding")


def _played(recipe: Recipe, source: Source, steps: int) -> dict[str, Tensor]:
    trainer = Trainer(recipe, source, torch.device("cpu"))
    for _ in range(steps):
        trainer.take_step()
    return copy.deepcopy({k: v.detach() for k, v in trainer.state()[0].items()})


def _both(first: dict[str, Tensor], second: dict[str, Tensor], start: str) -> Iterator[tuple[Tensor, Tensor]]:
    return ((first[key], second[key]) for key in first if key.startswith(start))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
