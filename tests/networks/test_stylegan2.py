"""StyleGAN2: its plan of grids, what enters where, mixing, truncation, noise, divided batches, conditions."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.exchange import Rows
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.networks.condition import Concatenation, Embedding, Projection
from sparring.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from sparring.train.rows import Whole

TINY = StyleGAN2Generator(width=3, style=8), StyleGAN2Discriminator(width=3)
PLAIN = DataSpec(name="test", shape=(3, 17, 24))
CLASSES = PLAIN.replace(num_classes=3)
VECTORS = PLAIN.replace(y_shape=(5,))
IMAGES = PLAIN.replace(y_shape=(2, 9, 11))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def conditions(data, batch):
    if data.num_classes:
        return torch.arange(batch) % data.num_classes
    return torch.randn(batch, *data.y_shape) if data.y_shape else None


def loud(net):
    """The net with noise that is heard."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("strength"):
                parameter.fill_(0.5)
    return net


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("size", "coarsest", "levels"),
    [((28, 28), (7, 7), 2), ((32, 32), (4, 4), 3), ((8, 8), (4, 4), 1), ((17, 23), (5, 6), 2), ((96, 8), (48, 4), 1)],
    ids=str,
)
def test_grids_and_every_weight_learns(size, coarsest, levels, channels):
    data = DataSpec(name="test", shape=(channels, *size))
    G, D = (spec.build(data, 6) for spec in TINY)
    assert G.constant.shape == (*coarsest, 3 * 2**levels)
    assert G.places == 2 * levels + 2
    x = G(torch.randn(5, 6))
    assert x.shape == (5, *data.shape)
    assert x.abs().max() <= 1
    assert x.std(0).mean() > 0.1, "z must matter from the start"
    logits = D(x)
    assert logits.shape == (5,)
    logits.sum().backward()
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_large_and_long_images_build():
    data = DataSpec(name="test", shape=(3, 1024, 256))
    G = StyleGAN2Generator(width=1, max_width=4, style=8).build(data, 4)
    assert G(torch.randn(1, 4)).shape == (1, 3, 1024, 256)


@pytest.mark.parametrize("data", [PLAIN, CLASSES], ids=["plain", "classes"])
def test_second_derivatives(data):
    data = data.replace(shape=(1, 9, 8))
    G, D = (spec.build(data, 4).double() for spec in TINY)
    y, z = conditions(data, 2), torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    w = G.mapped(z, y).detach().requires_grad_()
    x = G(z, y).detach().requires_grad_()
    assert x.dtype is torch.float64
    torch.manual_seed(1)
    G.eval()
    assert gradgradcheck(G.synthesised, (w,))
    assert gradgradcheck(lambda z: G(z, y), (z,))
    assert gradgradcheck(lambda x: D(x, y), (x,))


def test_where_w_enters():
    """At all places; one w is the same at each, and the last place moves single pixels of the finest level alone."""
    G = loud(TINY[0].build(PLAIN, 6)).eval()
    w = G.mapped(torch.randn(2, 6))
    each = w[:, None].repeat(1, G.places, 1)
    assert torch.equal(G.synthesised(w), G.synthesised(each))
    slopes = torch.autograd.grad(G.synthesised(each.requires_grad_()).square().sum(), each)[0]
    assert (slopes.abs().sum(2) > 0).all(), "every place is read"
    last = each.detach().clone()
    last[:, -1] = 0
    features = []
    G.layers[-1].register_forward_hook(lambda module, given, out: features.append(out))
    assert not torch.allclose(G.synthesised(last), G.synthesised(w))
    assert torch.equal(*features)


def test_training_mixes_styles_and_evaluation_does_not():
    G = TINY[0].build(PLAIN, 6)
    w = torch.zeros(4000, 8)
    mixed = G._mixed(w, None)
    assert mixed.shape == (4000, G.places, 8)
    other = mixed.abs().sum(2) > 0
    assert not other[:, 0].any()
    assert (other[:, 1:] >= other[:, :-1]).all(), "from one place on"
    assert float(other[:, -1].float().mean()) == pytest.approx(0.9, abs=0.02)
    first = other.float().sum(1)[other[:, -1]]
    assert torch.equal(first.unique(), torch.arange(1.0, G.places))
    assert torch.bincount(first.long())[1:].float().div(len(first)).sub(1 / (G.places - 1)).abs().max() < 0.03
    z = torch.randn(4, 6)
    assert not torch.equal(G(z), G(z))


def test_noise_is_random_in_training_and_fixed_in_evaluation():
    G = loud(StyleGAN2Generator(width=3, style=8, mixing=0).build(PLAIN, 6))
    z = torch.randn(4, 6)
    assert not torch.equal(G(z), G(z))
    G.eval()
    assert torch.equal(G(z), G(z))
    torch.testing.assert_close(G(z)[1:3], G(z[1:3]))
    again = TINY[0].build(PLAIN, 6)
    again.load_state_dict(G.state_dict())
    assert torch.equal(again.eval()(z), G(z)), "the fixed noise is part of the state"
    assert torch.equal(copy.deepcopy(G)(z), G(z))


def test_only_the_direction_of_z_is_read():
    G = TINY[0].build(PLAIN, 6)
    z = torch.randn(4, 6)
    torch.testing.assert_close(G.mapped(3 * z), G.mapped(z))
    assert not torch.allclose(G.mapped(-z), G.mapped(z))


