"""DCGAN: its plan of sizes and widths, its start, and the projection of labels."""

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.networks.dcgan import DCGANDiscriminator, DCGANGenerator


@pytest.mark.parametrize(
    ("size", "coarsest", "last"),
    [  # by hand: ceil for the generator's first grid, floor for the discriminator's last
        ((28, 28), (7, 7), (3, 3)),
        ((8, 8), (4, 4), (2, 2)),
        ((15, 9), (8, 5), (3, 2)),
        ((24, 40), (6, 10), (3, 5)),
        ((17, 23), (5, 6), (2, 2)),
        ((64, 64), (4, 4), (2, 2)),
        ((96, 64), (6, 4), (3, 2)),
        ((256, 8), (128, 4), (64, 2)),
    ],
    ids=str,
)
def test_sizes_of_the_grids(size, coarsest, last):
    data = DataSpec(name="test", shape=(3, *size))
    G, D = DCGANGenerator(width=2).build(data, 4), DCGANDiscriminator(width=2).build(data, 4)
    assert G.coarsest[:2] == coarsest
    assert D.head.in_features == (D.downs[-1].out_channels + 1) * last[0] * last[1]
    assert len(D.downs) == len(G.ups) + 1


def test_widths_double_up_to_the_largest():
    data = DataSpec(name="test", shape=(1, 64, 64))
    G = DCGANGenerator(width=16, max_width=48).build(data, 4)
    D = DCGANDiscriminator(width=16, max_width=48).build(data, 4)
    assert [up.in_channels for up in G.ups] == [48, 48, 48, 32]
    assert [down.out_channels for down in D.downs] == [16, 32, 48, 48, 48]


def test_every_pixel_of_the_image_reaches_the_logit():
    torch.manual_seed(0)
    D = DCGANDiscriminator().build(DataSpec(name="test", shape=(1, 16, 24)), 4)
    x = torch.randn(4, 1, 16, 24, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).sum(), x)
    assert (slope.abs().sum((0, 1)) > 0).all()


def test_projection_by_its_formula():
    torch.manual_seed(0)
    data = DataSpec(name="test", shape=(1, 8, 8), num_classes=3)
    D = DCGANDiscriminator().build(data, 4)
    x, y = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 1])
    unconditional = D.head(D.features(x))[:, 0]
    assert torch.equal(D(x, y), unconditional), "labels have no say before they are learned"
    nn.init.normal_(D.embedding.weight)
    features = D.features(x)
    expected = [unconditional[i] + D.embedding.weight[y[i]] @ features[i] for i in range(4)]
    torch.testing.assert_close(D(x, y), torch.stack(expected))


@pytest.mark.parametrize("shape", [(784,), (1, 7, 28), (3, 28, 4)])
@pytest.mark.parametrize("spec", [DCGANGenerator(), DCGANDiscriminator()])
def test_what_is_no_image_of_8x8_is_refused(spec, shape):
    with pytest.raises(RequestError, match="expected images of at least 8×8 pixels, found tiny of shape"):
        spec.build(DataSpec(name="tiny", shape=shape), 4)


def test_widths_below_one_are_refused():
    with pytest.raises(RequestError, match="width and max_width must be at least 1, found 0 and 512"):
        DCGANGenerator(width=0).build(DataSpec(name="test", shape=(1, 8, 8)), 4)
