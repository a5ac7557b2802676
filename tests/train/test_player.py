from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock
from sparring.train.optimizers import SGD, Adam, Optimizer, RMSprop
from sparring.train.player import Average, Player
from sparring.train.schedule import InverseDecay


def net() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 1))
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


START = Clock(0, 0, 0.0, 0.0)


def learn(player: Player, steps: int) -> None:
    for _ in range(steps):
        player.net(torch.randn(5, 3, 4, 4)).square().mean().backward()
        player.move(START)


def test_half_life_is_half() -> None:
    average = Average(half_life=1000, ramp=1.0)
    assert average.decay(images=5000, passed=1000) == pytest.approx(0.5)
    assert average.decay(images=5000, passed=100) ** 10 == pytest.approx(0.5)
    # Early on, half of the average comes from the last `ramp` share of what was seen.
    assert Average(half_life=1000, ramp=0.1).decay(images=200, passed=20) == pytest.approx(0.5)
    assert Average(half_life=0).decay(images=10, passed=1) == 0


@pytest.mark.parametrize(("images", "share"), [(100, (1 - math.sqrt(0.5)) / 2), (200, 0.5), (400, 1.0), (9000, 1.0)])
def test_a_burn_in_lets_the_half_life_grow_along_half_a_cosine(images: int, share: float) -> None:
    average = Average(half_life=50, ramp=1.0, burn_in=400)
    assert average.decay(images, passed=8) == pytest.approx(0.5 ** (8 / (50 * share)))
    assert average.decay(0, passed=8) == 0
    short = Average(half_life=50, ramp=0.01, burn_in=400)
    assert short.decay(400, passed=8) == pytest.approx(0.5 ** (8 / 4)), "the ramp holds, too"


def test_the_average_follows_its_recurrence() -> None:
    player = Player(net(), Adam(), Average(half_life=40, ramp=1.0, every=2))
    assert player.average is not None
    expected = {k: v.clone() for k, v in player.net.state_dict().items()}
    for step in range(1, 8):
        learn(player, 1)
        player.update_average(step, batch=8)
        if step % 2:
            continue
        decay = 0.5 ** (2 * 8 / min(40, step * 8))
        for name, value in player.net.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value.clone()
    for name, value in player.average.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def reference(spec: Optimizer, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """torch's own optimiser of the same name, one parameter at a time."""
    if isinstance(spec, Adam):
        return torch.optim.Adam(parameters, lr=spec.lr, betas=spec.betas, eps=spec.eps, foreach=False, fused=False)
    if isinstance(spec, SGD):
        return torch.optim.SGD(parameters, lr=spec.lr, momentum=spec.momentum, foreach=False, fused=False)
    assert isinstance(spec, RMSprop)
    return torch.optim.RMSprop(parameters, lr=spec.lr, alpha=spec.alpha, eps=spec.eps, foreach=False)


SPECS = [Adam(betas=(0.5, 0.9)), SGD(lr=0.05), SGD(momentum=0.0), RMSprop()]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_fast_optimisers_equal_torch_s_plain_ones(spec: Optimizer) -> None:
    """On channels-last weights too, whose gradients must have the same memory layout."""
    fast = Player(net(), spec, None)
    slow_net = copy.deepcopy(fast.net)
    plain = reference(spec, list(slow_net.parameters()))
    for _ in range(5):
        x = torch.randn(5, 3, 4, 4)
        plain.zero_grad()
        slow_net(x).square().mean().backward()
        plain.step()
        fast.net(x).square().mean().backward()
        fast.move(START)
    for a, b in zip(fast.net.parameters(), slow_net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_parameter_without_a_gradient_counts_as_one_of_zero() -> None:
    player = Player(net(), SGD(lr=1.0, momentum=0.0), None)
    before = [p.detach().clone() for p in player.parameters]
    player.move(START)
    assert all(torch.equal(a, b) for a, b in zip(before, player.parameters, strict=True))


@pytest.mark.parametrize("spec", [Adam(), SGD(), RMSprop()], ids=lambda s: type(s).__name__)
def test_a_loaded_state_goes_on_bit_by_bit(spec: Optimizer) -> None:
    first = Player(net(), spec, Average())
    learn(first, 3)
    state = {k: v.clone().contiguous() for k, v in first.state().items()}
    second = Player(net(), spec, Average())
    second.load(state)
    for player in (first, second):
        torch.manual_seed(1)
        learn(player, 3)
    for name, value in first.state().items():
        assert torch.equal(value, second.state()[name]), name


def test_the_rate_follows_the_schedule() -> None:
    player = Player(net(), SGD(lr=0.5, momentum=0.0, schedule=InverseDecay(rate=1.0)), None)
    weight = player.parameters[0]
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    player.move(Clock(3, 0, 0.0, 0.0))
    torch.testing.assert_close(before - weight, torch.full_like(weight, 0.125))


def test_a_state_of_other_networks_is_refused_in_one_line() -> None:
    player = Player(net(), SGD(), None)
    state = player.state() | {"net.0.weight": torch.zeros(2, 2)}
    with pytest.raises(RequestError, match=r"does not fit.*net\.0\.weight") as caught:
        player.load(state)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"half_life": -1}, {"ramp": 0.0}, {"ramp": 1.5}, {"every": 0}, {"burn_in": -1}])
def test_averages_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="average"):
        Average(**wrong)  # type: ignore[arg-type]
