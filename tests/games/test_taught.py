"""Texts' own likelihood in the generator's loss: by hand, by counting, and against finite differences."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock, Exchange
from sparring.core.forms import Text
from sparring.core.protocols import Batch, DataSpec
from sparring.data.open import Data
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import GeneratorOrthogonal
from sparring.games.taught import Taught
from sparring.networks.recurrent import RecurrentGenerator
from sparring.networks.temporal import TemporalDiscriminator, TemporalGenerator
from sparring.recipes.sequences import text
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer

FORM = Text(tokens=("", "a", "b", "c"))
DATA = DataSpec(name="texts", shape=(5, 4), form=FORM)
TEXTS = FORM.one_hot(torch.tensor([[1, 2, 0, 0, 0], [3, 3, 1, 2, 2], [2, 0, 0, 0, 0]]))


def players(**more: object) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    G = RecurrentGenerator(width=6, noise=2, feedback=True, **more).build(DATA, 8)  # type: ignore[arg-type]
    return G, TemporalDiscriminator(width=4).build(DATA, 8)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_likelihood_is_the_product_of_what_is_written_step_by_step(cell: str) -> None:
    """The generator is made to write a text: its end is told which token to take, and notes the probability."""
    G, _ = players(cell=cell)
    z = torch.randn(3, 8)
    noted = []

    class Dictation:
        draws = True

        def __call__(self, logits: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
            noted.append(torch.log_softmax(logits, 1))
            return TEXTS[:, len(noted) - 1]

    expected = []
    G.end = Dictation()  # type: ignore[assignment]
    with torch.no_grad():
        G(z)
    for row, length in enumerate([3, 5, 2]):  # the first token that ends a text counts, those after it do not
        told = [noted[t][row, TEXTS[row, t].argmax()] for t in range(length)]
        expected.append(sum(told) / length)
    torch.testing.assert_close(G.log_likelihood(TEXTS, z).detach(), torch.stack(expected))


def test_a_generator_that_is_only_taught_learns_how_often_letters_are() -> None:
    """Of a letter that is a in three of four texts, b in one, the best surprise is the law's entropy."""
    data = DataSpec(name="texts", shape=(1, 4), form=FORM)
    torch.manual_seed(0)
    G = RecurrentGenerator(width=8, noise=0, feedback=True).build(data, 4)
    texts = FORM.one_hot(torch.tensor([[1], [1], [1], [2]])).repeat(16, 1, 1)
    optimiser = torch.optim.Adam(G.parameters(), lr=0.02)
    for _ in range(200):
        loss = -G.log_likelihood(texts, torch.randn(64, 4)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert loss.item() == pytest.approx(entropy, abs=0.03)
    drawn = G(torch.randn(4000, 4)).argmax(2)
    assert (drawn == 1).float().mean().item() == pytest.approx(0.75, abs=0.05)


def losses(game: Adversarial, progress: float) -> float:
    G, D = players()
    torch.manual_seed(1)
    z = torch.randn(3, 8)
    clock = Clock(0, 0, 0.0, progress)
    exchange = Exchange({"generator": G, "discriminator": D}, Batch(TEXTS, None), lambda _: z, clock=clock)
    return game.generator_loss(exchange).item()


def test_the_weight_falls_along_half_a_cosine_and_stays() -> None:
    G, _ = players()
    torch.manual_seed(1)
    surprise = -G.log_likelihood(TEXTS, torch.randn(3, 8)).mean().item()
    plain = losses(Adversarial(), 0.0)
    game = Taught(teaching=3.0, taught=1.0, until=0.5)
    for progress, weight in ((0.0, 3.0), (0.25, 2.0), (0.5, 1.0), (0.9, 1.0)):
        assert losses(game, progress) == pytest.approx(plain + weight * surprise, rel=1e-5)
    assert losses(game.replace(taught=0.0), 0.7) == plain


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"teaching": -1.0}, {"taught": -1.0}, {"until": 0.0}, {"until": 1.1}):
        with pytest.raises(RequestError, match="Taught: expected weights"):
            Taught(**wrong)  # type: ignore[arg-type]
    G, D = TemporalGenerator(width=4).build(DATA, 8), players()[1]
    with pytest.raises(RequestError, match="the generator tells no likelihoods"):
        Taught().check(DATA, {"generator": G, "discriminator": D})


def test_a_look_at_the_game_passes(tmp_path: Path) -> None:
    """Which holds samples in place of the generator, that tells no likelihoods then."""
    (tmp_path / "words.txt").write_text("\n".join(a + b for a in "abcdefgh" for b in ("ab", "cd", "efg")))
    data = Data(source=str(tmp_path / "words.txt"))
    source = data.load()
    made = text(data, source.spec, Budget(amount=256, unit="images"))
    train = made.train.replace(batch=16, health=made.train.health.replace(every=2), matmul="highest", grids=0)
    generators = {"Taught": made.game, "GeneratorOrthogonal": Adversarial(generator_penalties=(GeneratorOrthogonal(),))}
    for name, game in generators.items():
        trainer = Trainer(made.replace(game=game, train=train), source, torch.device("cpu"))
        for _ in range(4):
            trainer.take_step()
            trainer.look()
        found = trainer.looks.drain()
        assert found, name
        assert all(math.isfinite(value) for value in found.values()), name
