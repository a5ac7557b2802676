"""The ways in which networks take a condition, each against its formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.layers import Activation, ConditionalBatchNormalization, Conv2D, Dense, Flatten, Reshape
from sparring.networks.condition import AuxiliaryHead, Concatenation, ConditionalBatchNorm, Embedding, Projection
from sparring.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from sparring.networks.given import GivenDiscriminator, GivenGenerator
from sparring.networks.layered import Discriminator, Generator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator

CLASS = DataSpec(name="test", shape=(1, 8, 9), num_classes=3)
VECTOR = DataSpec(name="test", shape=(1, 8, 9), y_shape=(4,))
IMAGE = DataSpec(name="test", shape=(1, 8, 9), y_shape=(2, 5, 6))
PLAIN = DataSpec(name="test", shape=(1, 8, 9))
KINDS = {"class": CLASS, "attributes": VECTOR, "vector": VECTOR, "image": IMAGE}
Z_DIM = 6


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def condition(kind, count=5):
    if kind == "class":
        return torch.arange(count) % 3
    y = torch.randn(count, *KINDS[kind].y_shape)
    return (y > 0).float() if kind == "attributes" else y


def networks(kind):
    """Every generator and every discriminator that takes conditions of a kind."""
    generators = [None, Concatenation(), Concatenation(layers=(0, 2))]
    discriminators = [None, Concatenation(), Concatenation(layers=(1,)), Concatenation(layers=(0, 1))]
    if kind != "image":
        generators += [Embedding(dim=5), ConditionalBatchNorm()]
        discriminators.append(Projection())
    if kind == "class":
        discriminators.append(AuxiliaryHead())
    for way in generators:
        yield DCGANGenerator(width=3, condition=way)
        yield MLPGenerator(width=8, depth=2, condition=way)
    for way in discriminators:
        yield DCGANDiscriminator(width=3, condition=way)
        yield MLPDiscriminator(width=8, depth=2, condition=way)
    yield Generator([Dense(8), Activation("relu"), Dense(72), Activation("tanh")])
    yield Discriminator([Conv2D(4, 3), Activation("relu", leaky_rate=0.2), Flatten(), Dense(1)])
    if kind != "image":
        yield Generator([Dense(72), Reshape((1, 8, 9)), ConditionalBatchNormalization(), Activation("tanh")])


def loudly(net):
    """The network with weights that start at zero, so that conditions have no say, made random."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return net


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_weights_that_learn_and_conditions_that_are_heard(kind):
    data, y = KINDS[kind], condition(kind)
    for spec in networks(kind):
        assert from_json(to_json(spec)) == spec
        net = spec.build(data, Z_DIM)
        makes = "Generator" in type(spec).__name__
        x = torch.randn(5, Z_DIM) if makes else torch.randn(5, *data.shape)
        tells = hasattr(net, "forward_with_classes")
        out = net(x, y)
        assert out.shape == ((5, *data.shape) if makes else (5,))
        (out.square().sum() + (net.forward_with_classes(x)[1].square().sum() if tells else 0)).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, (spec, name)
            assert parameter.grad.any(), (spec, name)
        loudly(net).eval()
        moved = net(x, y.roll(1, 0))
        assert torch.equal(moved, net(x, y)) is tells, spec
        given = (GivenGenerator if makes else GivenDiscriminator)(net).build(data, Z_DIM)
        assert torch.equal(given(x, y), net(x, y))
        if not tells:
            with pytest.raises(RequestError, match="this network was built for"):
                net(x, None)
        assert net.double()(x.double(), y).dtype is torch.float64


@pytest.mark.parametrize("kind", ["class", "vector", "image"])
def test_second_derivatives_of_discriminators(kind):
    data, y = KINDS[kind], condition(kind, 2)
    small = data.replace(shape=(1, 8, 8))
    for spec in networks(kind):
        if isinstance(spec, DCGANDiscriminator | MLPDiscriminator):
            net = loudly(spec.replace(width=2).build(small, Z_DIM)).double()
            x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
            assert gradgradcheck(lambda x, net=net: net(x, y), (x,), fast_mode=True)


