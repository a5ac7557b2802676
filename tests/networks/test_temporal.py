"""Convolutions along time: the plan of lengths and widths, what reaches the logit, a block by its formula."""

import pytest
import torch
from torch.nn import functional as F

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.networks.temporal import TemporalDiscriminator, TemporalGenerator


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("length", "up", "down"),
    [  # by hand: ceil for the generator's levels, floor for the discriminator's
        (4, [4], 4),
        (7, [7], 7),
        (8, [8, 4], 4),
        (24, [24, 12, 6], 6),
        (25, [25, 13, 7], 6),
        (31, [31, 16, 8], 7),
        (100, [100, 50, 25, 13, 7], 6),
    ],
)
def test_lengths_of_the_levels(length, up, down):
    data = DataSpec(name="test", shape=(length, 3))
    G, D = TemporalGenerator(width=2).build(data, 4), TemporalDiscriminator(width=2).build(data, 4)
    assert G.lengths == up
    widths = [min(2 * 2**i, 256) for i in range(len(up))]
    assert D.head.in_features == widths[-1] * down
    assert [c.out_channels for c in D.downs] == widths[1:]
    assert [c.out_channels for c in G.ups] == widths[-2::-1]


def test_widths_double_up_to_the_largest():
    D = TemporalDiscriminator(width=8, max_width=20).build(DataSpec(name="test", shape=(64, 1)), 4)
    assert [c.out_channels for c in D.downs] == [16, 20, 20, 20]


@pytest.mark.parametrize("length", [4, 9, 24, 31])
def test_every_value_of_a_series_reaches_the_logit(length):
    D = TemporalDiscriminator(width=8).build(DataSpec(name="test", shape=(length, 2)), 4)
    x = torch.randn(8, length, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).sum(), x)
    assert (slope.abs().sum(0) > 0).all()


def test_a_discriminator_without_halvings_by_its_formula():
    D = TemporalDiscriminator(width=3).build(DataSpec(name="test", shape=(6, 2)), 4).double()
    x = torch.randn(5, 6, 2, dtype=torch.float64)
    first, second = D.blocks[0][0].convs

    def convolved(conv, x):
        """Σ over the five nearest steps, beyond the ends 0."""
        padded = F.pad(x, (0, 0, 2, 2))
        return sum(padded[:, k : k + 6] @ conv.weight[:, :, k].T for k in range(5)) + conv.bias

    h = convolved(D.from_sample, x)
    h = h + 0.3 * convolved(second, F.leaky_relu(convolved(first, F.leaky_relu(h, 0.2)), 0.2))
    expected = F.leaky_relu(h, 0.2).transpose(1, 2).flatten(1) @ D.head.weight[0] + D.head.bias
    torch.testing.assert_close(D(x), expected)


@pytest.mark.parametrize("shape", [(3, 2), (3, 8, 8), (5,)])
@pytest.mark.parametrize("spec", [TemporalGenerator(), TemporalDiscriminator()])
def test_what_is_no_sequence_of_four_steps_is_refused(spec, shape):
    with pytest.raises(RequestError, match="of T = 4 or more, found odd of shape"):
        spec.build(DataSpec(name="odd", shape=shape), 4)


@pytest.mark.parametrize("change", [{"width": 0}, {"max_width": 0}, {"blocks": 9}, {"blocks": -1}], ids=str)
def test_sizes_out_of_range_are_refused(change):
    data = DataSpec(name="test", shape=(8, 1))
    for spec in (TemporalGenerator(**change), TemporalDiscriminator(**change)):
        with pytest.raises(RequestError, match="expected width >= 1, max_width >= 1 and blocks from 0 to 8, found"):
            spec.build(data, 4)
