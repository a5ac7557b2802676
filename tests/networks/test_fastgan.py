"""FastGAN: its plan of grids, gates, noise, what decoders make, the penalty that teaches them, conditions."""

import pytest
import torch
from torch import nn
from torch.autograd import gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.exchange import Rows, Seen
from sparring.core.game import Critic
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.penalties.self_reconstruction import SelfReconstruction
from sparring.games.show import DiffAugment
from sparring.networks.condition import Concatenation, Embedding, Projection
from sparring.networks.fastgan import FastGANDiscriminator, FastGANGenerator, Gate, quarter
from sparring.train.rows import Whole

TINY = FastGANGenerator(width=2), FastGANDiscriminator(width=2, decoders=True)
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


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("size", "coarsest", "last", "gates"),
    [  # by hand: gates for every grid that is `jump` doublings from a coarser one
        ((28, 28), (7, 7), (7, 7), 1),
        ((32, 32), (4, 4), (4, 4), 1),
        ((8, 8), (4, 4), (4, 4), 1),
        ((17, 23), (5, 6), (4, 5), 1),
        ((128, 128), (4, 4), (4, 4), 2),
        ((256, 300), (4, 5), (4, 4), 3),
    ],
    ids=str,
)
def test_grids_and_every_weight_learns(size, coarsest, last, gates, channels):
    data = DataSpec(name="test", shape=(channels, *size))
    G, D = (spec.build(data, 6) for spec in TINY)
    assert G.coarsest[:2] == coarsest
    assert len(G.gates) == gates
    x = G(torch.randn(5, 6))
    assert x.shape == (5, *data.shape)
    assert x.abs().max() <= 1
    assert D.grids(x)[-1].shape[2:] == last
    logits = D(x)
    assert logits.shape == (5,)
    again = D.reconstruction(x)
    assert again.shape == (5,)
    (logits.sum() + again.sum()).backward()
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_gate_by_its_equation():
    gate = Gate(3, 5)
    low, high = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 16, 12)
    hidden = low.flatten(1) @ gate.squeeze.weight.flatten(1).t()
    hidden = torch.where(hidden > 0, hidden, 0.1 * hidden)
    gates = torch.sigmoid(hidden @ gate.excite.weight[:, :, 0, 0].t())
    torch.testing.assert_close(gate(low, high), high * gates[:, :, None, None])