@pytest.mark.parametrize("spec", [DCGANDiscriminator(width=3), MLPDiscriminator(width=8)])
@pytest.mark.parametrize("kind", ["class", "attributes"])
def test_projection_by_its_formula(spec, kind):
    data, y = KINDS[kind], condition(kind)
    net = loudly(spec.replace(condition=Projection()).build(data, Z_DIM))
    head = net.head if isinstance(spec, DCGANDiscriminator) else net.stack[-1]
    x = torch.randn(5, *data.shape)
    features = net.features(x)
    weight = net.embedding.weight
    for i, logit in enumerate(net(x, y)):
        row = weight[y[i]] if kind == "class" else sum(y[i, j] * weight[:, j] for j in range(4))
        torch.testing.assert_close(logit, (head.weight[0] + row) @ features[i] + head.bias[0])


def test_projection_starts_without_a_say():
    x, y = torch.randn(5, 1, 8, 9), condition("class")
    for spec in (DCGANDiscriminator(width=3), MLPDiscriminator(width=8)):
        net = spec.replace(condition=Projection()).build(CLASS, Z_DIM)
        assert torch.equal(net(x, y), net(x, y.roll(1)))


@pytest.mark.parametrize("kind", ["class", "vector"])
def test_an_embedding_stands_beside_z(kind):
    data, y = KINDS[kind], condition(kind)
    z = torch.randn(5, Z_DIM)
    for spec in (DCGANGenerator(width=3), MLPGenerator(width=8)):
        net = spec.replace(condition=Embedding(dim=4)).build(data, Z_DIM).eval()
        unconditional = spec.build(PLAIN, Z_DIM + 4).eval()
        weights = {name: v for name, v in net.state_dict().items() if not name.startswith("embedding")}
        unconditional.load_state_dict(weights)
        weight = net.embedding.weight
        rows = weight[y] if kind == "class" else y @ weight.T
        torch.testing.assert_close(net(z, y), unconditional(torch.cat([z, rows], 1)))


@pytest.mark.parametrize("spec", [DCGANGenerator(width=3), MLPGenerator(width=8)])
@pytest.mark.parametrize("kind", ["class", "vector"])
def test_conditional_batch_norm_is_an_unconditional_generator_with_each_condition_s_affine_maps(spec, kind):
    data, y = KINDS[kind], condition(kind)
    net = loudly(spec.replace(condition=ConditionalBatchNorm()).build(data, Z_DIM)).eval()
    z = torch.randn(5, Z_DIM)
    found = net(z, y)
    c = F.one_hot(y, 3).float() if kind == "class" else y
    for i in range(5):
        for norm in [m for m in net.modules() if hasattr(m, "affine") and isinstance(m.affine, nn.Linear)]:
            gamma, beta = (norm.affine.weight @ c[i] + norm.affine.bias).chunk(2)
            norm.forward = lambda x, _, norm=norm, gamma=gamma, beta=beta: F.batch_norm(
                x, norm.norm.running_mean, norm.norm.running_var, 1 + gamma, beta
            )
        torch.testing.assert_close(net(z[i : i + 1], y[i : i + 1])[0], found[i])


def test_a_dcgan_hears_at_the_layers_that_were_chosen_by_hand():
    y, z = condition("class"), torch.randn(5, Z_DIM)
    net = DCGANGenerator(width=3, condition=Concatenation(layers=(1, 2))).build(CLASS, Z_DIM).eval()
    one_hot = F.one_hot(y, 3).float()[:, :, None, None]
    (up,), (norm,) = net.ups, net.norms
    x = net.dense(z).view(5, 4, 5, 6).permute(0, 3, 1, 2)  # 8×9 halved is 4×5, with twice 3 channels
    x = net.norm(x).relu()
    x = norm(up(torch.cat([x, one_hot.expand(5, 3, 4, 5)], 1))[:, :, :8, :9]).relu()
    x = torch.tanh(net.to_image(torch.cat([x, one_hot.expand(5, 3, 8, 9)], 1)))
    torch.testing.assert_close(net(z, y), x)

    net = DCGANDiscriminator(width=3, condition=Concatenation(layers=(1,))).build(CLASS, Z_DIM)
    first, second = net.downs
    x = torch.randn(5, 1, 8, 9)
    h = F.leaky_relu(first(x), 0.2)
    h = F.leaky_relu(second(torch.cat([h, one_hot.expand(5, 3, 4, 4)], 1)), 0.2)
    torch.testing.assert_close(net(x, y), net.head(net.std(h).flatten(1))[:, 0])


