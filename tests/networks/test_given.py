"""A user's own modules as players."""

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.networks.given import GivenDiscriminator, GivenGenerator

PLAIN = DataSpec(name="test", shape=(1, 4, 4))
LABELLED = DataSpec(name="test", shape=(1, 4, 4), num_classes=3)
IMAGES = DataSpec(name="test", shape=(1, 4, 4), y_shape=(3, 2, 2))


class WithLabels(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear, self.embedding = nn.Linear(inputs, outputs), nn.Embedding(3, outputs)

    def forward(self, x, y):
        return self.linear(x.flatten(1)) + (0 if y is None else self.embedding(y))


class Optional(WithLabels):
    def forward(self, x, y=None):
        return super().forward(x, y)


class Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.function(self.weight * x.flatten(1))


def test_modules_without_labels():
    z = torch.randn(5, 6)
    own = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4)))
    G = GivenGenerator(own).build(PLAIN, 6)
    assert torch.equal(G(z, None), own(z))
    own = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    D = GivenDiscriminator(own).build(PLAIN, 6)
    x = G(z)
    assert torch.equal(D(x), own(x)[:, 0])


def test_a_flat_output_becomes_an_image():
    own = nn.Linear(6, 16)
    z = torch.randn(5, 6)
    assert torch.equal(GivenGenerator(own).build(PLAIN, 6)(z), own(z).view(5, 1, 4, 4))


@pytest.mark.parametrize("kind", [WithLabels, Optional])
def test_modules_with_labels(kind):
    z, x, y = torch.randn(5, 6), torch.randn(5, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1])
    own = kind(6, 16)
    G = GivenGenerator(own)
    assert torch.equal(G.build(LABELLED, 6)(z, y), own(z, y).view(5, 1, 4, 4))
    assert torch.equal(G.build(PLAIN, 6)(z), own(z, None).view(5, 1, 4, 4))
    own = kind(16, 1)
    assert torch.equal(GivenDiscriminator(own).build(LABELLED, 6)(x, y), own(x, y)[:, 0])


def test_modules_with_conditions():
    z, x, y = torch.randn(5, 6), torch.randn(5, 1, 4, 4), torch.randn(5, 2)
    data = DataSpec(name="test", shape=(1, 4, 4), y_shape=(2,))

    class Bilinear(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.bilinear = nn.Bilinear(inputs, 2, outputs)

        def forward(self, x, y):
            return self.bilinear(x.flatten(1), y)

    G, D = Bilinear(6, 16), Bilinear(16, 1)
    assert torch.equal(GivenGenerator(G).build(data, 6)(z, y), G(z, y).view(5, 1, 4, 4))
    assert torch.equal(GivenDiscriminator(D).build(data, 6)(x, y), D(x, y)[:, 0])


class TellsClasses(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear = nn.Linear(16, 1 + num_classes)

    def forward_with_classes(self, x):
        out = self.linear(x.flatten(1))
        return out[:, :1], out[:, 1:]

    def forward(self, x):
        return self.forward_with_classes(x)[0]


def test_modules_that_tell_classes_need_not_take_them():
    own, x = TellsClasses(3), torch.randn(5, 1, 4, 4)
    D = GivenDiscriminator(own).build(LABELLED, 6)
    logits, classes = D.forward_with_classes(x)
    assert torch.equal(logits, own(x)[:, 0])
    assert torch.equal(classes, own.forward_with_classes(x)[1])
    assert torch.equal(D(x, torch.arange(5) % 3), logits)
    plain = GivenDiscriminator(nn.Sequential(nn.Flatten(), nn.Linear(16, 1))).build(PLAIN, 6)
    assert not hasattr(plain, "forward_with_classes")


def test_the_module_itself_is_trained():
    own = nn.Linear(6, 16)
    G = GivenGenerator(own).build(PLAIN, 6)
    assert {id(p) for p in G.parameters()} == {id(p) for p in own.parameters()}


def test_building_leaves_the_module_and_the_random_state_as_they_were():
    own = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), Returns(lambda x: x + torch.rand(16)))
    own[2].eval()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    modes, random = [m.training for m in own.modules()], torch.get_rng_state()
    GivenGenerator(own).build(PLAIN, 6)
    assert all(torch.equal(v, before[k]) for k, v in own.state_dict().items())
    assert [m.training for m in own.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in own.parameters())


