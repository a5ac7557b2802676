from __future__ import annotations

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Exchange
from sparring.core.protocols import Batch, DataSpec
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import NonSaturating, Relativistic
from sparring.games.penalties import R1
from sparring.games.show import ADA, InstanceNoise, Packing


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, dtype=torch.float64)
        self.calls = 0

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        self.calls += 1
        out: torch.Tensor = self.linear(x)
        return out.squeeze(1)


def exchange(*, step: int = 0, generator_moves: bool = True) -> Exchange:
    torch.manual_seed(0)
    nets = {"generator": Linear(2, 3), "discriminator": Linear(3, 1)}
    real = Batch(torch.randn(5, 3, dtype=torch.float64), None)
    draws = [torch.randn(5, 2, dtype=torch.float64) for _ in range(3)]
    return Exchange(nets, real, lambda n: draws[n], clock=START._replace(step=step), generator_moves=generator_moves)


def test_losses_are_the_objective_s_means_with_weights() -> None:
    ex = exchange()
    game = Adversarial(d_weight=0.5, g_weight=0.25)
    d, g = ex.nets["discriminator"], ex.nets["generator"]
    fake = g(ex._noise(0))
    loss = game.discriminator_loss(ex)
    torch.testing.assert_close(loss, 0.5 * NonSaturating().discriminator(d(ex.real.x), d(fake)).mean())
    torch.testing.assert_close(game.generator_loss(ex), 0.25 * NonSaturating().generator(d(fake), d(fake)).mean())


def test_a_lazy_penalty_is_due_in_every_nth_step_with_n_times_its_weight() -> None:
    game = Adversarial(penalties=(R1(weight=2.0, every=4),))
    plain = Adversarial()
    for step in range(9):
        ex = exchange(step=step)
        weight = ex.nets["discriminator"].linear.weight
        extra = game.discriminator_loss(ex) - plain.discriminator_loss(exchange(step=step))
        expected = 4 * 2.0 / 2 * weight.square().sum() if step % 4 == 0 else torch.zeros_like(extra)
        torch.testing.assert_close(extra, expected)


def test_the_fake_batch_is_made_once_and_forgotten_when_the_generator_moved() -> None:
    ex = exchange()
    game = Adversarial()
    game.discriminator_loss(ex)
    game.generator_loss(ex)
    generator = ex.nets["generator"]
    assert generator.calls == 1
    first = ex.fake()
    ex.moved("discriminator")
    assert ex.fake() is first
    ex.moved("generator")
    assert not torch.equal(ex.fake(), first)
    assert generator.calls == 2


def test_one_call_for_real_and_fake_gives_what_two_calls_give() -> None:
    two, one = exchange(), exchange()
    one.nets["discriminator"].per_sample = True  # type: ignore[assignment]
    losses = [Adversarial().discriminator_loss(ex) for ex in (two, one)]
    torch.testing.assert_close(*losses)
    slopes = [
        torch.autograd.grad(loss, list(ex.nets["discriminator"].parameters()))
        for loss, ex in zip(losses, (two, one), strict=True)
    ]
    torch.testing.assert_close(*slopes)
    assert [ex.nets["discriminator"].calls for ex in (two, one)] == [2, 1]


def test_no_graph_is_kept_when_the_generator_does_not_move() -> None:
    assert exchange(generator_moves=False).fake().grad_fn is None
    assert exchange(generator_moves=True).fake().grad_fn is not None


def test_the_discriminator_s_loss_gives_the_generator_no_gradient() -> None:
    ex = exchange()
    Adversarial(penalties=(R1(),)).discriminator_loss(ex).backward()
    assert ex.nets["generator"].linear.weight.grad is None
    assert ex.nets["discriminator"].linear.weight.grad is not None


def test_phases_say_the_ratio() -> None:
    d, g = Adversarial(d_steps=3, g_steps=2).phases()
    assert [d.when(step, {}) for step in range(4)] == [True] * 4
    assert [g.when(step, {}) for step in range(6)] == [False, False, True, False, False, True]
    assert (d.repeat, g.repeat) == (1, 2)


@pytest.mark.parametrize("wrong", [{"d_steps": 0}, {"g_steps": 0}, {"d_weight": 0.0}, {"g_weight": -1.0}])
def test_out_of_range_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=f"game.{next(iter(wrong))}"):
        Adversarial(**wrong)  # type: ignore[arg-type]


def test_what_is_shown_must_fit_each_other_and_the_objective() -> None:
    nets = {"generator": Linear(2, 3), "discriminator": Linear(6, 1)}
    data = DataSpec(name="line", shape=(3,), levels=0)
    with pytest.raises(RequestError, match="Packing must come last, as the others take single samples"):
        Adversarial(show=(Packing(size=2), InstanceNoise())).check(data, nets)
    with pytest.raises(RequestError, match=r"as Relativistic means them: say ADA\(paired=true\)"):
        Adversarial(objective=Relativistic(), show=(ADA(),)).check(data, nets)
    Adversarial(show=(InstanceNoise(), Packing(size=2))).check(data, nets)


def test_a_penalty_of_packs_is_summed_over_their_samples() -> None:
    """R1 of a linear D over packs of two: |w|² / 2 of both halves of w together, for every pack."""
    nets = {"generator": Linear(2, 3), "discriminator": Linear(6, 1)}
    real = Batch(torch.randn(4, 3, dtype=torch.float64), None)
    z = torch.randn(4, 2, dtype=torch.float64)
    losses = [
        Adversarial(penalties=penalties, show=(Packing(size=2),)).discriminator_loss(Exchange(nets, real, lambda _: z))
        for penalties in ((R1(weight=1.0),), ())
    ]
    torch.testing.assert_close(losses[0] - losses[1], nets["discriminator"].linear.weight.square().sum() / 2)


def test_two_penalties_of_a_kind_are_reported_by_their_places() -> None:
    ex = exchange()
    Adversarial(penalties=(R1(weight=1.0), R1(weight=2.0))).discriminator_loss(ex)
    torch.testing.assert_close(ex.seen["r1_1"], 2 * ex.seen["r1"])
