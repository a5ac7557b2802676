"""Path length in w, where a generator has one; the rest of it is tested in test_penalties_weights.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from sparring.core.protocols import DataSpec
from sparring.games.penalties import PathLength
from sparring.networks.stylegan2 import StyleGAN2Generator
from sparring.train.signals import Shown


class Mapped(nn.Module):
    """x = tanh(w A) + shift[y] of w = z M, whose path lengths in w and in z differ."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Parameter(10 * torch.randn(3, 4, dtype=torch.float64))
        self.a = nn.Parameter(torch.randn(4, 8, dtype=torch.float64) / 10)
        self.shift = nn.Parameter(torch.randn(2, 8, dtype=torch.float64))

    def mapped(self, z: Tensor, y: Tensor | None) -> Tensor:
        return z @ self.m

    def synthesised(self, w: Tensor, y: Tensor | None) -> Tensor:
        x = torch.tanh(w @ self.a) * (1 if y is None else self.shift[y])
        return x.unflatten(1, (1, 2, 4))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.synthesised(self.mapped(z, y), y)


@pytest.mark.parametrize("labels", [False, True])
def test_the_length_is_that_in_w(labels: bool) -> None:
    torch.manual_seed(0)
    net, z = Mapped(), torch.randn(5, 3, dtype=torch.float64)
    y = torch.tensor([0, 1, 1, 0, 1]) if labels else None
    torch.manual_seed(1)
    term, _ = PathLength(weight=3.0, mean=0.7, rate=0.1)(net, z, y)
    torch.manual_seed(1)
    noise = torch.randn(5, 1, 2, 4, dtype=torch.float64) / 8**0.5
    lengths = []
    for i, w in enumerate(net.mapped(z, y)):
        own = None if y is None else y[i : i + 1]
        J = jacobian(lambda w, own=own: net.synthesised(w[None], own), w)
        lengths.append((J.reshape(8, 4).T @ noise[i].flatten()).norm())
    found = torch.stack(lengths)
    torch.testing.assert_close(term, 3 * (found - (0.9 * 0.7 + 0.1 * found.mean())).square())


def test_its_gradient_for_the_mapping_and_the_synthesis_by_finite_differences() -> None:
    torch.manual_seed(0)
    data = DataSpec(name="test", shape=(1, 8, 8))
    net = StyleGAN2Generator(width=2, style=4).build(data, 3).double()
    z = torch.randn(3, 3, dtype=torch.float64)

    def term() -> Tensor:
        torch.manual_seed(1)
        return PathLength(mean=0.3)(net, z, None)[0].sum()

    chosen = {name: p for name, p in net.named_parameters() if name in ("mapping.0.weight", "layers.1.conv.weight")}
    slopes = torch.autograd.grad(term(), list(chosen.values()))
    for parameter, slope in zip(chosen.values(), slopes, strict=True):
        way = torch.randn_like(parameter)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * 1e-6 * way)
            ends.append(float(term().detach()))
            with torch.no_grad():
                parameter.sub_(sign * 1e-6 * way)
        assert float((slope * way).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


def test_samples_that_stand_still_have_no_path() -> None:
    """What a look at the game takes for the generator."""
    x = torch.randn(4, 1, 8, 8, requires_grad=True)
    term, remembered = PathLength(weight=2.0, mean=0.5, rate=0.1)(Shown(x), torch.randn(4, 3), None)
    torch.testing.assert_close(term, torch.full((4,), 2 * 0.45**2))
    assert float(remembered["mean"]) == pytest.approx(0.45)
