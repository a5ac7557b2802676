"""What every pair of networks for images passes: it is built, trained, saved, resumed and written down, whatever the
images are like."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from sparring.core.protocols import NetworkSpec
from sparring.core.spec import from_json, to_json
from sparring.data.tensors import Resident, from_arrays
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1
from sparring.games.priors import Gaussian
from sparring.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from sparring.networks.fastgan import FastGANDiscriminator, FastGANGenerator
from sparring.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from sparring.networks.resnet import ResidualDiscriminator, ResidualGenerator
from sparring.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from sparring.testing.play import Nowhere
from sparring.train.events import Saved, Stepped
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget, Cosine
from sparring.train.trainer import Trainer

CPU = torch.device("cpu")
BATCH, STEPS, SAVED_AT, Z_DIM = 4, 20, 10, 8
CHANNELS = {"grey": 1, "RGB": 3, "RGBA": 4}
SIZES = [(28, 28), (32, 32), (24, 40), (96, 64)]
R1_GAME, NO_PENALTY = Adversarial(penalties=(R1(weight=1.0, every=8),)), Adversarial()
PLAYERS: dict[str, tuple[NetworkSpec, NetworkSpec, Adversarial]] = {
    "dcgan": (DCGANGenerator(width=4, max_width=8), DCGANDiscriminator(width=4, max_width=8), R1_GAME),
    "resnet": (ResidualGenerator(width=4, max_width=8), ResidualDiscriminator(width=4, max_width=8), R1_GAME),
    "r3gan": (
        R3GANGenerator(width=4, max_width=8, blocks=1, group_size=4),
        R3GANDiscriminator(width=4, max_width=8, blocks=1, group_size=4),
        R1_GAME,
    ),
    "stylegan2": (
        StyleGAN2Generator(width=4, max_width=8, style=8),
        StyleGAN2Discriminator(width=4, max_width=8),
        R1_GAME,
    ),
    "fastgan": (
        FastGANGenerator(width=4, max_width=8),
        FastGANDiscriminator(width=4, max_width=8, decoders=True),
        NO_PENALTY,  # its discriminator has batch normalisation, which R1 refuses
    ),
}


def source_of(channels: int, size: tuple[int, int], conditional: bool) -> Resident:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (10, *size, channels), dtype=np.uint8)
    return from_arrays(images, random.integers(0, 3, 10) if conditional else None)


def recipe_of(name: str) -> Recipe:
    adam = Adam(lr=1e-3, betas=(0.0, 0.99), schedule=Cosine())
    generator, discriminator, game = PLAYERS[name]
    train = Train(
        batch=BATCH,
        budget=Budget(amount=BATCH * STEPS, unit="images"),
        average=Average(half_life=100),
        precision="float32",
        matmul="highest",
        report_every=SAVED_AT,
        grids=0,
    )
    return Recipe(
        name=name,
        source=Nowhere(),
        prior=Gaussian(dim=Z_DIM),
        generator=generator,
        discriminator=discriminator,
        game=game,
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=train.replace(health=train.health.replace(every=0)),
        scoring=Scoring(times=0),
    )


def played(trainer: Trainer, to: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Goes on to a step and saves; the state as it comes back from a file."""
    for event in trainer.run():
        if isinstance(event, Stepped) and event.clock.step == to:
            trainer.stop()
    assert isinstance(event, Saved)
    assert event.clock.step == to
    stored = safetensors.torch.save({key: tensor.detach().contiguous() for key, tensor in event.tensors.items()})
    return safetensors.torch.load(stored), json.loads(json.dumps(event.meta))


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", PLAYERS)
def test_every_network_trains_and_resumes_on_every_kind_of_image(
    name: str, size: tuple[int, int], channels: int, conditional: bool
) -> None:
    recipe, source = recipe_of(name), source_of(channels, size, conditional)
    whole = Trainer(recipe, source, CPU)
    start = {key: tensor.clone() for key, tensor in whole.state()[0].items()}
    half, end = played(whole, SAVED_AT), played(whole, STEPS)[0]
    for player in ("generator", "discriminator"):
        assert any(not torch.equal(start[key], end[key]) for key in end if key.startswith(f"{player}.net.")), player
    assert [key for key, tensor in end.items() if not tensor.isfinite().all()] == []
    sample = whole.sample(torch.randn(2, Z_DIM), torch.tensor([0, 2]) if conditional else None)
    assert sample.shape == (2, channels, *size)
    assert sample.abs().max() <= 1

    again = from_json(json.loads(json.dumps(to_json(recipe))))
    assert again == recipe
    torch.manual_seed(99)
    resumed = Trainer(again, source, CPU)
    resumed.load(*half)
    found = played(resumed, STEPS)[0]
    assert found.keys() == end.keys()
    assert [key for key in end if not torch.equal(found[key], end[key])] == []