def test_an_mlp_hears_at_the_layers_that_were_chosen_by_hand():
    y, z, x = condition("vector"), torch.randn(5, Z_DIM), torch.randn(5, 1, 8, 9)
    net = MLPGenerator(width=8, depth=1, condition=Concatenation(layers=(1,))).build(VECTOR, Z_DIM)
    h = F.leaky_relu(net.stack[0](z), 0.2)
    torch.testing.assert_close(net(z, y), torch.tanh(net.stack[2](torch.cat([h, y], 1))).view(5, 1, 8, 9))
    net = MLPDiscriminator(width=8, depth=2, condition=Concatenation(layers=(0, 1))).build(VECTOR, Z_DIM)
    h = F.leaky_relu(net.stack[0](torch.cat([x.flatten(1), y], 1)), 0.2)
    h = F.leaky_relu(net.stack[2](torch.cat([h, y], 1)), 0.2)
    torch.testing.assert_close(net(x, y), net.stack[4](h)[:, 0])


def test_a_dcgan_hears_an_image_at_every_grid_as_it_is_where_sizes_agree():
    data = IMAGE.replace(shape=(1, 8, 8), y_shape=(2, 8, 8))
    net = DCGANGenerator(width=3).build(data, Z_DIM).eval()
    z, y = torch.randn(1, Z_DIM), torch.randn(1, 2, 8, 8)
    before = net(z, y)
    for row, column in ((0, 0), (2, 4), (6, 6)):
        changed = y.clone()
        changed[:, :, row, column] += 1
        changed[:, :, row, column + 1] -= 1  # no average over 2×2 pixels, which the coarser grid reads, has changed
        assert not torch.equal(net(z, changed)[:, :, row, column], before[:, :, row, column])
    (up,) = net.ups
    assert (up.in_channels, net.to_image.in_channels, net.dense.in_features) == (6 + 2, 3 + 2, Z_DIM)


def test_an_auxiliary_head_reads_the_features_of_the_logit():
    x = torch.randn(5, 1, 8, 9)
    for spec in (DCGANDiscriminator(width=3), MLPDiscriminator(width=8)):
        net = spec.replace(condition=AuxiliaryHead()).build(CLASS, Z_DIM)
        logits, classes = net.forward_with_classes(x)
        torch.testing.assert_close(logits, net(x))
        weight, bias = net.classifier.parameters()
        for i, features in enumerate(net.features(x)):
            for k in range(3):
                torch.testing.assert_close(classes[i, k], weight[k] @ features + bias[k])


@pytest.mark.parametrize("shape", [(5,), (1, 4, 4)], ids=str)
@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("depth", [0, 2])
def test_an_mlp_is_the_same_layers_in_a_row(shape, num_classes, depth):
    """The same numbers under the same names, which checkpoints rely on."""
    data = DataSpec(name="test", shape=shape, num_classes=num_classes)
    hidden = [Dense(7), Activation("relu", leaky_rate=0.2)] * depth
    end = Activation("tanh" if len(shape) == 3 else "linear")
    y = torch.arange(4) % 3 if num_classes else None
    for spec, layers, size in (
        (MLPGenerator(width=7, depth=depth), Generator([*hidden, Dense(math.prod(shape)), end]), (Z_DIM,)),
        (MLPDiscriminator(width=7, depth=depth), Discriminator([*hidden, Dense(1)]), shape),
    ):
        nets = []
        for made in (spec, layers):
            torch.manual_seed(0)
            nets.append(made.build(data, Z_DIM))
        one, other = (net.state_dict() for net in nets)
        assert list(one) == list(other)
        assert all(torch.equal(one[name], other[name]) for name in one)
        x = torch.randn(4, *size)
        assert torch.equal(nets[0](x, y), nets[1](x, y))


@pytest.mark.parametrize("way", [None, Concatenation(layers=(1,)), Projection(), AuxiliaryHead()], ids=str)
def test_an_mlp_judges_every_sample_alone_as_it_says(way):
    net = loudly(MLPDiscriminator(width=8, condition=way).build(CLASS, Z_DIM))
    assert net.per_sample
    x, y = torch.randn(6, 1, 8, 9), condition("class", 6)
    torch.testing.assert_close(net(x, y)[:3], net(torch.cat([x[:3], 9 * x[3:]]), y)[:3])


