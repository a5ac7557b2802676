"""The energy-based games: what they remember, against the papers' rules in plain numbers."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Memory, Seen
from sparring.core.game import Objective
from sparring.core.protocols import DataSpec
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import BEGAN, EBGAN, MAGAN
from sparring.games.priors import Gaussian
from sparring.networks.autoencoder import AutoencoderDiscriminator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.testing import check_recipe
from sparring.testing.play import Nowhere
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.recipe import Recipe, Train
from sparring.train.schedule import Budget

DATA = DataSpec(name="vectors", shape=(3,))


def seen(energy: float | Tensor) -> Seen:
    """Two samples with this energy on average."""
    return Seen(torch.zeros(2, 3), None, -energy * torch.tensor([0.5, 1.5], dtype=torch.float64))


def play(objective: Objective, memory: Memory, real: float, fake: float) -> None:
    objective.after(memory, seen(real), seen(fake))


def test_energies_with_a_margin_as_written() -> None:
    real_energy, fake_energy = torch.rand(2, 9, dtype=torch.float64) * 3
    loss = EBGAN(margin=1.5).discriminator(-real_energy, -fake_energy)
    torch.testing.assert_close(loss, real_energy + torch.clamp(1.5 - fake_energy, min=0))
    torch.testing.assert_close(EBGAN().generator(-real_energy, -fake_energy), fake_energy)


@pytest.mark.parametrize("objective", [EBGAN(), MAGAN(), BEGAN()])
def test_a_discriminator_without_energies_is_refused(objective: Objective) -> None:
    class Mine(nn.Module):
        is_energy = True

    objective.check(DATA, Mine())
    objective.check(DATA, nn.Sequential(Mine()))
    with pytest.raises(RequestError, match=f"{type(objective).__name__}: .* AutoencoderDiscriminator") as refused:
        objective.check(DATA, nn.Sequential(nn.Linear(3, 1)))
    assert "\n" not in str(refused.value)


def test_balance_of_the_boundary_equilibrium() -> None:
    """k moves by rate (gamma L(x) - L(G(z))), stays in [0, 1], and the losses read it from the memory."""
    game = BEGAN(gamma=0.4, k=0.1, rate=0.05)
    memory = game.memory(DATA)
    tensors = dict(memory)
    expected = 0.1
    numbers = random.Random(0)
    for _ in range(40):
        real, fake = numbers.uniform(0, 4), numbers.uniform(0, 1)
        play(game, memory, real, fake)
        expected = min(max(expected + 0.05 * (0.4 * real - fake), 0), 1)
        assert float(memory["k"]) == pytest.approx(expected, abs=1e-6)
        assert float(memory["convergence"]) == pytest.approx(real + abs(0.4 * real - fake), abs=1e-6)
    assert all(memory[name] is tensors[name] for name in tensors)
    logits = torch.tensor([-2.0], dtype=torch.float64), torch.tensor([-3.0], dtype=torch.float64)
    loss = game.at(START, memory).discriminator(*logits)
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(2 - expected * 3)
    assert float(game.discriminator(*logits)) == pytest.approx(2 - 0.1 * 3)


@pytest.mark.parametrize(("real", "fake", "end"), [(5.0, 0.0, 1.0), (0.0, 5.0, 0.0), (2.0, 1.0, 0.5)])
def test_where_the_balance_ends(real: float, fake: float, end: float) -> None:
    """At its bounds when one side is too strong; unmoved when fakes cost gamma times what real samples do."""
    game = BEGAN(gamma=0.5, k=0.5, rate=0.1)
    memory = game.memory(DATA)
    for _ in range(20):
        play(game, memory, real, fake)
    assert float(memory["k"]) == pytest.approx(end)


def test_margin_adaptation_by_hand() -> None:
    game = MAGAN(margin=2.0, window=2)
    memory = game.memory(DATA)
    steps = [
        ((1.0, 3.0), 2.0),  # nothing to compare with
        ((1.0, 0.2), 2.0),  # fakes cost less than before
        ((1.0, 0.9), 2.0),  # more than before, but less than real samples
        ((0.5, 2.5), 0.5),
        ((0.4, 1.0), 0.5),  # less than before
        ((0.6, 1.1), 0.5),  # more, but real samples cost more than the margin
    ]
    for (real, fake), margin in steps:
        play(game, memory, real - 0.1, fake)
        play(game, memory, real + 0.1, fake)
        assert float(memory["margin"]) == pytest.approx(margin), (real, fake)
    logits = torch.tensor([-0.3], dtype=torch.float64)
    assert float(game.at(START, memory).discriminator(logits * 0, logits)) == pytest.approx(0.2)


def test_margin_adaptation_against_the_algorithm() -> None:
    """Sums over windows in plain numbers, as algorithm 1 has them."""
    game, numbers = MAGAN(margin=3.0, window=5), random.Random(1)
    memory = game.memory(DATA)
    margin, before, moves = 3.0, math.inf, 0
    for _ in range(60):
        sums = [0.0, 0.0]
        for _ in range(5):
            real, fake = numbers.uniform(0, margin + 0.3), numbers.uniform(0, 2 * margin)
            play(game, memory, real, fake)
            sums = [sums[0] + real, sums[1] + fake]
        if sums[0] / 5 < margin and sums[0] < sums[1] and before < sums[1]:
            margin, moves = sums[0] / 5, moves + 1
        before = sums[1]
        assert float(memory["margin"]) == pytest.approx(margin, rel=1e-5)
    assert moves > 3


def test_a_run_plays_stops_and_goes_on() -> None:
    """Against an autoencoder, with what it remembers stored and read again."""
    adam = Adam(lr=1e-3)
    recipe = Recipe(
        name="magan",
        source=Nowhere(),
        prior=Gaussian(dim=3),
        generator=MLPGenerator(width=16, depth=1),
        discriminator=AutoencoderDiscriminator(width=2, max_width=4, code=4),
        game=Adversarial(objective=MAGAN(window=2)),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(budget=Budget(amount=1, unit="epochs")),
    )
    check_recipe(recipe, labels=True)
    with pytest.raises(RequestError, match="AutoencoderDiscriminator"):
        check_recipe(recipe.replace(discriminator=MLPDiscriminator(width=4)))


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (EBGAN, {"margin": 0.0}),
        (MAGAN, {"margin": -1.0}),
        (MAGAN, {"window": 0}),
        (BEGAN, {"gamma": 0.0}),
        (BEGAN, {"gamma": 1.5}),
        (BEGAN, {"k": -0.1}),
        (BEGAN, {"rate": 0.0}),
    ],
)
def test_out_of_range_is_refused(cls: type, wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=cls.__name__):
        cls(**wrong)
