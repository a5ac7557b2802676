"""Layers in a row as players."""

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MinibatchStd,
    Reshape,
)
from sparring.networks.layered import Discriminator, Generator

VECTORS = DataSpec(name="mnist", shape=(784,))
IMAGES = DataSpec(name="mnist", shape=(1, 28, 28))


def beginners():
    generator = Generator(layers=[Dense(256), Activation("relu", leaky_rate=0.01), Dense(784), Activation("tanh")])
    discriminator = Discriminator(
        layers=[Dense(64), Activation("relu", leaky_rate=0.01), Dense(1), Activation("sigmoid")]
    )
    return generator, discriminator


@pytest.mark.parametrize("data", [VECTORS, IMAGES], ids=["vectors", "images"])
def test_the_beginners_networks_by_hand(data):
    torch.manual_seed(0)
    generator, discriminator = beginners()
    G, D = generator.build(data, 100), discriminator.build(data, 100)
    assert sum(p.numel() for p in G.parameters()) == 100 * 256 + 256 + 256 * 784 + 784
    assert sum(p.numel() for p in D.parameters()) == 784 * 64 + 64 + 64 + 1

    def leaky(a):
        return torch.where(a > 0, a, 0.01 * a)

    z = torch.rand(3, 100) * 2 - 1
    w1, b1, w2, b2 = G.parameters()
    x = torch.tanh(leaky(z @ w1.T + b1) @ w2.T + b2).view(3, *data.shape)
    torch.testing.assert_close(G(z), x)
    v1, c1, v2, c2 = D.parameters()
    # The logit, not its sigmoid.
    torch.testing.assert_close(D(x), (leaky(x.flatten(1) @ v1.T + c1) @ v2.T + c2)[:, 0])


def test_a_last_sigmoid_of_a_discriminator_is_not_built():
    with_sigmoid = Discriminator(layers=[Dense(1), Activation("sigmoid")]).build(VECTORS, 4)
    without = Discriminator(layers=[Dense(1)]).build(VECTORS, 4)
    without.load_state_dict(with_sigmoid.state_dict())
    x = 100 * torch.ones(2, 784)
    assert torch.equal(with_sigmoid(x), without(x))


def test_a_last_sigmoid_of_a_generator_fills_minus_one_to_one():
    G = Generator(layers=[Dense(784), Activation("sigmoid")]).build(VECTORS, 4)
    z = 50 * torch.randn(64, 4)
    linear = z @ G.stack[0].weight.T + G.stack[0].bias
    torch.testing.assert_close(G(z), torch.tanh(linear / 2))  # 2 sigmoid(a) - 1 = tanh(a / 2)


def test_a_linear_end_is_left_alone():
    G = Generator(layers=[Dense(784)]).build(VECTORS, 4)
    z = torch.randn(2, 4)
    torch.testing.assert_close(G(z), z @ G.stack[0].weight.T)


def test_lists_become_tuples_and_specs_are_equal():
    assert Generator([Dense(3)]) == Generator(layers=(Dense(3),))
    assert Generator([Dense(3)]).layers == (Dense(3),)
    assert Generator([Dense(3)]).replace(layers=[Dense(4)]) == Generator([Dense(4)])
    assert Generator([Dense(3)]).with_path("layers.0.units", "5") == Generator([Dense(5)])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Generator([Dense(100), Activation("tanh")]).build(IMAGES, 4),
            "generator: expected its last layer to give (1, 28, 28), one sample of mnist, found (100,)",
        ),
        (lambda: Generator([Dense(784), Reshape((1, 28, 28))]).build(VECTORS, 4), "found (1, 28, 28)"),
        (
            lambda: Generator([Dense(784), Activation("relu"), Conv2D(1)]).build(IMAGES, 4),
            "generator, layer 3, Conv2D: expected an image (channels, height, width), found (784,)",
        ),
        (
            lambda: Discriminator([Conv2D(4), Dense(1)]).build(IMAGES, 4),
            "discriminator, layer 2, Dense: expected a vector (features,), found (4, 28, 28): put Flatten() before it",
        ),
        (
            lambda: Discriminator([Flatten(), Dense(2)]).build(IMAGES, 4),
            "discriminator: expected its last layer to give one number per sample, found (2,)",
        ),
        (lambda: Discriminator([Activation("sigmoid")]).build(IMAGES, 4), "found (1, 28, 28)"),
        (lambda: Generator([]), "Generator: expected a list of layers, found []"),
        (lambda: Generator(Dense(3)), "Generator: expected a list of layers, found Dense"),
        (lambda: Generator([Dense(3), torch.nn.Tanh()]), "Generator, layer 2: expected a layer, found Tanh()"),
        (lambda: Discriminator([Flatten]), "write Flatten(...)"),
    ],
)
def test_what_does_not_fit_is_refused(build, message):
    with pytest.raises(RequestError) as error:
        build()
    assert message in str(error.value)


def test_dropout_works_while_training_only():
    D = Discriminator([Flatten(), Dropout(0.5), Dense(1)]).build(IMAGES, 4)
    x = torch.randn(4, 1, 28, 28)
    assert not torch.equal(D(x), D(x))
    assert torch.equal(D.eval()(x), D(x))


@pytest.mark.parametrize(
    ("layers", "per_sample"),
    [
        ([Dense(8), Activation("relu"), Dropout(0.5), Dense(1)], True),
        ([Dense(8), BatchNormalization(), Dense(1)], False),
        ([Dense(8), MinibatchStd(), Dense(1)], False),
    ],
)
def test_a_discriminator_says_truly_whether_samples_are_judged_alone(layers: list[Layer], per_sample: bool) -> None:
    net = Discriminator(layers=layers).build(DataSpec(name="a", shape=(5,)), 3)
    assert net.per_sample is per_sample
    net.eval() if any(isinstance(layer, Dropout) for layer in layers) else net.train()
    x = torch.randn(6, 5)
    alone_or_not = torch.allclose(net(x)[:3], net(torch.cat([x[:3], 9 * x[3:]]))[:3], atol=1e-6)
    assert alone_or_not is per_sample
