"""What holds for every player of sequences: shapes, conditions, precision, second derivatives, JSON, divided steps."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.exchange import Rows
from sparring.core.forms import Series, Text
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.networks import (
    AuxiliaryHead,
    Concatenation,
    ConditionalBatchNorm,
    Embedding,
    GumbelSoftmax,
    Projection,
    RecurrentDiscriminator,
    RecurrentGenerator,
    Softmax,
    TemporalDiscriminator,
    TemporalGenerator,
)
from sparring.train.rows import Whole

Z_DIM = 6
WAVES = DataSpec(name="waves", shape=(9, 2), form=Series(columns=("a", "b"), low=(0.0, 0.0), high=(1.0, 1.0)))
RAGGED = DataSpec(name="ragged", shape=(24, 2), form=Series(columns=("a",), low=(0.0,), high=(1.0,), ragged=True))
WORDS = DataSpec(name="words", shape=(5, 4), form=Text(tokens=("", "a", "b", "c")))
LONG = DataSpec(name="long", shape=(64, 1))
CONDITIONS = {"none": {}, "class": {"num_classes": 3}, "vector": {"y_shape": (2,)}, "image": {"y_shape": (1, 2, 2)}}
GENERATORS = [
    TemporalGenerator(width=4),
    RecurrentGenerator(width=6),
    RecurrentGenerator(width=6, cell="lstm", depth=2, noise=0, feedback=True),
]
DISCRIMINATORS = [
    TemporalDiscriminator(width=4),
    RecurrentDiscriminator(width=6),
    RecurrentDiscriminator(width=6, cell="lstm", depth=2),
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def condition(data, count=5):
    if data.num_classes:
        return torch.arange(count) % data.num_classes
    return torch.randn(count, *data.y_shape) if data.y_shape else None


def ways(kind, spec):
    """The spec with each of the conditions that it takes."""
    yield spec
    if kind == "none":
        return
    yield spec.replace(condition=Concatenation())
    if kind == "image":
        return
    if isinstance(spec, TemporalGenerator | RecurrentGenerator):
        yield spec.replace(condition=Embedding(dim=3))
        if isinstance(spec, TemporalGenerator):
            yield spec.replace(condition=ConditionalBatchNorm())
    else:
        yield spec.replace(condition=Projection())
        if kind == "class":
            yield spec.replace(condition=AuxiliaryHead())


def loudly(net):
    """The network with weights that start at zero, so that conditions have no say, made random."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return net


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("data", [WAVES, RAGGED, WORDS, LONG], ids=lambda data: data.name)
def test_every_sequence_builds_every_weight_learns_and_conditions_are_heard(data, kind):
    data = data.replace(**CONDITIONS[kind])
    y = condition(data)
    for spec in [way for plain in (*GENERATORS, *DISCRIMINATORS) for way in ways(kind, plain)]:
        assert from_json(to_json(spec)) == spec
        net, makes = spec.build(data, Z_DIM), spec.__class__.__name__.endswith("Generator")
        tells = hasattr(net, "forward_with_classes")
        x = torch.randn(5, Z_DIM) if makes else torch.randn(5, *data.shape)
        out = net(x, y)
        assert out.shape == ((5, *data.shape) if makes else (5,))
        assert out.isfinite().all()
        if makes:
            assert out.abs().max() <= 1
            assert out.std(0).mean() > 0.001, "noise must matter from the start"
        weight = torch.randn_like(out)
        ((out * weight).sum() + (net.forward_with_classes(x)[1].square().sum() if tells else 0)).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, (spec, name)
            assert parameter.grad.isfinite().all(), (spec, name)
            assert parameter.grad.any(), (spec, name)
        if kind == "none":
            continue
        loudly(net).eval()
        if makes and isinstance(data.form, Text):
            net.end = Softmax()  # hard tokens may stay the same
        other = y.flip(0) if data.num_classes else -y
        assert torch.equal(net(x, y), net(x, other)) is tells, spec
        if not tells:
            with pytest.raises(RequestError, match="this network was built for"):
                net(x, None)


@pytest.mark.parametrize("spec", GENERATORS, ids=str)
@pytest.mark.parametrize("end", [None, Softmax(), GumbelSoftmax(temperature=0.5)], ids=str)
def test_in_evaluation_a_text_is_a_function_of_z(spec, end):
    net = spec.replace(end=end).build(WORDS, Z_DIM)
    for _ in range(3):
        net(torch.randn(8, Z_DIM))
    net.eval()
    z = torch.randn(6, Z_DIM)
    x = net(z)
    assert torch.equal(x, net(z))
    torch.testing.assert_close(x[3:], net(z[3:]))
    torch.testing.assert_close(x.sum(2), torch.ones(6, 5))
    assert (x.amax(2) == 1).all() == (not isinstance(end, Softmax))
    fresh = spec.replace(end=end).build(WORDS, Z_DIM).eval()
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh(z), x)
    assert torch.equal(copy.deepcopy(net)(z), x)
    assert len({tuple(row) for row in net(torch.randn(64, Z_DIM)).argmax(2).tolist()}) > 1