def test_the_names_of_a_dcgan_s_weights_are_those_of_checkpoints_on_disk():
    G, D = DCGANGenerator().build(CLASS, Z_DIM), DCGANDiscriminator().build(CLASS, Z_DIM)
    assert [name for name, _ in G.named_parameters()] == [
        *("dense.weight", "norm.weight", "norm.bias", "ups.0.weight", "norms.0.weight", "norms.0.bias"),
        *("to_image.weight", "to_image.bias"),
    ]
    assert [name for name, _ in D.named_parameters()] == [
        *("downs.0.weight", "downs.0.bias", "downs.1.weight", "downs.1.bias"),
        *("head.weight", "head.bias", "embedding.weight"),
    ]
    assert G.dense.in_features == Z_DIM + 3
    assert not D.embedding.weight.any()


@pytest.mark.parametrize(
    ("spec", "data", "message"),
    [
        (DCGANGenerator(condition=Embedding()), PLAIN, "Embedding: labels asked of unlabelled data: test has neither"),
        (DCGANDiscriminator(condition=Projection()), PLAIN, "Projection: labels asked of unlabelled data"),
        (MLPGenerator(condition=Concatenation()), PLAIN, "Concatenation: labels asked of unlabelled data"),
        (MLPDiscriminator(condition=AuxiliaryHead()), PLAIN, "AuxiliaryHead: labels asked of unlabelled data"),
        (DCGANDiscriminator(condition=AuxiliaryHead()), VECTOR, r"expected a class as condition, found \[4\]"),
        (MLPDiscriminator(condition=Projection()), IMAGE, r"expected a class or a vector as condition, found \[2, 5"),
        (DCGANGenerator(condition=ConditionalBatchNorm()), IMAGE, r"take Concatenation\(\)"),
        (MLPGenerator(condition=Embedding()), IMAGE, "Embedding: expected a class or a vector"),
        (DCGANGenerator(condition=Concatenation(layers=(3,))), CLASS, r"layers 0 to 2, found \(3,\)"),
        (DCGANDiscriminator(condition=Concatenation(layers=(0, 2))), CLASS, r"layers 0 to 1, found \(0, 2\)"),
        (MLPGenerator(depth=2, condition=Concatenation(layers=(3,))), CLASS, "this generator takes .* layers 0 to 2"),
        (MLPDiscriminator(depth=2, condition=Concatenation(layers=(2,))), CLASS, "takes conditions at layers 0 to 1"),
        (MLPGenerator(depth=0, condition=ConditionalBatchNorm()), CLASS, "expected a hidden layer to normalise"),
        (Generator([ConditionalBatchNormalization(), Dense(72)]), PLAIN, "layer 1, Conditional.*the data do not have"),
        (Generator([ConditionalBatchNormalization(), Dense(72)]), IMAGE, "layer 1, Conditional.*the data do not have"),
        (Generator([ConditionalBatchNormalization(conditions=2), Dense(72)]), CLASS, "test has 3, found 2: leave it"),
        (Discriminator([ConditionalBatchNormalization(), Dense(1)]), CLASS, "is for generators; leave it out"),
    ],
)
def test_conditions_that_the_data_or_the_network_do_not_have_are_refused(spec, data, message):
    with pytest.raises(RequestError, match=message) as caught:
        spec.build(data, Z_DIM)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Concatenation(layers=()),
        lambda: Concatenation(layers=(-1,)),
        lambda: Concatenation(layers=(1, 1)),
        lambda: Embedding(dim=0),
    ],
)
def test_values_out_of_range_are_refused(make):
    with pytest.raises(RequestError, match=r"Concatenation.layers: expected different numbers|Embedding.dim: expected"):
        make()


def test_they_can_be_named_from_outside():
    assert DCGANGenerator().with_path("condition", "Embedding(dim=16)").condition == Embedding(dim=16)
    assert MLPDiscriminator().with_path("condition", "Concatenation(layers=(0, 1))").condition.layers == (0, 1)
    assert DCGANDiscriminator(condition=Projection()).with_path("condition", "null").condition is None
    with pytest.raises(RequestError, match="condition: there is no 'Projection' here"):
        MLPGenerator().with_path("condition", "Projection")
