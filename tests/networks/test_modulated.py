"""Modulated convolutions against a kernel for each sample, filters against sums by hand, equalised rates."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradgradcheck

from sparring.networks.modulated import (
    GAIN,
    Doubled,
    EqualConv,
    EqualLinear,
    Filter,
    Modulated,
    Noise,
    active,
    modulated,
    modulated_one_by_one,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def derivatives(convolve, x, weight, style, **options):
    """The output, the gradients of a loss, and the gradients of the gradients' squares."""
    given = [t.clone().requires_grad_() for t in (x, weight, style)]
    y = convolve(*given, **options)
    first = torch.autograd.grad(y.sin().sum(), given, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), given)
    return [y, *first, *second]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("demodulated", [True, False])
@pytest.mark.parametrize(("kernel", "up"), [(1, False), (3, False), (3, True)])
def test_one_kernel_for_all_is_a_kernel_for_each(kernel, up, demodulated, layout):
    x = torch.randn(5, 6, 7, 4).contiguous(memory_format=layout)
    weight, style = torch.randn(3, 6, kernel, kernel) / 6, torch.randn(5, 6) + 1
    fast, slow = (
        derivatives(convolve, x, weight, style, demodulated=demodulated, up=up, gain=1.5)
        for convolve in (modulated, modulated_one_by_one)
    )
    assert fast[0].shape == ((5, 3, 15, 9) if up else (5, 3, 7, 4))
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.detach().abs().max()))


def test_demodulated_outputs_have_unit_deviation():
    """Equation 2: independent inputs of unit deviation, whatever the styles."""
    x, weight, style = torch.randn(64, 32, 16, 16), torch.randn(8, 32, 3, 3) * 5, torch.randn(64, 32) * 3 + 1
    inside = modulated(x, weight, style)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(inside.std((0, 2, 3)), torch.ones(8), rtol=0.05, atol=0)


def test_modulated_has_second_derivatives_of_all_it_reads():
    layer = Modulated(2, 3, 3, 4, (5, 6), up=True).double()
    x, w = torch.randn(2, 2, 3, 3).double().requires_grad_(), torch.randn(2, 4).double().requires_grad_()
    assert gradgradcheck(layer, (x, w))


def by_hand(x, taps, up, before, stride):
    """`up` - 1 zeros after every pixel, `before` zeros around, a sum of taps for every place, every stride-th place."""
    batch, channels, height, width = x.shape
    wide = x.new_zeros(batch, channels, height * up, width * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, (before[0], before[1], before[0], before[1]))
    rows, columns = wide.shape[2] - 3, wide.shape[3] - 3
    out = x.new_zeros(batch, channels, rows, columns)
    for i in range(4):
        for j in range(4):
            out += taps[i] * taps[j] * wide[:, :, i : i + rows, j : j + columns]
    return out[:, :, ::stride, ::stride]


TAPS = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8


@pytest.mark.parametrize(("padding", "stride", "gain"), [(1, 1, 2.0), (2, 1, 1.0), (1, 2, 1.0)])
def test_filter_by_hand(padding, stride, gain):
    x = torch.randn(2, 3, 7, 10, dtype=torch.float64)
    expected = by_hand(x, gain * TAPS, 1, (padding, padding), stride)
    torch.testing.assert_close(Filter(padding, stride=stride, gain=gain).double()(x), expected)


@pytest.mark.parametrize("size", [(14, 20), (13, 19)], ids=str)
def test_doubled_by_hand(size):
    """The filter after zeros between pixels: two before and one after, so that the nearest pixel weighs most."""
    x = torch.randn(2, 3, 7, 10, dtype=torch.float64)
    found = Doubled(size)(x)
    torch.testing.assert_close(found, by_hand(x, 2 * TAPS, 2, (2, 1), 1)[:, :, : size[0], : size[1]])
    assert gradgradcheck(Doubled((6, 8)), (torch.randn(1, 1, 3, 4, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_equal_linear_starts_alike_and_learns_at_its_multiplier(multiplier):
    layer = EqualLinear(400, 300, bias=1.0, multiplier=multiplier, gain=2.0)
    x = torch.randn(500, 400)
    before = layer(x)
    assert float(before.detach().std()) == pytest.approx(2, rel=0.02)
    assert float(before.detach().mean()) == pytest.approx(2, abs=0.04)
    with torch.no_grad():
        layer.weight += 0.1
        layer.bias += 0.1
    moved = 2 * multiplier * (0.1 * x.sum(1, keepdim=True) / 20 + 0.1)
    torch.testing.assert_close(layer(x) - before, moved.expand(500, 300), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, (9, 9)), (1, 1, (9, 9)), (3, 2, (4, 4))])
def test_equal_conv_starts_at_unit_deviation(kernel, stride, size):
    layer = EqualConv(50, 60, kernel, stride=stride, gain=1.5)
    y = layer(torch.randn(40, 50, 9, 9)).detach() / 1.5
    assert y.shape[2:] == size
    inner = y if stride == 2 else y[:, :, 1:-1, 1:-1]
    assert float(inner.std()) == pytest.approx(1, rel=0.03)


def test_the_gain_makes_up_for_the_activation():
    x = torch.randn(100_000)
    assert float(active(GAIN * x).square().mean()) == pytest.approx(1.04, rel=0.02)
    torch.testing.assert_close(active(GAIN * x), GAIN * active(x))


def test_noise_is_one_image_for_all_channels():
    noise = Noise((4, 5))
    x = torch.randn(3, 2, 4, 5)
    assert torch.equal(noise(x), x)
    with torch.no_grad():
        noise.strength.fill_(2.0)
    added = (noise(x) - x) / 2
    torch.testing.assert_close(added[:, 0], added[:, 1])
    assert not torch.equal(added[0], added[1])
    torch.testing.assert_close(noise.eval()(x) - x, (2 * noise.fixed).expand(3, 2, 4, 5))