def test_float64_modules():
    own = nn.Linear(6, 16).double()
    assert GivenGenerator(own).build(PLAIN, 6)(torch.randn(2, 6).double()).dtype is torch.float64


def test_a_sigmoid_inside_is_no_matter():
    own = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Sigmoid(), nn.Linear(8, 1))
    assert GivenDiscriminator(own).build(PLAIN, 6)(torch.randn(3, 1, 4, 4)).shape == (3,)


@pytest.mark.parametrize(
    "end", [nn.Sigmoid(), Returns(lambda x: torch.sigmoid(x)[:, 0]), Returns(lambda x: torch.sigmoid(x).view(-1))]
)
def test_a_sigmoid_at_the_end_of_a_discriminator_is_refused(end):
    own = nn.Sequential(nn.Flatten(), nn.Linear(16, 1), end)
    with pytest.raises(RequestError, match="ends in a sigmoid: losses work on logits, remove the sigmoid"):
        GivenDiscriminator(own).build(PLAIN, 6)


def test_a_frozen_module_that_ends_in_a_sigmoid_is_refused_too():
    own = nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Sigmoid()).requires_grad_(False)
    with torch.no_grad(), pytest.raises(RequestError, match="ends in a sigmoid"):
        GivenDiscriminator(own).build(PLAIN, 6)


def test_a_sigmoid_at_the_end_of_a_generator_is_refused():
    own = nn.Sequential(nn.Linear(6, 16), nn.Sigmoid(), nn.Unflatten(1, (1, 4, 4)))
    with pytest.raises(RequestError, match=r"range is \[0, 1\]: data lie in \[-1, 1\], end it with tanh"):
        GivenGenerator(own).build(PLAIN, 6)


@pytest.mark.parametrize(
    ("make", "data", "message"),
    [
        (lambda: GivenGenerator(nn.Linear(6, 9)), PLAIN, "expected x of shape (2, 1, 4, 4) from a z of shape (2, 6)"),
        (lambda: GivenGenerator(nn.Linear(7, 16)), PLAIN, "Linear: forward failed on an input of shape (2, 6): mat1"),
        (lambda: GivenGenerator(nn.Linear(6, 16)), LABELLED, "expected forward to take labels y after its input"),
        (lambda: GivenGenerator(nn.Linear(6, 16)), IMAGES, "as test has conditions of shape [3, 2, 2], found (input"),
        (lambda: GivenDiscriminator(TellsClasses(4)), LABELLED, "class logits [2, 3], found [2] and [2, 4]"),
        (lambda: GivenDiscriminator(Returns(lambda x: x)), PLAIN, "expected one logit per sample, [2] or [2, 1]"),
        (lambda: GivenDiscriminator(Returns(lambda x: x.mean())), PLAIN, "found []"),
        (lambda: GivenDiscriminator(Returns(lambda x: [x])), PLAIN, "expected forward to return a tensor, found list"),
        (lambda: GivenDiscriminator(nn.Linear), PLAIN, "expected a torch.nn.Module"),
        (lambda: GivenDiscriminator(3), PLAIN, "expected a torch.nn.Module, found 3"),
    ],
)
def test_what_does_not_fit_is_refused(make, data, message):
    with pytest.raises(RequestError) as error:
        make().build(data, 6)
    assert message in str(error.value)


def test_it_is_written_by_name_and_not_read_back():
    written = to_json(GivenGenerator(nn.Linear(6, 16)))
    assert written["module_class"] == "torch.nn.modules.linear.Linear"
    assert "resume from Python with the same module" in written["note"]
    with pytest.raises(RequestError, match=r"'torch.nn.modules.linear.Linear': resume this run from Python"):
        from_json(written)
