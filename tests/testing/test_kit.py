"""The kit finds what is wrong: every check is shown a part that breaks exactly one rule."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from sparring.core.exchange import Exchange, Memory, Seen
from sparring.core.execute import load_file
from sparring.core.game import Constraint, Critic, GeneratorPenalty, Objective, Penalty, Show
from sparring.core.protocols import DataSpec
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import NonSaturating
from sparring.games.penalties import R1
from sparring.games.show import Packing
from sparring.testing import (
    check_constraint,
    check_game,
    check_generator_penalty,
    check_module,
    check_objective,
    check_penalty,
    check_show,
)
from sparring.testing.module import main


class Reduced(NonSaturating):
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return super().discriminator(real_logits, fake_logits).mean()


class SecretlyPaired(NonSaturating):
    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(real_logits - fake_logits)


class WrongSlope(NonSaturating):
    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-fake_logits) + fake_logits.detach() ** 2


class Overflows(NonSaturating):
    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return (-fake_logits).exp()


class LogOfSigmoid(NonSaturating):
    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -fake_logits.sigmoid().log()


class Random(NonSaturating):
    """Draws from numbers of its own, which nobody seeds."""

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-fake_logits) * float(np.random.default_rng().uniform())


class SecretlyCoupled(NonSaturating):
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(fake_logits.mean() - real_logits) + softplus(fake_logits)


class InPlace(NonSaturating):
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-real_logits.add_(1)) + softplus(fake_logits)


class Clamps(NonSaturating):
    """Gives the same the second time."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(-real_logits) + softplus(fake_logits.clamp_(-0.5, 0.5))


class Replaces(NonSaturating):
    k: float = 0.0

    def memory(self, data: DataSpec) -> Memory:
        return {"k": torch.zeros(())}

    def after(self, memory: Memory, real: Seen, fake: Seen) -> None:
        memory["k"] = torch.ones(())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Reduced(), r"Reduced.discriminator: loss of shape \[\] for 2 logits"),
        (SecretlyPaired(), "must say `paired = True`"),
        (SecretlyCoupled(), "must say `coupled = True`"),
        (WrongSlope(), "not that of finite differences"),
        (Overflows(), "not finite at logits up to 10000"),
        (LogOfSigmoid(), "not finite"),
        (Random(), "the same random numbers give two results"),
        (
            InPlace(),
            "InPlace.discriminator: (the same random numbers give two|the logits that it was given are changed)",
        ),
        (Clamps(), "Clamps.discriminator: the logits that it was given are changed"),
        (Replaces(), "puts new tensors in the place of the old"),
    ],
)
def test_objectives_that_break_one_rule(wrong: Objective, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_objective(wrong)


class Unweighted(R1):
    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return super().__call__(critic, real, fake) + 1


class NoSecondOrder(R1):
    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        (gradient,) = torch.autograd.grad(real.logits.sum(), real.x, retain_graph=True)
        return self.weight * gradient.square().flatten(1).sum(1) + 0 * real.logits


class ReducedTerm(R1):
    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return super().__call__(critic, real, fake).mean(0, keepdim=True)


class SlopeOfNorm(Penalty):
    """The root of a square that is 0 has no finite slope."""

    per_sample: ClassVar[bool] = True

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        (gradient,) = torch.autograd.grad(real.logits.sum(), real.x, create_graph=True)
        return self.weight * (gradient * 0).square().flatten(1).sum(1).sqrt()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Unweighted(), "twice the weight is not twice the term"),
        (NoSecondOrder(), "its gradient along a direction is"),
        (ReducedTerm(), r"a term of shape \[1\] for 4 samples"),
        (SlopeOfNorm(), "its gradient"),
    ],
)
def test_penalties_that_break_one_rule(wrong: Penalty, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_penalty(wrong)


class Elsewhere(GeneratorPenalty):
    def __call__(self, generator: nn.Module, z: Tensor, y: Tensor | None) -> tuple[Tensor, Memory]:
        return generator(z, y).flatten(1).sum(1), {"mean": z.mean()}


def test_a_generator_penalty_remembers_what_it_has() -> None:
    with pytest.raises(AssertionError, match=r"remembers \['mean'\], which it has not"):
        check_generator_penalty(Elsewhere())


class Rounds(Show):
    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return x + (x * 8).round().detach() - (x * 8).detach(), y


class Shrinks(Show):
    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return x[:, :1], y


class PacksInSecret(Packing):
    @property
    def together(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Rounds(), "finite differences"),
        (Shrinks(), "shows "),
        (PacksInSecret(), "shows 12 samples as 6, but says `together` for 12"),
    ],
)
def test_shows_that_break_one_rule(wrong: Show, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_show(wrong)


class Explodes(Constraint):
    def project(self, parameters: Sequence[Tensor]) -> None:
        for parameter in parameters:
            parameter.div_(0)


def test_a_constraint_that_is_not_finite() -> None:
    with pytest.raises(AssertionError, match=r"Explodes.project"):
        check_constraint(Explodes())


class OutsideTheState(Adversarial):
    """Counts its calls in a place that no checkpoint knows."""

    def generator_loss(self, exchange: Exchange) -> Tensor:
        calls = COUNTED.setdefault(id(exchange.nets), [])
        calls.append(1)
        return super().generator_loss(exchange) * (1.0 + len(calls))


COUNTED: dict[int, list[int]] = {}


class StillGenerator(Adversarial):
    def generator_loss(self, exchange: Exchange) -> Tensor:
        return super().generator_loss(exchange) * 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (OutsideTheState(), "something is remembered outside the state"),
        (StillGenerator(), "the generator has not moved"),
    ],
)
def test_games_that_break_one_rule(wrong: Adversarial, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_game(wrong)


def test_a_file_is_checked_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad, empty, bare = (tmp_path / f"{name}_gan.py" for name in ("good", "bad", "empty", "bare"))
    good.write_text(
        "from sparring.games.adversarial import Adversarial\n"
        "from sparring.games.objectives import NonSaturating\n"
        "from sparring.recipes.images import mlp\n"
        "from sparring.train.recipe import Recipe\n"
        "class Mine(NonSaturating):\n"
        "    scale: float = 2.0\n"
        "    def generator(self, real_logits, fake_logits):\n"
        "        return self.scale * super().generator(real_logits, fake_logits)\n"
        "def mine(source, data, budget) -> Recipe:\n"
        "    return mlp(source, data, budget).replace(game=Adversarial(objective=Mine()))\n"
    )
    bad.write_text(good.read_text().replace("self.scale *", "self.scale * real_logits *"))
    empty.write_text("x = 1\n")
    bare.write_text(good.read_text().replace("float = 2.0", "float"))
    assert check_module(load_file(f"{good}:", option="file", kind="recipe")) == ["Mine", "mine"]
    for file, code in ((good, 0), (bad, 1), (empty, 1), (bare, 1), (tmp_path / "gone.py", 2)):
        monkeypatch.setattr(sys, "argv", ["sparring.testing", str(file)])
        assert main() == code
    said = capsys.readouterr()
    assert "Mine, mine: all that is asked of them holds" in said.out
    lines = said.err.splitlines()
    assert [line.split(": ")[1] for line in lines[:2]] == ["Mine.generator", "sparring_recipe_empty_gan"]
    assert "Mine: expected defaults to make it" in lines[2]
    assert "'scale'" in lines[2]
