"""Signals against closed forms; alarms that ring once and for a reason; looking that changes nothing; mending that a
resumed run repeats bit by bit."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError, TrainingError
from sparring.core.exchange import Clock, Exchange
from sparring.core.game import Critic, Show
from sparring.core.protocols import Batch
from sparring.data.tensors import Resident, from_arrays
from sparring.display import ProgressLine
from sparring.games.adversarial import Adversarial, Simultaneous
from sparring.games.objectives import Minimax
from sparring.games.penalties import R1, LeCam
from sparring.games.show import ADA, DiffAugment, InstanceNoise, Packing
from sparring.layers import Activation, BatchNormalization, Dense, Dropout
from sparring.networks.given import GivenGenerator
from sparring.networks.layered import Discriminator, Generator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.opening import Request
from sparring.recipes.mends import parse_mends
from sparring.rundir import RunFolder, read_rows
from sparring.train import health
from sparring.train.events import Alarmed, Event, Faulted, Mended, Saved, Stepped
from sparring.train.health import LOOKS, Alarm, Health, Means, Standing, Watch, learned_by_heart, not_finite
from sparring.train.mend import AdaptSteps, Augment, Changes, Mending, RaisePenalty, Rollback
from sparring.train.optimizers import SGD, Adam, Optimizers
from sparring.train.recipe import Recipe
from sparring.train.schedule import Plan
from sparring.train.signals import Signals, look
from sparring.train.trainer import Trainer

Make = Callable[..., Trainer]
Asked = Callable[[Trainer], list[list[int]]]
CPU = torch.device("cpu")

# ---- signals


class Linear(nn.Module):
    """D(x) = w·x + b."""

    def __init__(self, w: Tensor, b: float) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(w), b

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x @ self.w + self.b


class Moved(nn.Module):
    """G(z, y) = 3 z + 2 y u, with u = (0, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.scale * z
        return x if y is None else x + 2 * y[:, None] * torch.tensor([0.0, 1.0])


def generator_loss(exchange: Exchange) -> Tensor:
    """-log D(G(z)), the mean."""
    logits = exchange.nets["discriminator"](exchange.fake(), exchange.real.y)
    return torch.log1p(torch.exp(-logits)).mean()


def asked(nets: dict[str, nn.Module], real: Batch, z: Tensor, held_out: Batch | None = None) -> dict[str, Tensor]:
    return look(Exchange(nets, real, lambda _: z), Critic(nets["discriminator"]), generator_loss, held_out)


def test_signals_of_a_linear_discriminator() -> None:
    random = torch.Generator().manual_seed(0)
    real, held, z = (torch.randn(7, 2, generator=random) + shift for shift in (1.0, 0.5, 0.0))
    w, b = torch.tensor([0.3, -0.4]), 0.1
    nets = {"generator": Moved(), "discriminator": Linear(w, b)}
    found = {k: float(v) for k, v in asked(nets, Batch(real, None), z, Batch(held, None)).items()}
    d_real, d_held, d_fake = ([float(x @ w + b) for x in xs] for xs in (real, held, 3 * z))
    sigmoid = [1 / (1 + math.exp(v)) for v in d_fake]  # of minus the logit: |d loss / d logit|
    expected = {
        "grad_real": 0.25,
        "grad_fake": 0.25,
        "grad_ratio": 1.0,
        "gap": np.mean(d_real) - np.mean(d_fake),
        "gap_held": np.mean(d_real) - np.mean(d_held),
        "d_pairs": np.mean([r > f for r, f in itertools.product(d_real, d_fake)]),
        "d_pairs_held": np.mean([r > f for r, f in itertools.product(d_held, d_fake)]),
        "d_zero": np.mean([r > 0 for r in d_real] + [f < 0 for f in d_fake]),
        "g_grad": 0.5 * np.mean(sigmoid),
        "g_slope": np.mean(sigmoid),
        "spread": np.mean([math.dist(a, c) for a, c in itertools.permutations(real.tolist(), 2)]),
        "d_weights": 0.5,
        "g_weights": 3.0,
    }
    assert found["diversity"] * found["spread"] == pytest.approx(
        np.mean([3 * math.dist(a, c) for a, c in itertools.permutations(z.tolist(), 2)])
    )
    assert found.keys() == expected.keys() | {"diversity"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_pairs_that_tie_count_half() -> None:
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    same = {"generator": Moved(), "discriminator": Linear(torch.zeros(2), 1.0)}
    found = asked(same, Batch(z + 1, None), z)
    assert float(found["d_pairs"]) == 0.5
    assert float(found["g_slope"]) == 0.0  # no slope to weigh by, and no division by it


def test_slopes_are_per_sample_and_squared_before_the_mean() -> None:
    class Bowl(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            return self.w * x.square().sum(1) / 2  # ∇ = x

    real = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    z = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    found = asked({"generator": Moved(), "discriminator": Bowl()}, Batch(real, None), z)
    assert float(found["grad_real"]) == pytest.approx((25 + 1) / 2)
    assert float(found["grad_fake"]) == pytest.approx((9 + 36) / 2)
    assert float(found["grad_ratio"]) == pytest.approx(13 / 22.5)


def test_labels_in_the_signals() -> None:
    """Distances are taken within a label; another label moves each sample by 2, another noise by 3 |z - z'|."""
    real = torch.tensor([[0.0, 0.0], [5.0, 5.0], [0.0, 1.0], [5.0, 8.0]])
    y = torch.tensor([0, 1, 0, 1])
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    nets = {"generator": Moved(), "discriminator": Linear(torch.tensor([1.0, 1.0]), 0.0)}
    found = asked(nets, Batch(real, y), z)
    assert float(found["spread"]) == pytest.approx((1 + 3) / 2)
    assert float(found["diversity"]) == pytest.approx((6 + 9) / 2 / 2)
    assert float(found["label_effect"]) == pytest.approx(2 / (3 * (4 + 1 + 1 + 2) / 4))
    alone = asked(nets, Batch(real, torch.zeros(4, dtype=torch.int64)), z)
    assert float(alone["label_effect"]) == 1.0  # a batch of one label says nothing


# ---- alarms

WELL = {
    "grad_real": 0.05,
    "grad_fake": 0.05,
    "grad_ratio": 1.0,
    "gap": 0.6,
    "gap_held": 0.05,
    "d_pairs": 0.75,
    "d_pairs_held": 0.7,
    "d_zero": 0.7,
    "g_grad": 0.1,
    "g_slope": 0.5,
    "spread": 18.0,
    "diversity": 0.95,
    "label_effect": 0.8,
    "d_weights": 10.0,
    "g_weights": 40.0,
}
ILL: dict[str, tuple[int, dict[str, float]]] = {
    "exploding-gradient": (3, {"grad_fake": 4e4, "grad_real": 4e4}),
    "gradient-ratio": (3, {"grad_ratio": 0.01}),
    "overfitting": (8, {"gap": 2.0, "gap_held": 1.5}),
    "collapse": (8, {"diversity": 0.03}),
    "labels-ignored": (3, {"label_effect": 0.0}),
    "vanishing-gradient": (3, {"g_grad": 1e-5, "g_slope": 1e-5, "d_pairs": 1.0}),
    "discriminator-wins": (8, {"d_pairs": 1.0, "d_pairs_held": 1.0, "gap": 12.0}),
    "generator-wins": (3, {"d_pairs": 0.01, "gap": -3.0}),
}
ADAM, SLOW = Adam(lr=1e-3), SGD(lr=0.01)
MEANS = Means(Adversarial(penalties=(R1(weight=1.5, every=8),)), Optimizers(generator=ADAM, discriminator=ADAM))


def followed(*looks: dict[str, float], means: Means = MEANS) -> list[list[Alarm]]:
    watch, said = Watch((), {}), []
    for signals in looks:
        watch, alarms = watch.follow(signals, means)
        said.append(alarms)
    return said


@pytest.mark.parametrize("name", ILL)
def test_each_alarm_rings_when_it_has_lasted_and_no_other(name: str) -> None:
    row, ill = ILL[name]
    before = 0 if name == "overfitting" else 3  # that one is a mean over looks, which those before it belong to
    said = followed(*[WELL] * before, *[WELL | ill] * (row + 4))
    assert [[alarm.name for alarm in alarms] for alarms in said[before:]] == [[]] * (row - 1) + [[name]] + [[]] * 4
    (alarm,) = said[before + row - 1]
    assert set(alarm.values) <= {*WELL, "overfit"}
    assert alarm.values
    assert "--set " in alarm.mend or "--labels" in alarm.mend or "non-saturating" in alarm.mend
    json.dumps(alarm._asdict(), allow_nan=False)


@pytest.mark.parametrize("name", sorted(ILL.keys() - {"overfitting"}))
def test_a_look_in_between_that_is_well_starts_the_row_anew(name: str) -> None:
    row, ill = ILL[name]
    looks = ([WELL | ill] * (row - 1) + [WELL]) * 3
    assert [alarm for alarms in followed(*looks) for alarm in alarms] == []


def test_logits_that_drift_apart() -> None:
    growing = [WELL | {"gap": 21.0 + i, "d_pairs": 0.98} for i in range(9)]
    assert [[a.name for a in alarms] for alarms in followed(*growing)] == [[]] * 7 + [["logit-drift"], []]
    level = [WELL | {"gap": 30.0, "d_pairs": 0.98}] * 12  # a large gap alone is a matter of scale
    assert not any(followed(*level))


def test_labels_that_are_nearly_ignored_take_all_looks_that_are_known() -> None:
    said = followed(*[WELL | {"label_effect": 0.07}] * LOOKS)
    assert [len(alarms) for alarms in said] == [0] * (LOOKS - 1) + [1]
    collapsed = followed(*[WELL | {"label_effect": 0.0, "diversity": 0.0}] * 12)
    assert {a.name for alarms in collapsed for a in alarms} == {"collapse"}  # all samples are one: that is its name
    unlabelled = {k: v for k, v in WELL.items() if k != "label_effect"}
    assert not any(followed(*[unlabelled] * 12))


def test_a_flat_discriminator_and_a_saturated_loss_are_told_apart() -> None:
    saturated = followed(*[WELL | ILL["vanishing-gradient"][1]] * 3)[-1][0]
    assert "no slope" in saturated.cause
    assert "non-saturating" in saturated.mend
    dead = WELL | {"grad_real": 0.0, "grad_fake": 0.0, "g_grad": 0.0, "d_pairs": 0.5}
    flat = next(a for a in followed(*[dead] * 3)[-1] if a.name == "vanishing-gradient")
    assert "flat" in flat.cause
    assert "game.penalties.0.weight=0.15" in flat.mend
    perfect = WELL | {"g_grad": 1e-4, "grad_real": 1e-6, "grad_fake": 1e-6, "d_pairs": 0.5}
    assert not any(followed(*[perfect] * 8))  # nothing left to tell is no failure


def test_held_out_share_is_that_of_all_looks_together() -> None:
    noisy = [WELL | {"gap": gap, "gap_held": held} for gap, held in [(1.0, 0.9), (3.0, 0.1)] * 4]
    assert learned_by_heart(noisy) == pytest.approx(1.0 / 4.0)
    assert learned_by_heart(noisy[:7]) is None
    assert learned_by_heart([s | {"gap": -0.1} for s in noisy]) == 0.0  # fakes count as more real: nothing to compare
    assert learned_by_heart([{k: v for k, v in s.items() if k != "gap_held"} for s in noisy]) is None


def test_an_alarm_rings_again_only_after_it_has_cleared() -> None:
    ill = WELL | ILL["gradient-ratio"][1]

    def rings(well_between: int) -> int:
        return sum(map(len, followed(*[ill] * 4, *[WELL] * well_between, *[ill] * 4)))

    assert [rings(n) for n in (0, 1, 17, 18, 30)] == [1, 1, 1, 2, 2]


def test_an_alarm_that_stands_presses_every_ten_looks() -> None:
    watch, pressing = Watch((), {}), []
    for i in range(30):
        watch, _ = watch.follow(WELL | ILL["gradient-ratio"][1], MEANS)
        watch = Watch.from_json(json.loads(json.dumps(watch.to_json())))
        pressing.append(i) if watch.pressing() == ["gradient-ratio"] else None
    assert pressing == [2, 12, 22]
    assert len(watch.history) == LOOKS
    assert watch.standing == {"gradient-ratio": Standing(27, 0)}


@pytest.mark.parametrize(
    ("game", "optimizer", "expected"),
    [
        (Adversarial(penalties=(R1(weight=1.5, every=8),)), ADAM, "--set game.penalties.0.weight=3"),
        (Adversarial(penalties=(R1(weight=1.5, every=8),)), SLOW, "--set game.penalties.0.every=1"),
        (Adversarial(penalties=(LeCam(), R1(weight=1.5))), ADAM, "--set game.penalties.1.weight=3"),
        (Adversarial(), SLOW, "--set game.penalties=R1"),
    ],
)
def test_the_advice_fits_the_game(game: Adversarial, optimizer: Any, expected: str) -> None:
    means = Means(game, Optimizers(generator=optimizer, discriminator=optimizer))
    assert expected in not_finite("discriminator", ("loss",), means).mend


def test_options_that_the_advice_names_exist(recipe: Recipe) -> None:
    """Whatever stands behind a --set is accepted, by a recipe with and by one without a penalty."""
    checked = 0
    for start in (recipe, recipe.replace(game=Adversarial())):
        means = Means(start.game, start.optimizers)
        alarms = [a for row, ill in ILL.values() for a in followed(*[WELL | ill] * row, means=means)[-1]]
        broken = not_finite("discriminator", ("loss",), means)
        for alarm in [*alarms, broken]:
            for part in alarm.mend.split("--set ")[1:]:
                path, _, value = part.split(" or ")[0].split(" --")[0].strip(" ;'").partition("=")
                value = value.split("; ")[0].strip("'")
                assert start.with_path(path, value) != start
                checked += 1
    assert checked > 15


# ---- the loop


def with_health(recipe: Recipe, **more: Any) -> Recipe:
    every = more.pop("every", 2)
    return recipe.replace(train=recipe.train.replace(health=Health(every=every, samples=8), grids=0, **more))


def state(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in trainer.state()[0].items() if not k.startswith("looks.")}


def layered(recipe: Recipe) -> Recipe:
    """Players with batch statistics and dropout: whatever a look could disturb."""
    hidden = [Dense(16), BatchNormalization(), Activation("relu"), Dropout(0.5)]
    sgd = SGD(lr=0.01)
    return recipe.replace(
        generator=Generator(layers=[*hidden, Dense(64), Activation("tanh")]),
        discriminator=Discriminator(layers=[*hidden, Dense(1)]),
        game=Adversarial(d_steps=2),
        optimizers=Optimizers(generator=sgd, discriminator=sgd),
    )


@pytest.mark.parametrize("what", ["bfloat16", "layered"])
def test_looking_leaves_training_bitwise_the_same(trainer: Make, recipe: Recipe, source: Resident, what: str) -> None:
    if what == "layered":
        recipe = layered(recipe)
    if what == "bfloat16":
        recipe = recipe.replace(train=recipe.train.replace(precision="bfloat16"))
    watched = trainer(with_health(recipe, every=1), held_out=source)
    unwatched = trainer(with_health(recipe, every=0))
    logs = [[e.values for e in t.run() if isinstance(e, Stepped)] for t in (watched, unwatched)]
    a, b = state(watched), state(unwatched)
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
    for seen, unseen in zip(*logs, strict=True):
        assert {k: seen[k] for k in unseen} == unseen
        assert set(seen) - set(unseen) - {"overfit"} == set(WELL)


def test_what_is_looked_at_are_the_samples_that_come_next(
    trainer: Make, recipe: Recipe, positions_asked: Asked
) -> None:
    """The discriminator has not just seen them: it last did an epoch ago, or never."""
    playing = trainer(with_health(recipe))
    asked = positions_asked(playing)
    playing.take_step()
    playing.look()
    playing.take_step()
    assert asked[0] != asked[1] == asked[2]


@pytest.mark.parametrize("stop_at", [4, 13])
def test_what_was_seen_and_not_yet_read_survives_a_stop(
    trainer: Make, recipe: Recipe, source: Resident, stop_at: int
) -> None:
    """A look at every 3rd step, a report at every 5th: between the two the look is only on the device."""
    recipe = with_health(recipe, every=3)
    whole = trainer(recipe, held_out=source)
    expected = [e.values for e in whole.run() if isinstance(e, Stepped)]
    first, found = trainer(recipe, held_out=source), []
    for event in stopped(first, stop_at):
        if isinstance(event, Stepped):
            found.append(event.values)
    assert isinstance(event, Saved)
    second = trainer(recipe, held_out=source)
    second.load({k: v.clone() for k, v in event.tensors.items()}, json.loads(json.dumps(event.meta)))
    found += [e.values for e in second.run() if isinstance(e, Stepped)]
    assert found == expected
    assert second.care.watch == whole.care.watch
    assert len(whole.care.watch.history) == 4  # the looks of one report count as one


def stopped(trainer: Trainer, at: int) -> Any:
    original = trainer.take_step

    def step() -> None:
        original()
        if trainer.step == at:
            trainer.stop()

    trainer.take_step = step  # type: ignore[method-assign]
    return trainer.run()


def test_alarms_need_something_to_go_by(recipe: Recipe) -> None:
    with pytest.raises(RequestError, match="health: expected every >= 0"):
        Health(every=-1)
    with pytest.raises(RequestError, match="nothing to act on"):
        recipe.train.replace(health=Health(every=0), mend=(Rollback(),))


# ---- runs that are made to fail


class Same(nn.Module):
    """One sample, whatever the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(2))

    def forward(self, z: Tensor) -> Tensor:
        return self.x.expand(len(z), 2)


class Deaf(nn.Module):
    """Takes labels and leaves them unread."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 2)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x: Tensor = self.dense(z)
        return x


def points(count: int = 400, *, dims: int = 2, labels: bool = False) -> Resident:
    """A plain normal cloud within [-1, 1]."""
    random = np.random.default_rng(1)
    x = (0.25 * random.standard_normal((count, dims))).clip(-1, 1).astype(np.float32)
    return from_arrays(x, random.integers(0, 3, count) if labels else None)


def toy(recipe: Recipe, *, g: float = 2e-3, d: float = 2e-3, **more: Any) -> Recipe:
    train = recipe.train.replace(batch=16, report_every=2, health=Health(every=2, samples=16), grids=0)
    train = train.replace(budget=train.budget.replace(amount=16.0 * more.pop("steps", 60)), mend=more.pop("mend", ()))
    made = recipe.replace(
        generator=MLPGenerator(width=16, depth=1),
        discriminator=MLPDiscriminator(width=16, depth=2),
        optimizers=Optimizers(generator=Adam(lr=g), discriminator=Adam(lr=d)),
        game=Adversarial(penalties=(R1(weight=0.5),)),
        train=train,
    )
    return made.replace(**more)


def rung(recipe: Recipe, source: Resident, held_out: Resident | None = None) -> list[str]:
    events = Trainer(recipe, source, CPU, held_out=held_out).run()
    return [event.alarm.name for event in events if isinstance(event, Alarmed)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_sound_game_raises_no_alarm(recipe: Recipe, seed: int) -> None:
    sound = toy(recipe, steps=80)
    assert rung(sound.replace(train=sound.train.replace(seed=seed)), points(), points(300)) == []


class Far(nn.Module):
    """Samples beside the data."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 2)

    def forward(self, z: Tensor) -> Tensor:
        return 2 + 0.3 * torch.tanh(self.dense(z))


class Exact(nn.Module):
    """The very law of the data: there is nothing to tell but which samples were trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.25))

    def forward(self, z: Tensor) -> Tensor:
        return self.scale * z


def failing(recipe: Recipe, name: str) -> tuple[Recipe, Resident, Resident | None]:
    """A game of two tiny networks that fails in one way, its data, and samples held out."""
    free = Adversarial()
    torch.manual_seed(0)
    if name == "collapse":
        return toy(recipe, steps=20, generator=GivenGenerator(Same())), points(), None
    if name == "labels-ignored":
        return toy(recipe, steps=10, generator=GivenGenerator(Deaf())), points(labels=True), None
    if name == "generator-wins":
        return toy(recipe, g=3e-2, d=1e-9, steps=20), points(), None
    if name == "overfitting":
        wide = MLPDiscriminator(width=64, depth=2)
        made = toy(recipe, d=2e-2, g=1e-9, steps=40, game=free, generator=GivenGenerator(Exact()), discriminator=wide)
        return made, points(16, dims=4), points(300, dims=4)
    rate = {"exploding-gradient": 3.0, "gradient-ratio": 1.0, "logit-drift": 0.2, "non-finite": 1e30}.get(name, 5e-2)
    game = Adversarial(objective=Minimax()) if name == "vanishing-gradient" else free
    return toy(recipe, g=1e-9, d=rate, steps=40, game=game, generator=GivenGenerator(Far())), points(), None


@pytest.mark.parametrize("name", [*ILL, "logit-drift"])
def test_a_run_that_fails_says_how(recipe: Recipe, name: str) -> None:
    assert name in rung(*failing(recipe, name))


def test_what_is_not_finite_is_said_before_the_run_ends(recipe: Recipe) -> None:
    made, source, _ = failing(recipe, "non-finite")
    said: list[Event] = []
    with pytest.raises(TrainingError, match="no longer finite"):
        said.extend(Trainer(made, source, CPU).run())
    assert [event.alarm.name for event in said if isinstance(event, Faulted)] == ["non-finite"] * 3
    assert not any(isinstance(e, Stepped) and not all(map(math.isfinite, e.values.values())) for e in said)


# ---- mending


def test_changes_make_the_game_that_is_played() -> None:
    game = Adversarial(penalties=(R1(weight=1.5, every=8), R1(weight=0.5)))
    assert Changes().apply(game) == game
    changed = Changes(penalty=4.0, d_steps=2, g_steps=3).apply(game)
    assert changed == Adversarial(penalties=(R1(weight=6.0, every=8), R1(weight=2.0)), d_steps=2, g_steps=3)


def test_the_penalty_is_doubled_up_to_its_bound() -> None:
    mend, watch, changes, weights = RaisePenalty(most=6.0), Watch((), {}), Changes(), []
    assert mend.act(changes, ["labels-ignored"], watch, MEANS.game) is None
    while (done := mend.act(changes, ["gradient-ratio", "collapse"], watch, MEANS.game)) is not None:
        changes, mending = done
        weights.append(changes.penalty)
        assert mending.values == {"penalty": changes.penalty}
        assert mending.cause == "gradient-ratio, collapse"
    assert weights == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("steps", "right", "expected"),
    [
        ((1, 1), 1.0, (1, 2)),
        ((3, 1), 1.0, (2, 1)),
        ((1, 4), 1.0, None),
        ((1, 1), 0.3, (2, 1)),
        ((1, 3), 0.3, (1, 2)),
        ((4, 1), 0.3, None),
        ((2, 1), 0.8, None),
    ],
)
def test_steps_follow_the_measured_strength(
    steps: tuple[int, int], right: float, expected: tuple[int, int] | None
) -> None:
    game = Adversarial(d_steps=steps[0], g_steps=steps[1])
    watch = Watch((WELL,) * 3 + (WELL | {"d_pairs": right},) * 5, {})
    done = AdaptSteps().act(Changes(settled=5), [], watch, game)
    assert (None if done is None else (done[0].d_steps, done[0].g_steps, done[0].settled)) == (
        None if expected is None else (*expected, 0)
    )
    assert AdaptSteps().act(Changes(settled=4), [], watch, game) is None  # the last change has yet to show


def test_a_falling_penalty_is_raised_at_both_ends() -> None:
    changed = Changes(penalty=2.0).apply(Adversarial(penalties=(R1(weight=1.0, final=0.1),)))
    assert changed == Adversarial(penalties=(R1(weight=2.0, final=0.2),))


def test_augmentation_is_switched_on_once() -> None:
    mend, watch = Augment(show=(DiffAugment(policy=("cutout",)),)), Watch((), {})
    assert mend.act(Changes(), ["collapse"], watch, MEANS.game) is None
    done = mend.act(Changes(), ["overfitting"], watch, MEANS.game)
    assert done is not None
    changes, mending = done
    assert (mending.name, mending.cause) == ("augmented", "overfitting")
    assert mend.act(changes, ["overfitting"], watch, MEANS.game) is None
    noise = InstanceNoise(sigma=0.1)
    game = changes.apply(Adversarial(show=(noise,)), (RaisePenalty(), mend))
    assert game == Adversarial(show=(noise, DiffAugment(policy=("cutout",))))


@pytest.mark.parametrize(
    ("show", "message"),
    [(ADA(), "ADA has a memory or another shape"), (Packing(size=2), "Packing has a memory or another shape")],
)
def test_what_can_t_begin_in_the_middle_of_a_run_is_refused(show: Show, message: str, recipe: Recipe) -> None:
    unlabelled = from_arrays(np.zeros((20, 8, 8), dtype=np.uint8))
    asked = recipe.replace(train=recipe.train.replace(mend=(Augment(show=(show,)),)))
    with pytest.raises(RequestError, match=message):
        Trainer(asked, unlabelled, CPU)


def test_mends_that_the_game_gives_nothing_to_do_are_refused(recipe: Recipe, trainer: Make) -> None:
    free = recipe.replace(game=Adversarial(), train=recipe.train.replace(mend=(RaisePenalty(),)))
    with pytest.raises(RequestError, match="no penalty to raise"):
        trainer(free)
    both = recipe.replace(game=Simultaneous(), train=recipe.train.replace(mend=(AdaptSteps(),)))
    with pytest.raises(RequestError, match="mend steps: Simultaneous moves both players at once"):
        trainer(both)
    with pytest.raises(RequestError, match="did you mean 'penalty'"):
        parse_mends("penalti")
    assert parse_mends("steps, penalty,steps") == (AdaptSteps(), RaisePenalty())
    for wrong in (lambda: RaisePenalty(factor=1), lambda: AdaptSteps(low=1, high=0), lambda: Rollback(times=0)):
        with pytest.raises(RequestError, match="expected"):
            wrong()


def far_out(history: Sequence[Signals], means: Means) -> Alarm | None:
    return Alarm("collapse", "D's weights are far out", "none", {}) if history[-1]["d_weights"] > 1e3 else None


@pytest.fixture
def one_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only thing that alarms is a discriminator whose weights are far out, at once."""
    monkeypatch.setattr(health, "ALARMS", (far_out,))


def poisoned(trainer: Trainer, *steps: int) -> Trainer:
    """The discriminator's first weight is far out after these steps."""
    original = trainer.take_step

    def step() -> None:
        original()
        if trainer.step in steps:
            with torch.no_grad():
                trainer.players["discriminator"].parameters[0].fill_(1e4)

    trainer.take_step = step  # type: ignore[method-assign]
    return trainer


@pytest.mark.usefixtures("one_alarm")
@pytest.mark.parametrize("stop_at", [None, 20])
def test_back_to_good_weights(recipe: Recipe, stop_at: int | None) -> None:
    """Looks at every 2nd step: kept after 8 and 16 calm looks, so at step 41 the state of step 16 is good. It is still
    at step 59: the one kept at step 32 came before a failure, the one of step 58 has yet to prove itself."""
    made = toy(recipe, steps=64, mend=(Rollback(),))
    playing = Trainer(made, points(), CPU)
    kept: dict[int, dict[str, Tensor]] = {}

    def players() -> dict[str, Tensor]:
        return {f"{n}.{k}": v.clone() for n, p in playing.players.items() for k, v in p.state().items()}

    def listen() -> list[str]:
        said = []
        for event in playing.run():
            if isinstance(event, Stepped):
                kept[event.clock.step] = players()
                if event.clock.step == stop_at:
                    playing.stop()
            if isinstance(event, Mended):
                assert event.clock.step in (42, 60)
                assert playing.care.watch == Watch((), {})
                assert [k for k, v in players().items() if not torch.equal(v, kept[16][k])] == []
                said.append(event.mending.name)
        return said

    if stop_at is not None:
        assert listen() == []
        tensors, meta = playing.state()
        playing = Trainer(made, points(), CPU)
        playing.load({k: v.clone() for k, v in tensors.items()}, meta)
    poisoned(playing, 41, 59)
    assert listen() == ["rolled-back", "rolled-back"]
    assert playing.clock.step == 64  # the clock went on, and so did the game
    assert all(bool(v.isfinite().all()) for v in playing.state()[0].values())
    assert not torch.equal(players()["generator.net.stack.0.weight"], kept[16]["generator.net.stack.0.weight"])


def test_nothing_is_kept_while_an_alarm_stands(recipe: Recipe) -> None:
    playing = Trainer(toy(recipe, mend=(Rollback(),)), points(), CPU)
    for standing in ({}, {"collapse": Standing(1, 2)}):
        playing.care.watch = Watch((), standing)
        playing.care.changes, playing.care.kept = Changes(calm=7), {}
        playing._mend()
        assert playing.care.changes.calm == (0 if standing else 8)
        assert bool(playing.care.kept) == (not standing)


@pytest.mark.usefixtures("one_alarm")
def test_going_back_has_an_end(recipe: Recipe) -> None:
    made = toy(recipe, steps=40, mend=(Rollback(times=2),))
    events: list[Event] = []
    with pytest.raises(TrainingError, match="again after 2 returns"):
        events.extend(poisoned(Trainer(made, points(), CPU), 3, 9, 15).run())
    assert [(e.clock.step, e[1].name) for e in events if isinstance(e, Alarmed | Mended)] == [
        (4, "collapse"),
        (4, "rolled-back"),
        (10, "collapse"),
        (10, "rolled-back"),
        (16, "collapse"),
    ]


def mended(recipe: Recipe) -> Recipe:
    """A discriminator without measure, whose alarms lead to every mend there is."""
    mend = (
        RaisePenalty(),
        AdaptSteps(low=0.9, high=0.95, looks=4),
        Augment(show=(InstanceNoise(sigma=0.05),), on=("gradient-ratio",)),
        Rollback(on=("exploding-gradient", "gradient-ratio"), times=9),
    )
    penalty = Adversarial(penalties=(R1(weight=1e-6, every=2),))
    return toy(recipe, d=3.0, steps=60, game=penalty, mend=mend)


def listen(trainer: Trainer, stop_at: int) -> tuple[list[tuple[Any, ...]], Saved]:
    """What was alarming and what was done about it, and the state at the end."""
    events = list(stopped(trainer, stop_at))
    assert isinstance(events[-1], Saved)
    return [(e.clock.step, *e[1]) for e in events if isinstance(e, Alarmed | Mended)], events[-1]


@pytest.mark.parametrize("after", [1, 3])
def test_a_run_that_mended_itself_resumes_bitwise(recipe: Recipe, after: int) -> None:
    made = mended(recipe)
    whole = Trainer(made, points(), CPU)
    heard, _ = listen(whole, -1)
    done = {name: step for step, name, *_ in reversed(heard)}
    assert done.keys() >= {"penalty-raised", "augmented", "steps-adapted", "rolled-back"}
    for stop_at in {done["steps-adapted"] + after, done["rolled-back"] + after}:
        first, second = Trainer(made, points(), CPU), Trainer(made, points(), CPU)
        before, saved = listen(first, stop_at)
        second.load({k: v.clone() for k, v in saved.tensors.items()}, json.loads(json.dumps(saved.meta)))
        rest, _ = listen(second, -1)
        assert before
        assert before + rest == heard
        a, b = whole.state()[0], second.state()[0]
        assert a.keys() == b.keys()
        assert [k for k in a if not torch.equal(a[k], b[k])] == []
        assert whole.care.changes == second.care.changes
        assert whole.game == second.game != made.game


# ---- what others see


def test_alarms_are_written_down_and_cut_back(tmp_path: Path, recipe: Recipe) -> None:
    request, source = Request(recipe, "tiny", (), {}), points()
    folder = RunFolder.create(tmp_path / "run", request, source.spec, {})
    alarm = not_finite("generator", ("loss", "gradient of head.bias"), MEANS)
    assert alarm is not None
    mending = Mending("rolled-back", "non-finite", "back to the last good weights", {"rollbacks": 1})
    events: list[Event] = [
        Alarmed(Clock(10, 160, 0.4, 0.1), alarm),
        Mended(Clock(10, 160, 0.4, 0.1), mending),
        Alarmed(Clock(20, 320, 0.8, 0.2), alarm),
    ]
    assert list(folder.record(iter(events))) == events
    rows = read_rows(folder.path / "alarms.jsonl")
    assert [row["images"] for row in rows] == [160, 160, 320]
    assert rows[0] == {"images": 160, "step": 10, "epoch": 0.4} | alarm._asdict()
    assert rows[1] == {"images": 160, "step": 10, "epoch": 0.4} | mending._asdict()
    folder.rewind(160)
    assert read_rows(folder.path / "alarms.jsonl") == rows[:2]


def test_an_alarm_is_one_line() -> None:
    alarm = Alarm("collapse", "the generator repeats itself", "lower the rate", {})
    stream = io.StringIO()
    line = ProgressLine(stream)
    clock, plan = Clock(200, 12_800, 0.2, 0.1), Plan([(0, 0.0), (128_000, 1.0)])
    line.show(Alarmed(clock, alarm), plan)
    line.show(Mended(clock, Mending("rolled-back", "collapse", "back to good weights", {})), plan)
    assert stream.getvalue() == (
        "alarm: collapse at 12.8k images: the generator repeats itself. To mend it: lower the rate\n"
        "mended: rolled-back at 12.8k images: back to good weights (collapse)\n"
    )
