"""The loop: what one step does, that resume is exact, and that looking on changes nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError, TrainingError
from sparring.core.game import Critic
from sparring.core.protocols import Batch
from sparring.data.tensors import Resident, from_arrays
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import BEGAN
from sparring.games.penalties import R1
from sparring.games.show import Packing
from sparring.layers import Activation, BatchNormalization, Dense, Dropout
from sparring.networks.autoencoder import AutoencoderDiscriminator
from sparring.networks.layered import Discriminator, Generator
from sparring.networks.mlp import MLPDiscriminator
from sparring.train.events import Event, Sampled, Saved, Scored, Stepped
from sparring.train.health import Health
from sparring.train.optimizers import SGD, Adam, Optimizers
from sparring.train.recipe import Recipe, Scoring
from sparring.train.schedule import Budget, Constant, Cosine, InverseDecay, Schedule
from sparring.train.stopping import Patience
from sparring.train.trainer import Trainer

Make = Callable[..., Trainer]
Asked = Callable[[Trainer], list[list[int]]]


class FakeScore(NamedTuple):
    values: dict[str, float]
    provenance: dict[str, Any]
    notes: tuple[str, ...]


class FakeJudge:
    """Takes samples and global random numbers, and gives the scores it was told to."""

    better = {"fid": "lower"}  # noqa: RUF012

    def __init__(self, *values: float, seconds: float = 0.0, **provenance: Any) -> None:
        self.values, self.seconds, self.calls, self.provenance = list(values), seconds, 0, provenance

    def score(
        self, sample: Callable[[int, int], Batch], *, num_samples: int, seed: int, weights: str, arithmetic: str
    ) -> FakeScore:
        sample(0, num_samples)
        torch.rand(7)
        time.sleep(self.seconds)
        value = self.values[min(self.calls, len(self.values) - 1)]
        self.calls += 1
        return FakeScore({"fid": value}, self.provenance, ())


def often(times: int) -> Scoring:
    """Scoring whose cost does not matter."""
    return Scoring(times=times, samples=20, spacing=0, most=1)


def final(trainer: Trainer) -> dict[str, Tensor]:
    for _ in trainer.run():
        pass
    return {name: tensor.clone() for name, tensor in trainer.state()[0].items()}


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def changed(recipe: Recipe, what: str) -> Recipe:
    if what == "ratio":
        game = Adversarial(penalties=(R1(every=4),), d_steps=3, g_steps=2)
        return recipe.replace(game=game)
    if what == "bfloat16":
        return recipe.replace(train=recipe.train.replace(precision="bfloat16"))
    if what == "layered":
        sgd = SGD(lr=0.01, schedule=InverseDecay(rate=0.01))
        generator = Generator(
            layers=[Dense(16), BatchNormalization(), Activation("relu"), Dense(64), Activation("tanh")]
        )
        discriminator = Discriminator(
            layers=[Dense(16), Activation("relu"), Dropout(0.5), BatchNormalization(), Dense(1)]
        )
        return recipe.replace(
            generator=generator,
            discriminator=discriminator,
            game=Adversarial(),
            optimizers=Optimizers(generator=sgd, discriminator=sgd),
        )
    return recipe


@pytest.mark.parametrize("what", ["plain", "ratio", "bfloat16", "layered"])
@pytest.mark.parametrize("stop_at", [1, 7, 13])
def test_n_steps_and_resume_equal_2n_bit_by_bit(make_cut: Any, recipe: Recipe, what: str, stop_at: int) -> None:
    recipe = changed(recipe, what)
    whole, whole_log = make_cut(recipe, None)
    parts, parts_log = make_cut(recipe, stop_at)
    assert_same(whole, parts)
    assert whole_log == parts_log
    assert len(whole_log) == 24 // recipe.train.report_every


@pytest.fixture
def make_cut(trainer: Make) -> Callable[[Recipe, int | None], tuple[dict[str, Tensor], list[dict[str, float]]]]:
    """Plays a recipe to its end, through a stop, a stored state and a new trainer if a step is given."""

    def play(recipe: Recipe, stop_at: int | None) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
        log: list[dict[str, float]] = []
        first = trainer(recipe)
        if stop_at is not None:
            steps = iter(range(stop_at - 1, -1, -1))
            original = first.take_step

            def step() -> None:
                original()
                if next(steps) == 0:
                    first.stop()

            first.take_step = step  # type: ignore[method-assign]
        events = [e for e in first.run() if keep(e, log)]
        if stop_at is not None:
            saved = events[-1]
            assert isinstance(saved, Saved)
            assert saved.why == "stop"
            assert saved.clock.step == stop_at
            tensors = {k: v.clone().contiguous() for k, v in saved.tensors.items()}
            torch.manual_seed(99)
            second = trainer(recipe)
            second.load(tensors, saved.meta)
            for event in second.run():
                keep(event, log)
            first = second
        assert first.done
        return {k: v.clone() for k, v in first.state()[0].items()}, log

    def keep(event: Event, log: list[dict[str, float]]) -> bool:
        if isinstance(event, Stepped):
            log.append({"images": event.clock.images, "progress": event.clock.progress} | event.values)
        return True

    return play


def test_runs_repeat_and_seeds_differ(trainer: Make, recipe: Recipe) -> None:
    one = final(trainer())
    torch.manual_seed(5)
    assert_same(one, final(trainer()))
    other = final(trainer(recipe.replace(train=recipe.train.replace(seed=1))))
    assert not torch.equal(one["generator.net.dense.weight"], other["generator.net.dense.weight"])


def test_scoring_and_sampling_leave_training_bitwise_the_same(trainer: Make, recipe: Recipe) -> None:
    watched = recipe.replace(scoring=often(6), train=recipe.train.replace(grids=9))
    unwatched = recipe.replace(train=recipe.train.replace(grids=0))
    assert_same(final(trainer(watched, judge=FakeJudge(3, 2, 1))), final(trainer(unwatched)))


def test_one_step_equals_the_game_written_out(trainer: Make, source: Resident, recipe: Recipe) -> None:
    """A step of the trainer against the same step in plain torch: separate forwards, no sharing, plain optimisers."""
    fast, slow = trainer(), trainer()
    real = source.take(fast.order.indices(0, 8))
    g, d = slow.nets["generator"], slow.nets["discriminator"]
    z = slow.noise.draw(8, recipe.train.seed, "noise", 0, 0)
    rate = recipe.optimizers.generator.lr
    adams = {
        n: torch.optim.Adam(net.parameters(), lr=rate, betas=(0.0, 0.99), fused=False) for n, net in slow.nets.items()
    }

    with torch.no_grad():
        fake = g(z, real.y)
    x = real.x.clone().requires_grad_()
    real_logits, fake_logits = d(x, real.y), d(fake, real.y)
    loss_d = (torch.log1p(torch.exp(-real_logits)) + torch.log1p(torch.exp(fake_logits))).mean()
    (slope,) = torch.autograd.grad(real_logits.sum(), x, create_graph=True)
    (loss_d + 3 * 0.5 * slope.square().sum((1, 2, 3)).mean()).backward()
    adams["discriminator"].step()
    for parameter in d.parameters():
        parameter.requires_grad_(False)
    loss_g = torch.log1p(torch.exp(-d(g(z, real.y), real.y))).mean()
    loss_g.backward()
    adams["generator"].step()

    fast.take_step()
    for name, net in fast.nets.items():
        for (key, a), b in zip(net.named_parameters(), slow.nets[name].parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=f"{name}.{key}")
    assert fast.report.drain()["loss_d"] == pytest.approx(loss_d.item(), rel=1e-5)


def test_the_discriminator_is_frozen_in_the_generator_s_turn(trainer: Make, recipe: Recipe) -> None:
    """Weights, running statistics and gradients of the other player are as they were."""
    playing = trainer(changed(recipe, "layered"))
    states: dict[str, dict[str, Tensor]] = {}

    def snapshot() -> dict[str, Tensor]:
        return {f"{n}.{k}": v.clone() for n, net in playing.nets.items() for k, v in net.state_dict().items()}

    for phase in playing.phases:
        player = playing.players[phase.player]
        original = player.move

        def move(*given: Any, name: str = phase.player, original: Any = original) -> None:
            original(*given)
            states[name] = snapshot()

        player.move = move  # type: ignore[method-assign]
    playing.take_step()
    after = snapshot()
    # What the discriminator was after its own turn is what it is at the end, and the generator's turn moved only it.
    own = states["discriminator"]
    assert [k for k in after if k.startswith("discriminator") and not torch.equal(after[k], own[k])] == []
    assert [k for k in after if k.startswith("generator") and not torch.equal(after[k], own[k])] != []


def test_k_fresh_batches_for_each_move_of_the_generator(trainer: Make, recipe: Recipe, positions_asked: Asked) -> None:
    playing = trainer(recipe.replace(game=Adversarial(d_steps=3)))
    asked = positions_asked(playing)
    before = playing.nets["generator"].dense.weight.clone()  # type: ignore[union-attr, operator]
    moves = []
    for _ in range(6):
        playing.take_step()
        now = playing.nets["generator"].dense.weight.detach()  # type: ignore[union-attr]
        moves.append(not torch.equal(now, before))  # type: ignore[arg-type]
        before = now.clone()  # type: ignore[operator]
    assert moves == [False, False, True, False, False, True]
    flat = [i for batch in asked for i in batch]
    assert len(set(flat)) == len(flat) == 48  # nothing is shown twice within an epoch


def test_events_in_order_and_best_by_score(trainer: Make, recipe: Recipe) -> None:
    playing = trainer(recipe.replace(scoring=often(4)), judge=FakeJudge(5, 3, 4, 2))
    events = list(playing.run())
    scored = [e for e in events if isinstance(e, Scored)]
    assert [e.best for e in scored] == [True, True, False, True]
    assert [e.why for e in events if isinstance(e, Saved)] == ["score", "score", "score", "score", "end"]
    assert [e.clock.images for e in scored] == [48, 96, 144, 192]
    grids = [e for e in events if isinstance(e, Sampled)]
    assert [e.clock.images for e in grids] == [0, 24, 88, 192]  # progress (k / 3)², early pictures are closer
    assert all(e.samples.x.shape == (24, 1, 8, 8) and e.samples.y is not None for e in grids)
    assert math.isclose(playing.clock.epoch, 192 / 50)


def test_a_budget_in_seconds_is_kept_scoring_included(trainer: Make, recipe: Recipe) -> None:
    budget = Budget(amount=3.0)
    timed = recipe.replace(train=recipe.train.replace(budget=budget, grids=3), scoring=often(4))
    playing = trainer(timed, judge=FakeJudge(1, seconds=0.15))
    started = time.perf_counter()
    events = list(playing.run())
    assert time.perf_counter() - started == pytest.approx(3.0, rel=0.25)
    assert playing.clock.progress == 1.0
    assert sum(isinstance(e, Scored) for e in events) == 4
    # The plan that it bent to is written down and replays to the same end.
    replay = [tuple(knot) for knot in playing.state()[1]["plan"]]
    assert replay[-1] == (playing.course.plan.total, 1.0)


def patient(recipe: Recipe, schedule: Schedule, **patience: float) -> Recipe:
    adam = Adam(lr=1e-3, schedule=schedule)
    scoring = Scoring(times=12, samples=20, spacing=0, most=1, patience=Patience(**patience))  # type: ignore[arg-type]
    return recipe.replace(scoring=scoring, optimizers=Optimizers(generator=adam, discriminator=adam))


def test_a_run_that_gets_no_better_lands(trainer: Make, recipe: Recipe) -> None:
    """24 steps of 8 images, scored every 16: the best at 32, two more at 48 and 64, then a quarter of 64 to land."""
    lands = patient(recipe, Cosine(), scores=2, factor=0.5, landing=0.25)
    playing = trainer(lands, judge=FakeJudge(5, 3, 4, 4, 4))
    clocks = [e.clock for e in playing.run() if isinstance(e, Scored)]
    assert [clock.images for clock in clocks[:4]] == [16, 32, 48, 64]
    assert playing.course.landing == 64
    assert playing.done
    assert (clocks[-1].images, clocks[-1].progress) == (80, 1.0)
    assert playing.course.plan.progress(72) == pytest.approx((1 / 3 + 1) / 2)  # the rate falls evenly to its end
    assert "no clearly better score since 32 images, so from 64 images on" in playing.why_ended()


def test_a_run_whose_rate_does_not_fall_stops_at_once(trainer: Make, recipe: Recipe) -> None:
    playing = trainer(patient(recipe, Constant(), scores=2, factor=0.5), judge=FakeJudge(5, 3, 4, 4, 4))
    assert [e.clock.images for e in playing.run() if isinstance(e, Scored)] == [16, 32, 48, 64]
    assert playing.why_ended() == "no clearly better score since 32 images"


def test_patience_survives_a_stop(trainer: Make, recipe: Recipe) -> None:
    lands = patient(recipe, Cosine(), scores=2, factor=0.5, landing=0.25)
    whole = trainer(lands, judge=FakeJudge(5, 3, 4, 4, 4))
    ended = final(whole)
    first = trainer(lands, judge=FakeJudge(5, 3, 4))
    for event in first.run():
        if isinstance(event, Scored) and event.clock.images == 48:
            break
    tensors, meta = first.state()
    second = trainer(lands, judge=FakeJudge(4))
    second.load({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(meta)))
    assert_same(final(second), ended)
    assert second.why_ended() == whole.why_ended()


def test_a_new_budget_ends_the_landing(trainer: Make, recipe: Recipe) -> None:
    playing = trainer(patient(recipe, Cosine(), scores=2, factor=0.5), judge=FakeJudge(5, 3, 4, 4, 4, 2, 1, 0))
    list(playing.run())
    assert playing.clock.images == 80
    playing.set_budget(Budget(amount=8 * 20, unit="images"))
    assert playing.clock.progress == 0.5
    list(playing.run())
    assert playing.clock.images == 160


def test_scores_made_in_another_way_are_not_compared(trainer: Make, recipe: Recipe) -> None:
    scored = recipe.replace(scoring=Scoring(times=2, samples=20, spacing=0))
    first = trainer(scored, judge=FakeJudge(3, num_samples=20, seed=1, sparring="1"))
    event = next(e for e in first.run() if isinstance(e, Scored))
    assert event.best
    tensors, meta = first.state()
    for provenance, best in (({"num_samples": 20, "seed": 2}, False), ({"num_samples": 30}, True)):
        second = trainer(scored, judge=FakeJudge(5, **provenance))
        second.load({k: v.clone() for k, v in tensors.items()}, meta)
        (again,) = [e for e in second.run() if isinstance(e, Scored)]
        assert again.best == best
        assert ("don't compare" in "".join(again.notes)) == best


def test_scoring_stays_a_small_share(trainer: Make, recipe: Recipe) -> None:
    few = trainer(recipe.replace(scoring=Scoring(times=24, samples=5, spacing=10)), judge=FakeJudge(1))
    images = [e.clock.images for e in few.run() if isinstance(e, Scored)]
    assert images == [56, 112, 168, 192]  # at least 50 in between, and the end
    budget = Budget(amount=3.0)
    timed = recipe.replace(
        train=recipe.train.replace(budget=budget, grids=0), scoring=Scoring(times=20, samples=20, spacing=0, most=0.1)
    )
    playing = trainer(timed, judge=FakeJudge(1, seconds=0.1))
    scored = [e for e in playing.run() if isinstance(e, Scored)]
    assert 2 <= len(scored) <= 4
    assert scored[-1].clock.progress == 1.0


def test_a_checkpoint_made_at_a_score_counts_the_seconds_that_scoring_took(trainer: Make, recipe: Recipe) -> None:
    playing = trainer(recipe.replace(scoring=often(1)), judge=FakeJudge(1, seconds=0.3))
    best = next(event for event in playing.run() if isinstance(event, Saved) and event.why == "score")
    assert best.meta["seconds"] >= best.meta["scoring_seconds"] > 0.3
    assert best.meta["seconds"] > 0.3 + 0.01  # the steps before it, too


def test_a_loss_that_is_not_finite_ends_the_run(trainer: Make) -> None:
    playing = trainer()
    with torch.no_grad():
        playing.nets["discriminator"].head.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(TrainingError, match=r"discriminator: loss.*no longer finite.*3 returns"):
        list(playing.run())


def test_a_new_budget_goes_on_with_pictures_and_scores(trainer: Make, recipe: Recipe) -> None:
    playing = trainer(recipe.replace(scoring=often(4)), judge=FakeJudge(1))
    list(playing.run())
    playing.set_budget(Budget(amount=8 * 48, unit="images"))
    assert playing.clock.progress == 0.5
    events: Iterator[Event] = playing.run()
    kinds = [type(e).__name__ for e in events]
    assert kinds.count("Scored") == 2
    assert kinds.count("Sampled") == 1
    assert playing.done


def test_what_is_saved_by_time_is_finite(trainer: Make, recipe: Recipe) -> None:
    """A weight goes bad between two reports: the next report ends the run before a checkpoint could hold it."""
    playing = trainer(recipe.replace(train=recipe.train.replace(save_seconds=1e-9)))
    original = playing.take_step

    def step() -> None:
        original()
        if playing.step == 12:
            with torch.no_grad():
                playing.nets["discriminator"].head.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]

    playing.take_step = step  # type: ignore[method-assign]
    saved: list[int] = []

    def listen() -> None:
        for event in playing.run():
            if isinstance(event, Saved):
                saved.append(event.clock.step)
                assert all(bool(v.isfinite().all()) for v in event.tensors.values())

    with pytest.raises(TrainingError):
        listen()
    assert saved == [5, 10]


def test_a_run_that_is_done_a_little_early_is_done(trainer: Make, recipe: Recipe) -> None:
    """The plan's last step is a report's step too, and seconds are left: the plan is not drawn out at rate 0."""
    playing = trainer(recipe.replace(train=recipe.train.replace(budget=Budget(amount=1000.0))))
    playing.step, playing.course.seconds = 20, 500.0
    playing.course.plan.bend(80, 0.5, 160)
    assert playing.done
    playing.course.hold(playing.clock.images)
    assert playing.course.plan.total == 160


def test_what_a_game_remembers_is_in_the_log_and_in_the_state(trainer: Make, recipe: Recipe) -> None:
    """BEGAN's balance moves by rate · (γ E(real) - E(fake)) in every step; a resumed run goes on with it."""
    began = recipe.replace(game=Adversarial(objective=BEGAN(rate=0.01)), discriminator=AutoencoderDiscriminator())
    whole = trainer(began)
    logged = [event.values["objective.k"] for event in whole.run() if isinstance(event, Stepped)]
    assert len(set(logged)) == len(logged) > 2
    first = trainer(began)
    for _ in range(10):
        first.take_step()
    tensors, meta = first.state()
    second = trainer(began)
    second.load({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(meta)))
    while not second.done:
        second.take_step()
    assert torch.equal(second.memory["objective.k"], whole.memory["objective.k"])
    assert float(second.memory["objective.k"]) != 0


