"""The auxiliary classifier's losses by hand, what it refuses, and that a small game learns labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import softplus

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Exchange, Seen
from sparring.core.game import Critic, Objective, Penalty, Show
from sparring.core.protocols import Batch, DataSpec, SourceSpec
from sparring.core.spec import from_json, to_json
from sparring.data.tensors import from_arrays
from sparring.games.adversarial import Adversarial
from sparring.games.auxiliary import AuxiliaryClassifier
from sparring.games.objectives import RelativisticAverage
from sparring.games.penalties import R1
from sparring.games.priors import Gaussian
from sparring.networks.condition import AuxiliaryHead, ConditionalBatchNorm, Projection
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.testing import check_game
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Train
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer

DATA = DataSpec(name="test", shape=(3,), num_classes=4)


class Tells(nn.Module):
    """A discriminator of one product with a matrix, that counts how often it is asked."""

    def __init__(self, per_sample: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5, dtype=torch.float64)
        self.per_sample, self.calls = per_sample, 0

    def forward_with_classes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        out = self.linear(x)
        return out[:, 0], out[:, 1:]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.forward_with_classes(x)[0]


class Makes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3, dtype=torch.float64)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.linear(z) + y[:, None]


def exchange(per_sample: bool = False, scale: float = 1.0) -> Exchange:
    torch.manual_seed(0)
    nets = {"generator": Makes(), "discriminator": Tells(per_sample)}
    real = Batch(scale * torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2]))
    draws = [torch.randn(5, 2, dtype=torch.float64) for _ in range(3)]
    return Exchange(nets, real, lambda n: draws[n], clock=START)


def surprise(classes: Tensor, y: Tensor) -> Tensor:
    """-log P(C = c | x), a sample at a time."""
    return torch.stack([-(row.exp() / row.exp().sum())[k].log() for row, k in zip(classes, y, strict=True)]).mean()


def by_hand(ex: Exchange) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits and class surprise of real samples, then of fakes."""
    d, y = ex.nets["discriminator"], ex.real.y
    assert y is not None
    real, fake = d.linear(ex.real.x), d.linear(ex.nets["generator"](ex._noise(0), y))
    return real[:, 0], surprise(real[:, 1:], y), fake[:, 0], surprise(fake[:, 1:], y)


@pytest.mark.parametrize("per_sample", [False, True])
def test_losses_by_hand(per_sample: bool) -> None:
    ex = exchange(per_sample)
    game = AuxiliaryClassifier(real_classes=0.5, fake_classes=0.25, generator_classes=3.0, d_weight=2.0, g_weight=0.1)
    real, real_surprise, fake, fake_surprise = by_hand(ex)
    expected = 2 * (softplus(-real).mean() + softplus(fake).mean()) + 0.5 * real_surprise + 0.25 * fake_surprise
    torch.testing.assert_close(game.discriminator_loss(ex), expected)
    assert ex.nets["discriminator"].calls == (1 if per_sample else 2)
    torch.testing.assert_close(game.generator_loss(ex), 0.1 * softplus(-fake).mean() + 3 * fake_surprise)
    assert ex.nets["discriminator"].calls == (2 if per_sample else 3)


def test_what_it_reports_is_the_share_told_rightly() -> None:
    ex = exchange()
    AuxiliaryClassifier().discriminator_loss(ex)
    d, y = ex.nets["discriminator"], ex.real.y
    assert y is not None
    for name, x in (("real", ex.real.x), ("fake", ex.fake())):
        right = [int(row[1:].argmax()) == int(k) for row, k in zip(d.linear(x), y, strict=True)]
        assert ex.seen[f"classes_{name}"].item() == pytest.approx(sum(right) / 5)
    assert not any(value.requires_grad for value in ex.seen.values())


def test_penalties_are_added_and_do_not_disturb_the_classes() -> None:
    plain, with_r1 = exchange(), exchange()
    extra = AuxiliaryClassifier(penalties=(R1(weight=2.0),)).discriminator_loss(with_r1)
    weight = plain.nets["discriminator"].linear.weight[0]
    torch.testing.assert_close(extra - AuxiliaryClassifier().discriminator_loss(plain), weight.square().sum())


class AsksAnew(Penalty):
    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return 0 * (critic(-real.x, real.y) + critic(-fake.x, fake.y))


def test_what_penalties_ask_about_is_no_sample_of_a_class() -> None:
    plain, asked = exchange(), exchange()
    loss = AuxiliaryClassifier(penalties=(AsksAnew(),)).discriminator_loss(asked)
    assert asked.nets["discriminator"].calls == 4
    torch.testing.assert_close(loss, AuxiliaryClassifier().discriminator_loss(plain))


def test_paired_objectives_take_the_classes_of_fakes() -> None:
    ex = exchange()
    objective: Objective = RelativisticAverage()
    real, _, fake, fake_surprise = by_hand(ex)
    loss = AuxiliaryClassifier(objective=objective).generator_loss(ex)
    torch.testing.assert_close(loss, objective.generator(real, fake).mean() + fake_surprise)


