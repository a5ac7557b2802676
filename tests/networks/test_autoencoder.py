from __future__ import annotations

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.objectives import EBGAN
from sparring.networks.autoencoder import AutoencoderDiscriminator

SHAPES = [(1, 28, 28), (3, 8, 8), (3, 17, 23), (2, 24, 40), (1, 5, 5), (2,), (30,)]


def data_of(shape: tuple[int, ...], num_classes: int = 0) -> DataSpec:
    return DataSpec(name="test", shape=shape, num_classes=num_classes)


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_builds_and_every_weight_learns(shape: tuple[int, ...], num_classes: int) -> None:
    torch.manual_seed(0)
    data, spec = data_of(shape, num_classes), AutoencoderDiscriminator(width=4, max_width=8, code=5)
    assert from_json(to_json(spec)) == spec
    net = spec.build(data, 3)
    EBGAN().check(data, net)
    x, y = torch.randn(4, *shape), torch.arange(4) % 3 if num_classes else None
    assert net.reconstruct(x, y).shape == x.shape
    logits = net(x, y)
    assert logits.shape == (4,)
    assert (logits <= 0).all()
    logits.sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("power", [1, 2])
def test_the_logit_is_minus_the_mean_error_of_the_reconstruction(power: int) -> None:
    net = AutoencoderDiscriminator(power=power).build(data_of((3, 9, 8)), 3).double()
    x = torch.randn(5, 3, 9, 8, dtype=torch.float64)
    again = net.reconstruct(x)
    expected = torch.stack([-((a - b).abs() ** power).sum() / 216 for a, b in zip(x, again, strict=True)])
    torch.testing.assert_close(net(x), expected)
    torch.testing.assert_close(net(x[2:3]), expected[2:3])  # alone as in company: it says that it is `per_sample`
    assert net.per_sample


@pytest.mark.parametrize("shape", [(1, 8, 9), (6,)])
def test_second_derivatives(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = AutoencoderDiscriminator(width=2, max_width=4, code=3).build(data_of(shape), 3).double()
    x = torch.randn(2, *shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(net, (x,), fast_mode=True)


def test_labels_are_heard_and_asked_for() -> None:
    net = AutoencoderDiscriminator().build(data_of((1, 8, 8), 3), 3)
    x = torch.randn(4, 1, 8, 8)
    assert not torch.allclose(net(x, torch.tensor([0, 1, 2, 0])), net(x, torch.tensor([1, 2, 0, 1])))
    with pytest.raises(RequestError, match="expected labels"):
        net(x)


@pytest.mark.parametrize("y_shape", [(4,), (1, 8, 8)])
def test_any_condition_stands_beside_the_code(y_shape: tuple[int, ...]) -> None:
    data = DataSpec(name="test", shape=(1, 8, 8), y_shape=y_shape)
    net = AutoencoderDiscriminator(width=4, code=5).build(data, 3)
    x, y = torch.randn(3, 1, 8, 8), torch.randn(3, *y_shape)
    assert net(x, y).shape == (3,)
    assert not torch.allclose(net(x, y), net(x, y + 1))


def test_it_learns_to_tell_what_it_was_trained_on() -> None:
    """Trained on vectors along one line, with a code of one number: energy is low there, and high beside it."""
    torch.manual_seed(0)
    net = AutoencoderDiscriminator(max_width=16, code=1).build(data_of((4,)), 3)
    line = torch.tensor([0.5, -0.5, 0.5, 0.5])
    parameters = list(net.parameters())
    x = torch.linspace(-1, 1, 64)[:, None] * line
    for _ in range(300):
        gradients = torch.autograd.grad(-net(x).mean(), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.3 * gradient
    beside = torch.linspace(-1, 1, 64)[:, None] * torch.tensor([0.5, 0.5, 0.5, -0.5])
    with torch.no_grad():
        low, high = -net(x).mean(), -net(beside).mean()
    assert float(low) < 0.005
    assert float(high) > 0.05


@pytest.mark.parametrize("wrong", [{"width": 0}, {"max_width": 0}, {"code": 0}, {"power": 3}])
def test_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="AutoencoderDiscriminator"):
        AutoencoderDiscriminator(**wrong)
