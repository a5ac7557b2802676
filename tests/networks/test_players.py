"""What holds for every pair of networks: shapes, ranges, gradients, precision, second derivatives, labels, JSON."""

import pytest
import torch
from torch.autograd import gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.layers import Activation, Conv2D, Conv2DTranspose, Dense, Flatten, Pooling2D, Reshape
from sparring.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from sparring.networks.given import GivenDiscriminator, GivenGenerator
from sparring.networks.layered import Discriminator, Generator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.networks.resnet import ResidualDiscriminator, ResidualGenerator

Z_DIM = 6
SIZES = [(28, 28), (8, 8), (32, 32), (24, 40), (96, 64), (17, 23), (64, 64)]


def layered(shape):
    channels, height, width = shape
    generator = Generator(
        layers=[
            Dense(4 * height * width),
            Reshape((4, height, width)),
            Activation("relu", leaky_rate=0.2),
            Conv2DTranspose(4, 4, 2),
            Pooling2D(2, "average"),
            Conv2D(channels),
            Activation("tanh"),
        ]
    )
    return generator, Discriminator(layers=[Conv2D(4, 4, 2), Activation("relu", leaky_rate=0.2), Flatten(), Dense(1)])


def pairs(shape):
    yield DCGANGenerator(width=4), DCGANDiscriminator(width=4)
    yield MLPGenerator(width=16, depth=2), MLPDiscriminator(width=16, depth=2)
    yield ResidualGenerator(width=4), ResidualDiscriminator(width=4)
    yield layered(shape)


def data_of(shape, num_classes=0):
    return DataSpec(name="test", shape=shape, num_classes=num_classes)


def labels(num_classes, batch=5):
    return torch.randint(num_classes, (batch,)) if num_classes else None


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_image_shape_builds_and_every_weight_learns(size, channels, num_classes):
    shape = (channels, *size)
    data = data_of(shape, num_classes)
    for generator, discriminator in pairs(shape):
        assert from_json(to_json(generator)) == generator
        assert from_json(to_json(discriminator)) == discriminator
        G, D = generator.build(data, Z_DIM), discriminator.build(data, Z_DIM)
        y = labels(num_classes)
        x = G(torch.randn(5, Z_DIM), y)
        assert x.shape == (5, *shape)
        assert x.abs().max() <= 1
        assert x.std(0).mean() > 0.001, "noise must matter from the start"
        logits = D(x, y)
        assert logits.shape == (5,)
        assert logits.isfinite().all()
        logits.sum().backward()
        for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("shape", [(2,), (784,)])
def test_mlp_on_vectors(shape, num_classes):
    data = data_of(shape, num_classes)
    G = MLPGenerator(width=16).build(data, Z_DIM)
    D = MLPDiscriminator(width=16).build(data, Z_DIM)
    y = labels(num_classes)
    x = G(torch.randn(5, Z_DIM), y)
    assert x.shape == (5, *shape)
    assert D(x, y).shape == (5,)


def test_mlp_depth_counts_hidden_layers():
    G = MLPGenerator(width=7, depth=2).build(data_of((3,)), 5)
    assert [p.shape for p in G.parameters() if p.dim() == 2] == [(7, 5), (7, 7), (3, 7)]
    with pytest.raises(RequestError, match="depth"):
        MLPGenerator(depth=-1).build(data_of((3,)), 5)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_float64_and_second_derivatives_of_discriminators(num_classes):
    shape = (1, 8, 9)
    data = data_of(shape, num_classes)
    for generator, discriminator in pairs(shape):
        G, D = generator.build(data, Z_DIM).double(), discriminator.build(data, Z_DIM).double()
        y = labels(num_classes, 2)
        x = G(torch.randn(2, Z_DIM, dtype=torch.float64), y).detach().requires_grad_()
        assert D(x, y).dtype is torch.float64
        assert gradgradcheck(lambda x, D=D, y=y: D(x, y), (x,))


@pytest.mark.parametrize("num_classes", [0, 3])
def test_bfloat16_autocast_with_a_gradient_penalty(num_classes):
    """One R1 step under autocast in channels_last: finite, and near what float32 gives."""
    shape = (3, 16, 12)
    data = data_of(shape, num_classes)
    for generator, discriminator in pairs(shape):
        G = generator.build(data, Z_DIM).to(memory_format=torch.channels_last)
        D = discriminator.build(data, Z_DIM).to(memory_format=torch.channels_last)
        y, z = labels(num_classes), torch.randn(5, Z_DIM)
        outcomes = []
        for enabled in (False, True):
            D.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                x = G(z, y).float().detach().requires_grad_()
                logits = D(x, y).float()
                (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
                penalty = slope.square().sum((1, 2, 3)).mean()
            penalty.backward()
            outcomes.append((x.detach(), logits.detach(), penalty.detach()))
            assert all(p.grad is None or p.grad.isfinite().all() for p in D.parameters())
        for exact, rounded in zip(*outcomes, strict=True):
            torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_labels_are_heard_and_asked_for(num_classes):
    shape = (1, 8, 8)
    data = data_of(shape, num_classes)
    for generator, discriminator in pairs(shape):
        G, D = generator.build(data, Z_DIM).eval(), discriminator.build(data, Z_DIM)
        z, x = torch.randn(4, Z_DIM), torch.rand(4, *shape)
        if num_classes == 0:
            assert D(x).shape == (4,)
            assert G(z).shape == (4, *shape)
            continue
        zero, one = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
        assert not torch.allclose(G(z, zero), G(z, one))
        for network, first in ((G, z), (D, x)):
            with pytest.raises(RequestError, match=r"built for 3 classes: expected labels y \[B\], found None"):
                network(first)


def test_networks_can_be_traced_for_export():
    data = data_of((1, 12, 9), 3)
    arguments = (torch.randn(2, Z_DIM), labels(3, 2))
    for generator, _ in pairs(data.shape):
        G = generator.build(data, Z_DIM).eval()
        traced = torch.export.export(G, arguments).module()
        torch.testing.assert_close(traced(*arguments), G(*arguments))


def test_given_wraps_what_other_specs_build():
    data = data_of((1, 8, 8), 3)
    for generator, discriminator in pairs(data.shape):
        G, D = generator.build(data, Z_DIM).eval(), discriminator.build(data, Z_DIM)
        z, y = torch.randn(4, Z_DIM), labels(3, 4)
        x = GivenGenerator(G).build(data, Z_DIM)(z, y)
        assert torch.equal(x, G(z, y))
        assert torch.equal(GivenDiscriminator(D).build(data, Z_DIM)(x, y), D(x, y))