def packed(recipe: Recipe, size: int, batch: int) -> Recipe:
    return recipe.replace(
        game=Adversarial(show=(Packing(size=size),)),
        discriminator=MLPDiscriminator(width=8, depth=1),
        train=recipe.train.replace(batch=batch, health=Health(every=2, samples=8)),
    )


def test_packs_that_do_not_divide_looks_and_grids(recipe: Recipe) -> None:
    """Packs of 3: grids of 64 and looks at 8 samples are shown all the same."""
    unlabelled = from_arrays(np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8))
    events = list(Trainer(packed(recipe, 3, 12), unlabelled, torch.device("cpu")).run())
    lessons = [event.lesson for event in events if isinstance(event, Sampled)]
    assert lessons
    assert all(lesson.logits.shape == lesson.x.shape[:1] for lesson in lessons)
    assert any("d_pairs" in event.values for event in events if isinstance(event, Stepped))
    with pytest.raises(RequestError, match=r"train.batch: expected a multiple of 3, a pack of samples, found 8"):
        Trainer(packed(recipe, 3, 8), unlabelled, torch.device("cpu"))


def test_a_pack_has_the_slope_of_all_its_samples() -> None:
    """D of packs is linear with the weights 1, 2: `each` gives the pack's logit to both, and its slope once."""
    net = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 2.0]]))
    critic = Critic(Flat(net), (Packing(size=2),))
    x = torch.tensor([[1.0], [10.0], [100.0]], requires_grad=True)
    logits = critic.each(x)
    assert logits.tolist() == [21.0, 21.0, 102.0]  # the last is filled up with the first
    (slope,) = torch.autograd.grad(logits.sum(), x)
    assert slope.flatten().tolist() == [3.0, 2.0, 1.0]