@pytest.mark.parametrize("spec", GENERATORS, ids=str)
def test_a_truncated_generator_draws_from_probabilities_to_a_power(spec):
    """At the first place, whose probabilities are read off many samples: those to the power 1 / psi, made to sum to 1.
    At psi near 0 the likeliest token is taken, whatever is drawn."""
    net = spec.replace(end=GumbelSoftmax()).build(WORDS, Z_DIM).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if not name.startswith("to_sample.bias"):
                parameter.zero_()
        net.to_sample.bias.copy_(torch.tensor([1.0, -0.5, 0.3, 0.0]))
    z = torch.randn(20_000, Z_DIM)
    assert torch.equal(net.truncated(z, None, 1.0), net(z))
    for psi in (0.5, 2.0):
        p = torch.softmax(net.to_sample.bias.detach() / psi, 0)
        found = net.truncated(z, None, psi)[:, 0].mean(0)
        assert ((found - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt()).all()
    assert (net.truncated(z, None, 1e-4).argmax(2) == 0).all()
    assert not hasattr(spec.build(WAVES, Z_DIM), "truncated"), "of series z is what can be truncated"


@pytest.mark.parametrize("kind", ["none", "class", "vector"])
@pytest.mark.parametrize("spec", DISCRIMINATORS, ids=str)
def test_second_derivatives_and_logits_of_each_sample_alone(spec, kind):
    data = WAVES.replace(shape=(8, 2), **CONDITIONS[kind])
    net = loudly(spec.replace(width=2).build(data, Z_DIM)).double()
    y = condition(data, 3)
    x = torch.randn(3, 8, 2, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(lambda x: net(x, y), (x,), fast_mode=True)
    assert net.per_sample
    torch.testing.assert_close(net(x, y)[1:2], net(x[1:2], None if y is None else y[1:2]))


@pytest.mark.parametrize("spec", GENERATORS, ids=str)
def test_second_derivatives_of_generators(spec):
    """Path lengths differentiate a generator's gradient in z; noise, which has none, is left out."""
    if isinstance(spec, RecurrentGenerator):
        spec = spec.replace(noise=0)
    net = spec.replace(width=2).build(WAVES, Z_DIM).double().eval()
    assert gradgradcheck(net, (torch.randn(2, Z_DIM, dtype=torch.float64, requires_grad=True),), fast_mode=True)


@pytest.mark.parametrize("data", [WAVES, WORDS], ids=lambda data: data.name)
def test_bfloat16_autocast_is_near_float32_also_with_a_gradient_penalty(data):
    data = data.replace(num_classes=3)
    y, z = condition(data), torch.randn(5, Z_DIM)
    for generator in GENERATORS:
        net = generator.replace(end=Softmax() if isinstance(data.form, Text) else None).build(data, Z_DIM)
        exact = net(z, y)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(z, y)
        torch.testing.assert_close(rounded.float(), exact, rtol=0.1, atol=0.1)
    for discriminator in DISCRIMINATORS:
        net, outcomes = discriminator.build(data, Z_DIM), []
        for enabled in (False, True):
            net.zero_grad()
            x = torch.linspace(-1, 1, 5 * data.shape[0] * data.shape[1]).view(5, *data.shape).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                logits = net(x, y).float()
                (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
                penalty = slope.square().sum((1, 2)).mean()
            penalty.backward()
            assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
            outcomes.append((logits.detach(), penalty.detach()))
        for exact, rounded in zip(*outcomes, strict=True):
            torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("spec", GENERATORS, ids=str)
def test_a_batch_in_parts_is_the_batch(spec):
    net = spec.build(WORDS, Z_DIM).eval()
    z = torch.randn(6, Z_DIM)
    whole = net(z)
    for start, stop in ((0, 2), (2, 6)):
        with Whole(Rows(start, stop, 6)):
            torch.testing.assert_close(net(z[start:stop]), whole[start:stop])


@pytest.mark.parametrize("spec", GENERATORS, ids=str)
def test_generators_can_be_traced_for_export(spec):
    data = WORDS.replace(num_classes=3)
    arguments = (torch.randn(2, Z_DIM), torch.tensor([0, 2]))
    net = spec.build(data, Z_DIM).eval()
    traced = torch.export.export(net, arguments).module()
    torch.testing.assert_close(traced(*arguments), net(*arguments))


@pytest.mark.parametrize("spec", [*GENERATORS, *DISCRIMINATORS], ids=str)
def test_conditions_stand_at_the_first_layer_alone(spec):
    with pytest.raises(RequestError, match="takes conditions at layers 0 to 0, found"):
        spec.replace(condition=Concatenation(layers=(1,))).build(WAVES.replace(num_classes=2), Z_DIM)