def test_truncation_moves_w_to_the_mean():
    G = TINY[0].build(PLAIN, 6).eval()
    z = torch.randn(3, 6)
    mean = G.mapped(torch.randn(100_000, 6)).mean(0)
    spread = G.mapped(torch.randn(1000, 6)).std(0)
    assert ((G.centre()[0] - mean).abs() < 0.15 * spread).all()
    torch.testing.assert_close(G.truncated(z, None, 1.0), G(z))
    torch.testing.assert_close(G.truncated(z, None, 0.0), G.synthesised(G.centre()).expand(3, -1, -1, -1))
    half = G.synthesised((G.centre() + G.mapped(z)) / 2)
    torch.testing.assert_close(G.truncated(z, None, 0.5), half)


@pytest.mark.parametrize("data", [CLASSES, VECTORS], ids=["classes", "vectors"])
def test_the_centre_is_that_of_each_condition(data):
    G = TINY[0].build(data, 6).eval()
    y = conditions(data, 4)
    found = G.centre(y)
    for i in range(4):
        alone = G.mapped(torch.randn(20_000, 6), y[i : i + 1].expand(20_000, *y.shape[1:]))
        assert ((found[i] - alone.mean(0)).abs() < 0.15 * alone.std(0)).all()
    assert (found[1] - found[2]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("data", "generator", "discriminator"),
    [
        (CLASSES, None, None),
        (VECTORS, None, None),
        (IMAGES, None, None),
        (CLASSES, Embedding(dim=3), Projection()),
        (CLASSES, Concatenation(layers=(0, 2)), Concatenation(layers=(0, 1))),
        (VECTORS, Concatenation(), Concatenation()),
        (IMAGES, Concatenation(layers=(2,)), Concatenation(layers=(1,))),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_conditions_are_heard(data, generator, discriminator):
    g, d = TINY[0].replace(condition=generator), TINY[1].replace(condition=discriminator)
    assert from_json(to_json(g)) == g
    assert from_json(to_json(d)) == d
    G, D = g.build(data, 6).eval(), d.build(data, 6)
    if D.embedding is not None:
        assert not D.embedding.weight.any()
        nn.init.normal_(D.embedding.weight)
    y, z = conditions(data, 4), torch.randn(4, 6)
    x = G(z, y)
    assert not torch.allclose(G(z, y.roll(1, 0)), x)
    assert not torch.allclose(D(x, y.roll(1, 0)), D(x, y))
    torch.testing.assert_close(G.truncated(z, y, 1.0), x)
    for network, first in ((G, z), (D, x)):
        with pytest.raises(RequestError, match=r"this network was built for .*, found None"):
            network(first)


def test_projection_by_its_formula():
    D = TINY[1].build(CLASSES, 6)
    x, y = torch.randn(4, 3, 17, 24), torch.tensor([0, 1, 2, 1])
    plain = D(x, y)
    nn.init.normal_(D.embedding.weight)
    features = D.features(x)
    expected = [plain[i] + D.embedding.weight[y[i]] @ features[i] / features.shape[1] ** 0.5 for i in range(4)]
    torch.testing.assert_close(D(x, y), torch.stack(expected))


@pytest.mark.parametrize("data", [PLAIN, CLASSES], ids=["plain", "classes"])
def test_parts_of_a_batch_are_the_rows_of_the_whole(data):
    """Mixing and noise are those of the whole batch, however it is divided."""
    G = loud(TINY[0].build(data, 6)).double()
    y, z = conditions(data, 6), torch.randn(6, 6, dtype=torch.float64)
    torch.manual_seed(5)
    whole = G(z, y)
    parts = []
    for start, stop in ((0, 2), (2, 6)):
        torch.manual_seed(5)
        with Whole(Rows(start, stop, 6)):
            parts.append(G(z[start:stop], None if y is None else y[start:stop]))
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-10, atol=1e-10)


def test_bfloat16_autocast_is_near_float32():
    G, D = (spec.build(CLASSES, 6).to(memory_format=torch.channels_last) for spec in TINY)
    G.eval()
    y, z = conditions(CLASSES, 4), torch.randn(4, 6)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            x = G(z, y).float().detach().requires_grad_()
            (slope,) = torch.autograd.grad(D(x, y).float().sum(), x, create_graph=True)
        penalty = slope.square().sum((1, 2, 3))
        penalty.sum().backward()
        found.append((x.detach(), penalty.detach()))
    for exact, rounded in zip(*found, strict=True):
        torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.05)


def test_can_be_traced_for_export():
    G = TINY[0].build(CLASSES, 6).eval()
    arguments = torch.randn(2, 6), torch.tensor([0, 2])
    torch.testing.assert_close(torch.export.export(G, arguments).module()(*arguments), G(*arguments))


@pytest.mark.parametrize("spec", TINY)
def test_what_cannot_be_built_is_refused(spec):
    with pytest.raises(RequestError, match=r"expected images of at least 8×8 pixels, found tiny of shape \(1, 7, 28\)"):
        spec.build(DataSpec(name="tiny", shape=(1, 7, 28)), 4)
    with pytest.raises(RequestError, match="width and max_width must be at least 1, found 0 and 512"):
        spec.replace(width=0).build(PLAIN, 4)
    with pytest.raises(RequestError, match=r"takes conditions at layers 0 to \d, found \(9,\)"):
        spec.replace(condition=Concatenation(layers=(9,))).build(CLASSES, 4)


@pytest.mark.parametrize("wrong", [{"style": 0}, {"depth": 0}, {"mixing": 1.5}])
def test_out_of_range_is_refused(wrong):
    with pytest.raises(RequestError, match=r"expected style >= 1, depth >= 1 and mixing in \[0, 1\], found"):
        StyleGAN2Generator(**wrong).build(PLAIN, 4)
