"""The optimistic optimisers against their formulas, step by step, and on the game that they were made for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock
from sparring.train.optimizers import SGD, Adam, OptimisticAdam, OptimisticSGD, Optimizer
from sparring.train.player import Player
from sparring.train.schedule import Cosine


def slopes(steps: int) -> list[list[torch.Tensor]]:
    torch.manual_seed(0)
    return [[torch.randn(3, 2, dtype=torch.float64), torch.randn(4, dtype=torch.float64)] for _ in range(steps)]


def moved(spec: Optimizer, gradients: list[list[torch.Tensor]], lr: float) -> list[torch.Tensor]:
    parameters = [torch.ones_like(g) for g in gradients[0]]
    state = spec.init(parameters)
    for each in gradients:
        spec.step(parameters, each, state, lr)
    return parameters


def test_optimistic_sgd_is_its_formula() -> None:
    """Summed up: the last gradient counts twice, every earlier one 2 - 1 times."""
    found = slopes(4)
    for i, parameter in enumerate(moved(OptimisticSGD(), found, 0.5)):
        total = sum((each[i] for each in found), torch.zeros_like(parameter))
        torch.testing.assert_close(parameter, 1 - 0.5 * (total + found[-1][i]))


@pytest.mark.parametrize("betas", [(0.0, 0.99), (0.5, 0.9)])
def test_optimistic_adam_takes_adam_s_steps_twice_less_the_one_before(betas: tuple[float, float]) -> None:
    """Adam's own steps, from torch's kernel, are a_t; summed up, the last of them counts twice."""
    found = slopes(5)
    after = [moved(Adam(betas=betas), found[: t + 1], 0.1) for t in range(5)]
    for i, parameter in enumerate(moved(OptimisticAdam(betas=betas), found, 0.1)):
        torch.testing.assert_close(parameter, after[4][i] + (after[4][i] - after[3][i]), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("spec", "factor"), [(SGD(momentum=0.0), 1.0), (OptimisticSGD(), -1.0)])
def test_on_a_bilinear_game_descent_spirals_out_and_optimism_in(spec: Optimizer, factor: float) -> None:
    """min_x max_y x·y: in a step the radius grows by √(1 + h²), or falls as |1 + 2ih + √(1 - 4h²)|/2."""
    h, steps = 0.1, 400
    x, y = [torch.tensor(1.0, dtype=torch.float64)], [torch.tensor(0.0, dtype=torch.float64)]
    states = spec.init(x), spec.init(y)
    radius = []
    for _ in range(steps):
        gradients = [y[0].clone()], [-x[0].clone()]
        spec.step(x, gradients[0], states[0], h)
        spec.step(y, gradients[1], states[1], h)
        radius.append(math.hypot(x[0].item(), y[0].item()))
    measured = math.log(radius[-1] / radius[99]) / (steps - 100)
    expected = {1.0: math.log(math.sqrt(1 + h**2)), -1.0: math.log(abs(1 + 2j * h + math.sqrt(1 - 4 * h**2)) / 2)}
    assert measured == pytest.approx(expected[factor], rel=0.01)


@pytest.mark.parametrize("spec", [OptimisticSGD(), OptimisticAdam()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stored_state_goes_on_bit_by_bit(spec: Optimizer, dtype: torch.dtype) -> None:
    gradients = [[g.to(dtype) for g in each] for each in slopes(6)]
    whole = moved(spec, gradients, 0.1)
    parameters = [torch.ones_like(g) for g in gradients[0]]
    state = spec.init(parameters)
    for each in gradients[:3]:
        spec.step(parameters, each, state, 0.1)
    fresh = spec.init(parameters)
    for name, tensors in state.items():
        for to, tensor in zip(fresh[name], tensors, strict=True):
            to.copy_(tensor)
    for each in gradients[3:]:
        spec.step(parameters, each, fresh, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(whole, parameters, strict=True))


def by_hand(spec: Adam, progress: list[float], gradients: list[torch.Tensor]) -> torch.Tensor:
    """Kingma and Ba's algorithm 1 from ones, with the β₂ of each step in its average and in its correction."""
    parameter = torch.ones_like(gradients[0])
    mean, square = torch.zeros_like(parameter), torch.zeros_like(parameter)
    beta1, start = spec.betas
    for t, (done, gradient) in enumerate(zip(progress, gradients, strict=True), 1):
        final = start if spec.final_beta2 is None else spec.final_beta2
        beta2 = final + (start - final) * (1 + math.cos(math.pi * min(1.0, done / spec.until))) / 2
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        step = mean / (1 - beta1**t) / ((square / (1 - beta2**t)).sqrt() + spec.eps)
        parameter = parameter - spec.lr * spec.schedule.factor(Clock(t - 1, 0, 0.0, done)) * step
    return parameter


@pytest.mark.parametrize("final", [None, 0.99])
def test_beta2_and_the_rate_burn_in(final: float | None) -> None:
    spec = Adam(lr=0.1, betas=(0.3, 0.9), final_beta2=final, until=0.5, schedule=Cosine(final=0.25, until=0.5))
    progress = [0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0]
    gradients = [each[1] for each in slopes(len(progress))]
    net = nn.Linear(4, 1, bias=False).double()
    nn.init.ones_(net.weight)
    player = Player(net, spec, None)
    for done, gradient in zip(progress, gradients, strict=True):
        net.weight.grad = gradient.view(1, 4).clone()
        player.move(Clock(0, 0, 0.0, done))
    torch.testing.assert_close(net.weight[0].detach(), by_hand(spec, progress, gradients))


@pytest.mark.parametrize(
    "wrong", [{"betas": (0.0, 1.0)}, {"betas": (-0.1, 0.9)}, {"final_beta2": 1.0}, {"eps": 0.0}, {"until": 0.0}]
)
def test_what_adam_can_t_take_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=r"Adam: expected betas in \[0, 1\), eps > 0 and until in \(0, 1\], found"):
        Adam(**wrong)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="Adam: expected lr above 0, found 0"):
        Adam(lr=0.0)
