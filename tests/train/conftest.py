"""A tiny game that every test of the trainer plays: 8×8 images, narrow players, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparring.core.protocols import Batch, SourceSpec
from sparring.data.tensors import Resident, from_arrays
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1
from sparring.games.priors import Gaussian
from sparring.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget, Cosine
from sparring.train.trainer import Trainer

CPU = torch.device("cpu")


class Nowhere(SourceSpec):
    """The tests hand the data over themselves."""


@pytest.fixture
def source() -> Resident:
    random = np.random.default_rng(0)
    return from_arrays(random.integers(0, 256, (50, 8, 8), dtype=np.uint8), random.integers(0, 3, 50))


@pytest.fixture
def recipe() -> Recipe:
    adam = Adam(lr=1e-3, schedule=Cosine())
    return Recipe(
        name="tiny",
        source=Nowhere(),
        prior=Gaussian(dim=4),
        generator=DCGANGenerator(width=4),
        discriminator=DCGANDiscriminator(width=4),
        game=Adversarial(penalties=(R1(weight=1.0, every=3),)),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(
            batch=8,
            budget=Budget(amount=8 * 24, unit="images"),
            average=Average(half_life=100, ramp=0.5),
            precision="float32",
            matmul="highest",
            report_every=5,
            grids=3,
        ),
        scoring=Scoring(),
    )


@pytest.fixture
def trainer(recipe: Recipe, source: Resident) -> Callable[..., Trainer]:
    def make(changed: Recipe | None = None, **more: Any) -> Trainer:
        return Trainer(changed or recipe, source, CPU, **more)

    return make


@pytest.fixture
def positions_asked() -> Callable[[Trainer], list[list[int]]]:
    """Of a trainer: the positions that it asks its source for from now on, a list for each time."""

    def listen(playing: Trainer) -> list[list[int]]:
        asked: list[list[int]] = []
        original = playing.source.take

        def take(index: Tensor) -> Batch:
            asked.append(index.tolist())
            return original(index)

        playing.source.take = take  # type: ignore[method-assign]
        return asked

    return listen
