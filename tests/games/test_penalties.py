from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.game import Critic, Seen
from sparring.core.spec import from_json
from sparring.games.penalties import R1, R2, WGANGP


class Quadratic(nn.Module):
    """D(x) = scale · |x|² / 2, whose gradient is scale · x."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.scale * x.square().flatten(1).sum(1) / 2


class Linear(nn.Module):
    """D(x) = w·x, whose gradient is w everywhere."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return x @ self.w


def seen(net: nn.Module, x: torch.Tensor) -> Seen:
    x = x.requires_grad_()
    return Seen(x, None, net(x))


def test_r1_closed_form_and_its_own_gradient() -> None:
    """R1 of D(x) = s |x|² / 2 is γ/2 · s² |x|², per sample; its derivative in s is γ s |x|²."""
    net, x = Quadratic(), torch.randn(5, 1, 2, 3, dtype=torch.float64)
    real = seen(net, x)
    term = R1(weight=4.0)(Critic(net), real, real)
    squares = x.detach().square().flatten(1).sum(1)
    torch.testing.assert_close(term, 4 / 2 * 9 * squares, check_dtype=True)
    (slope,) = torch.autograd.grad(term.sum(), net.scale)
    assert float(slope) == pytest.approx(float(4 * 3 * squares.sum()))


def test_r2_is_r1_at_the_fakes() -> None:
    net = Quadratic()
    real, fake = (seen(net, torch.randn(4, 6, dtype=torch.float64)) for _ in range(2))
    term = R2(weight=5.0)(Critic(net), real, fake)
    torch.testing.assert_close(term, 5 / 2 * 9 * fake.x.detach().square().sum(1))
    (slope,) = torch.autograd.grad(term.sum(), net.scale)
    assert float(slope) == pytest.approx(float(5 * 3 * fake.x.detach().square().sum()))


def line(net: nn.Module, count: int = 4000) -> tuple[Seen, Seen]:
    """Reals at (1, 0) and fakes at (0, 1): every point between them is (u, 1 - u)."""
    corners = torch.eye(2, dtype=torch.float64)
    return seen(net, corners[0].repeat(count, 1)), seen(net, corners[1].repeat(count, 1))


@pytest.mark.parametrize(("one_sided", "slope"), [(False, 3.0), (True, 3.0), (False, 0.5), (True, 0.5)])
def test_wgan_gp_of_a_linear_critic(one_sided: bool, slope: float) -> None:
    """A critic of slope s pays weight · (s - 1)², wherever the points are; below 1 the one-sided one pays nothing."""
    net = Linear(0.6 * slope, 0.8 * slope)
    real, fake = (seen(net, x) for x in torch.randn(2, 7, 2, dtype=torch.float64))
    term = WGANGP(weight=4.0, one_sided=one_sided)(Critic(net), real, fake)
    expected = 0.0 if one_sided and slope < 1 else 4 * (slope - 1) ** 2
    torch.testing.assert_close(term, torch.full((7,), expected, dtype=torch.float64))


def test_wgan_gp_is_taken_evenly_between_real_and_fake() -> None:
    """D = s |x|² / 2 has the slope s |x|; at (u, 1 - u) with u even in [0, 1], E|x|² is 2/3 and E|x| is .8116."""
    net = Quadratic()
    torch.manual_seed(0)
    term = WGANGP(weight=1.0)(Critic(net), *line(net)).detach()
    mean_length = 0.5 + math.asinh(1) / (2 * math.sqrt(2))
    assert float(term.mean()) == pytest.approx(9 * 2 / 3 - 2 * 3 * mean_length + 1, rel=0.01)
    lengths = (term.sqrt() + 1) / 3  # in [1/sqrt(2), 1]
    assert float(lengths.min()) == pytest.approx(0.5**0.5, abs=1e-3)
    assert float(lengths.max()) == pytest.approx(1, abs=1e-2)


def test_wgan_gp_of_a_flat_critic_has_a_finite_gradient() -> None:
    net = Quadratic()
    with torch.no_grad():
        net.scale.zero_()
    (slope,) = torch.autograd.grad(WGANGP()(Critic(net), *line(net, 3)).sum(), net.scale)
    assert slope.isfinite()


def test_recipes_that_name_the_package_are_read() -> None:
    assert from_json({"spec": "sparring.games.penalties:R1", "weight": 2.0}) == R1(weight=2.0)


def test_r1_of_a_linear_critic_does_not_depend_on_x() -> None:
    net = nn.Linear(4, 1, dtype=torch.float64)
    x = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    term = R1(weight=1.0)(Critic(net), Seen(x, None, net(x).squeeze(1)), Seen(x, None, net(x).squeeze(1)))
    torch.testing.assert_close(term, (net.weight.square().sum() / 2).expand(7))


def test_r1_looks_at_reals_only() -> None:
    net = Quadratic()
    real, near, far = (seen(net, torch.randn(3, 4, dtype=torch.float64) * s) for s in (1.0, 1.0, 100.0))
    torch.testing.assert_close(R1()(Critic(net), real, near), R1()(Critic(net), real, far))


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"every": 0}])
def test_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="R1"):
        R1(**wrong)  # type: ignore[arg-type]