def test_the_gradient_reaches_the_head_and_the_generator() -> None:
    ex = exchange()
    game = AuxiliaryClassifier()
    game.discriminator_loss(ex).backward()
    assert ex.nets["discriminator"].linear.weight.grad.any(1).all()
    assert ex.nets["generator"].linear.weight.grad is None
    game.generator_loss(ex).backward()
    assert ex.nets["generator"].linear.weight.grad.any()


def test_without_weights_of_classes_it_is_the_plain_game() -> None:
    game = AuxiliaryClassifier(real_classes=0, fake_classes=0, generator_classes=0)
    assert from_json(to_json(game)) == game
    one, other = exchange(), exchange()
    assert torch.equal(game.discriminator_loss(one), Adversarial().discriminator_loss(other))
    assert torch.equal(game.generator_loss(one), Adversarial().generator_loss(other))
    assert one.nets is not None
    assert isinstance(one.nets["discriminator"], Tells)


def test_extreme_logits_stay_finite() -> None:
    ex = exchange(scale=1e5)
    game = AuxiliaryClassifier()
    for loss in (game.discriminator_loss(ex), game.generator_loss(ex)):
        assert loss.isfinite()
        slopes = torch.autograd.grad(loss, ex.nets["discriminator"].linear.weight, retain_graph=True)
        assert slopes[0].isfinite().all()


class SetsLabelsAside(Show):
    def data(self, data: DataSpec) -> DataSpec:
        return data.replace(num_classes=0)


@pytest.mark.parametrize(
    ("game", "data", "net", "message"),
    [
        (AuxiliaryClassifier(), DATA.replace(num_classes=0), Tells(), "labels asked of unlabelled data: test has no"),
        (AuxiliaryClassifier(show=(SetsLabelsAside(),)), DATA, Tells(), "labels asked of unlabelled data"),
        (AuxiliaryClassifier(), DATA, nn.Linear(3, 1), r"tells no classes; give it condition=AuxiliaryHead\(\)"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_built(game: Any, data: Any, net: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        game.check(data, {"generator": Makes(), "discriminator": net})
    assert "\n" not in str(caught.value)
    AuxiliaryClassifier().check(DATA, {"generator": Makes(), "discriminator": Tells()})


def test_it_holds_what_the_kit_asks() -> None:
    head = MLPDiscriminator(width=16, depth=1, condition=AuxiliaryHead())
    check_game(AuxiliaryClassifier(), labels=True, discriminator=head)


@pytest.mark.parametrize("field", ["real_classes", "fake_classes", "generator_classes"])
def test_weights_below_zero_are_refused(field: str) -> None:
    with pytest.raises(RequestError, match="expected weights of classes >= 0, found"):
        AuxiliaryClassifier(**{field: -1.0})


class Nowhere(SourceSpec):
    """The data are handed over."""


def played(game: Adversarial, discriminator: MLPDiscriminator, x: Any, y: Any, images: int) -> Trainer:
    """A small game to its end."""
    adam = Adam(lr=2e-3, betas=(0.0, 0.99))
    recipe = Recipe(
        name="labels",
        source=Nowhere(),
        prior=Gaussian(dim=8),
        generator=MLPGenerator(width=64, depth=2, condition=ConditionalBatchNorm()),
        discriminator=discriminator,
        game=game,
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(
            batch=64,
            budget=Budget(amount=images, unit="images"),
            average=Average(half_life=2000),
            precision="float32",
            matmul="highest",
            grids=0,
        ),
    )
    trainer = Trainer(recipe, from_arrays(x, y), torch.device("cpu"))
    for _ in trainer.run():
        pass
    return trainer


@pytest.mark.parametrize(
    ("game", "condition"),
    [(AuxiliaryClassifier(), AuxiliaryHead()), (Adversarial(), Projection())],
    ids=["auxiliary", "projection"],
)
def test_a_small_game_learns_labels(game: Adversarial, condition: Any) -> None:
    digits, y = load_digits(return_X_y=True)
    x = torch.from_numpy(digits / 8 - 1).float()
    labels = torch.from_numpy(y)
    game = game.replace(penalties=(R1(weight=0.2, every=4),))
    trainer = played(game, MLPDiscriminator(width=64, depth=2, condition=condition), x, labels, 64 * 200)
    asked = torch.arange(10).repeat(30)
    made = trainer.sample(torch.randn(300, 8, generator=torch.Generator().manual_seed(1)), asked)
    means = torch.stack([x[labels == k].mean(0) for k in range(10)])
    right = (torch.cdist(made, means).argmin(1) == asked).float().mean().item()
    real = (torch.cdist(x, means).argmin(1) == labels).float().mean().item()
    assert real > 0.9, "or the nearest mean is no judge of classes"
    assert right > 0.6, "chance is 0.1"
