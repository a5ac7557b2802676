from __future__ import annotations

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.game import Critic, Seen
from sparring.games.penalties import R1


class Quadratic(nn.Module):
    """D(x) = scale · |x|² / 2, whose gradient is scale · x."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.scale * x.square().flatten(1).sum(1) / 2


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