class Flat(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logits: Tensor = self.net(x).squeeze(1)
        return logits


class Interrupted(FakeJudge):
    """Judges in two parts; at its n-th score the run is asked to stop in between."""

    def __init__(self, trainer: list[Trainer], at: int) -> None:
        super().__init__(5.0, 4.0, 3.0, 2.0, 1.0)
        self.trainer, self.at, self.begun, self.interrupted = trainer, at, 0, 0

    def score(self, sample: Callable[[int, int], Batch], **more: Any) -> FakeScore:
        if self.calls == self.at and not self.begun:
            self.begun += 1
            sample(0, 3)
            self.trainer[0].stop()
        sample(3, 3)
        return super().score(sample, **more)


@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_score_that_a_stop_came_before_is_made_when_the_run_goes_on(trainer: Make, recipe: Recipe, at: int) -> None:
    """The last of four scores (at = 3) is that of the end: a run without it is not done."""
    made = recipe.replace(scoring=often(4))
    whole, first = trainer(made, judge=FakeJudge(5.0, 4.0, 3.0, 2.0, 1.0)), []
    first.append(trainer(made, judge=Interrupted(first, at)))
    seen = [event for event in whole.run() if isinstance(event, Scored | Sampled)]
    before = list(first[0].run())
    assert isinstance(before[-1], Saved)
    assert before[-1].why == "stop"
    assert not first[0].done
    assert len([event for event in before if isinstance(event, Scored)]) == at
    second = trainer(made, judge=FakeJudge(*[5.0, 4.0, 3.0, 2.0, 1.0][at:]))
    second.load({k: v.clone() for k, v in before[-1].tensors.items()}, before[-1].meta)
    after = list(second.run())
    assert second.done
    events = [event for event in [*before, *after] if isinstance(event, Scored | Sampled)]
    assert [(type(e), e.clock.images) for e in events] == [(type(e), e.clock.images) for e in seen]
    assert [e.values for e in events if isinstance(e, Scored)] == [e.values for e in seen if isinstance(e, Scored)]
    assert_same(whole.state()[0], second.state()[0])


def test_a_run_that_stopped_at_its_beginning_draws_its_first_grid_once(trainer: Make) -> None:
    first, second, whole = trainer(), trainer(), trainer()
    first.stop()
    events = list(first.run())
    saved = events[-1]
    assert isinstance(saved, Saved)
    assert saved.clock.images == 0
    second.load({k: v.clone() for k, v in saved.tensors.items()}, saved.meta)
    grids = [event.clock.images for event in [*events, *second.run()] if isinstance(event, Sampled)]
    assert grids == [event.clock.images for event in whole.run() if isinstance(event, Sampled)]
