"""Self-attention against the paper's equations, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad, gradgradcheck

from sparring.networks.attention import SelfAttention


@pytest.fixture
def layer() -> SelfAttention:
    """One whose attention is heard, with queries large enough for a softmax that is far from even."""
    torch.manual_seed(0)
    layer = SelfAttention(16).double()
    nn.init.constant_(layer.gain, 0.7)
    for weight in (layer.seen.weight, layer.sought.weight):
        weight.data *= 4
    return layer


def slow(layer: SelfAttention, x: Tensor) -> Tensor:
    """Equations 1 and 2 of Zhang et al. 2019 for one pixel j after the other."""
    f, g, h, v = (m.weight[:, :, 0, 0] for m in (layer.seen, layer.sought, layer.value, layer.out))
    samples = []
    for image in x:
        pixels = [image[:, i // x.shape[3], i % x.shape[3]] for i in range(x.shape[2] * x.shape[3])]
        outs = []
        for x_j in pixels:
            powers = [torch.exp((f @ x_i) @ (g @ x_j)) for x_i in pixels]
            o_j = v @ sum(power / sum(powers) * (h @ x_i) for power, x_i in zip(powers, pixels, strict=True))
            outs.append(x_j + layer.gain * o_j)
        samples.append(torch.stack(outs, 1).view(image.shape))
    return torch.stack(samples)


def test_values_and_first_and_second_derivatives_are_those_of_the_equations(layer: SelfAttention) -> None:
    x = torch.randn(2, 16, 3, 4, dtype=torch.float64, requires_grad=True)
    probe = torch.randn_like(x)
    parameters = [x, *layer.parameters()]
    found = []
    for function in (layer, lambda x: slow(layer, x)):
        y = function(x)
        first = grad((y * probe).sum(), parameters, create_graph=True)
        second = grad(sum(g.square().sum() for g in first), parameters)
        found.append([y, *first, *second])
    for fast, exact in zip(*found, strict=True):
        torch.testing.assert_close(fast, exact)
        assert exact.abs().max() > 1e-3


def test_second_derivatives_by_differences(layer: SelfAttention) -> None:
    x = torch.randn(1, 16, 2, 3, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(layer, (x,), fast_mode=True)


def test_it_starts_as_nothing_and_learns_to_be_heard() -> None:
    layer, x = SelfAttention(8), torch.randn(2, 8, 3, 3)
    assert torch.equal(layer(x), x)
    (slope,) = grad(layer(x).square().sum(), layer.gain)
    assert slope != 0


def test_few_channels_are_enough() -> None:
    assert SelfAttention(1)(torch.randn(2, 1, 3, 3)).shape == (2, 1, 3, 3)


def test_pixels_may_lie_in_any_order_in_memory(layer: SelfAttention) -> None:
    x = torch.randn(2, 16, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x))