@pytest.mark.parametrize("size", [(4, 4), (5, 7)], ids=str)
def test_quarters(size):
    h, w = size
    x = torch.arange(4.0 * h * w).view(4, 1, h, w)
    found = quarter(x, torch.arange(4))
    assert torch.equal(found[0], x[0, :, : h // 2, : w // 2])
    assert torch.equal(found[1], x[1, :, : h // 2, w - w // 2 :])
    assert torch.equal(found[2], x[2, :, h - h // 2 :, : w // 2])
    assert torch.equal(found[3], x[3, :, h - h // 2 :, w - w // 2 :])


@pytest.mark.parametrize("size", [8, 32])
def test_reconstruction_is_the_distance_to_what_decoders_make(size):
    """Decoders that always make one colour: the distance to the image is known by hand."""
    D = FastGANDiscriminator(width=2, decoders=True).build(DataSpec(name="test", shape=(1, size, size)), 4)
    for decoder, level in ((D.whole, 0.5), (D.part, -0.25)):
        nn.init.zeros_(decoder.to_image.weight)
        nn.init.constant_(decoder.to_image.bias, torch.atanh(torch.tensor(level)))
    x = torch.full((4, 1, size, size), 0.75)
    torch.testing.assert_close(D.reconstruction(x), torch.full((4,), 0.25 + 1.0))


def test_decoders_learn_the_right_quarter():
    """Trained on images of four grey quarters, the decoders tell them apart; with another corner they would not."""
    D = FastGANDiscriminator(width=8, decoders=True).build(DataSpec(name="test", shape=(1, 16, 16)), 4)
    optimizer = torch.optim.Adam(D.parameters(), lr=0.01)
    for _ in range(60):
        x = (torch.rand(16, 1, 2, 2) * 1.6 - 0.8).repeat_interleave(8, 2).repeat_interleave(8, 3)
        loss = D.reconstruction(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.3, "guessing the mean is about .8"


def test_the_penalty_is_the_reconstruction_of_what_is_shown():
    D = TINY[1].build(CLASSES, 6)
    x, y = torch.rand(4, 3, 17, 24) * 2 - 1, torch.tensor([0, 1, 2, 1])
    real = Seen(x.clone().requires_grad_(), y, torch.empty(0))
    critic = Critic(D, (DiffAugment(),))
    part = SelfReconstruction(weight=3.0)
    part.check(CLASSES, D)
    torch.manual_seed(4)
    found = part(critic, real, real)
    torch.manual_seed(4)
    expected = 3 * D.reconstruction(DiffAugment()(x, y)[0])
    torch.testing.assert_close(found, expected)
    assert found.shape == (4,)
    with pytest.raises(RequestError, match=r"SelfReconstruction: the discriminator has no decoders; take FastGAN"):
        part.check(CLASSES, FastGANDiscriminator().build(CLASSES, 6))


@pytest.mark.parametrize("data", [PLAIN, CLASSES], ids=["plain", "classes"])
def test_second_derivatives(data):
    data = data.replace(shape=(1, 9, 8))
    G, D = (spec.build(data, 4).double() for spec in TINY)
    G, D = G.eval(), D.eval()
    y, z = conditions(data, 2), torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    x = G(z, y).detach().requires_grad_()
    assert x.dtype is torch.float64
    assert gradgradcheck(lambda z: G(z, y), (z,))
    assert gradgradcheck(lambda x: D(x, y), (x,))


def test_a_sample_is_a_function_of_z_in_evaluation():
    G = TINY[0].build(PLAIN, 6)
    with torch.no_grad():
        for up in G.ups:
            up.noise.strength.fill_(0.5)
    z = torch.randn(4, 6)
    assert not torch.equal(G(z), G(z))
    G.eval()
    assert torch.equal(G(z), G(z))
    torch.testing.assert_close(G(z)[1:3], G(z[1:3]))


def test_parts_of_a_batch_draw_the_rows_of_the_whole():
    """Quarters, with statistics of normalisation that are not of the batch."""
    D = TINY[1].build(PLAIN, 6).double().eval()
    x = torch.rand(6, *PLAIN.shape, dtype=torch.float64)
    torch.manual_seed(5)
    whole = D.reconstruction(x)
    parts = []
    for start, stop in ((0, 2), (2, 6)):
        torch.manual_seed(5)
        with Whole(Rows(start, stop, 6)):
            parts.append(D.reconstruction(x[start:stop]))
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize(
    ("data", "generator", "discriminator"),
    [
        (CLASSES, None, None),
        (VECTORS, None, None),
        (IMAGES, None, None),
        (CLASSES, Embedding(dim=3), Projection()),
        (CLASSES, Concatenation(layers=(0, 2)), Concatenation(layers=(0, 1))),
        (IMAGES, Concatenation(layers=(2, 3)), Concatenation(layers=(1,))),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_conditions_are_heard(data, generator, discriminator):
    g, d = TINY[0].replace(condition=generator), TINY[1].replace(condition=discriminator)
    assert from_json(to_json(g)) == g
    assert from_json(to_json(d)) == d
    G, D = g.build(data, 6).eval(), d.build(data, 6).eval()
    if D.embedding is not None:
        assert not D.embedding.weight.any()
        nn.init.normal_(D.embedding.weight)
    y, z = conditions(data, 4), torch.randn(4, 6)
    x = G(z, y)
    assert not torch.equal(G(z, y.roll(1, 0)), x)
    assert not torch.equal(D(x, y.roll(1, 0)), D(x, y))
    assert D.reconstruction(x, y).shape == (4,)
    for network, first in ((G, z), (D, x)):
        with pytest.raises(RequestError, match=r"this network was built for .*, found None"):
            network(first)


def test_projection_by_its_formula():
    D = TINY[1].build(CLASSES, 6).eval()
    x, y = torch.randn(4, 3, 17, 24), torch.tensor([0, 1, 2, 1])
    plain = D(x, y)
    nn.init.normal_(D.embedding.weight)
    features = nn.functional.leaky_relu(D.norm(D.mix(D.grids(x)[-1])), 0.2).mean((2, 3))
    torch.testing.assert_close(D(x, y), plain + (D.embedding.weight[y] * features).sum(1))


def test_can_be_traced_for_export():
    G = TINY[0].build(PLAIN.replace(shape=(1, 8, 9)), 6).eval()
    z = torch.randn(2, 6)
    torch.testing.assert_close(torch.export.export(G, (z,)).module()(z), G(z))


def test_bfloat16_autocast_is_near_float32():
    G, D = (spec.build(CLASSES, 6).to(memory_format=torch.channels_last).eval() for spec in TINY)
    y, z = conditions(CLASSES, 4), torch.randn(4, 6)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            x = G(z, y).float()
            torch.manual_seed(0)
            found.append((x, D(x, y).float(), D.reconstruction(x, y).float()))
    for exact, rounded in zip(*found, strict=True):
        torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("spec", TINY)
def test_what_cannot_be_built_is_refused(spec):
    with pytest.raises(RequestError, match=r"expected images of at least 8×8 pixels, found tiny of shape \(1, 7, 28\)"):
        spec.build(DataSpec(name="tiny", shape=(1, 7, 28)), 4)
    with pytest.raises(RequestError, match="width and max_width must be at least 1, found 0 and 512"):
        spec.replace(width=0).build(PLAIN, 4)
    with pytest.raises(RequestError, match=r"takes conditions at layers 0 to \d, found \(9,\)"):
        spec.replace(condition=Concatenation(layers=(9,))).build(CLASSES, 4)
