from __future__ import annotations

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.constraints import GradientNorm, GradientValue, WeightClipping

DATA = DataSpec(name="test", shape=(3,))
BOTH = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", BOTH)
def test_weight_clipping_leaves_what_is_within_the_bound(dtype: torch.dtype) -> None:
    first, second = torch.tensor([-1.0, -0.02, 0.01, 3.0], dtype=dtype), torch.tensor([[0.5]], dtype=dtype)
    WeightClipping(bound=0.02).project([first, second])
    torch.testing.assert_close(first, torch.tensor([-0.02, -0.02, 0.01, 0.02], dtype=dtype))
    torch.testing.assert_close(second, torch.tensor([[0.02]], dtype=dtype))


def test_weight_clipping_lets_gradients_be() -> None:
    gradient = torch.tensor([5.0, -5.0])
    WeightClipping().limit([gradient])
    assert gradient.tolist() == [5, -5]


@pytest.mark.parametrize(
    "computed",
    [
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        pytest.param(nn.utils.spectral_norm, marks=pytest.mark.filterwarnings("ignore::FutureWarning")),
    ],
)
def test_weight_clipping_refuses_weights_that_are_computed(computed: object) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 1))
    WeightClipping().check(DATA, net)
    computed(net[2])  # type: ignore[operator]
    with pytest.raises(RequestError, match=r"WeightClipping: the weights of 2 in the discriminator.*take one of the"):
        WeightClipping().check(DATA, net)


@pytest.mark.parametrize("dtype", BOTH)
def test_gradients_are_shortened_together(dtype: torch.dtype) -> None:
    """(3, 0) and (0, 4) are a gradient of length 5."""
    first, second = torch.tensor([3.0, 0.0], dtype=dtype), torch.tensor([[0.0], [4.0]], dtype=dtype)
    GradientNorm(most=5.5).limit([first, second])
    assert (first.tolist(), second.tolist()) == ([3, 0], [[0], [4]])
    GradientNorm(most=1.0).limit([first, second])
    torch.testing.assert_close(first, torch.tensor([0.6, 0.0], dtype=dtype))
    torch.testing.assert_close(second, torch.tensor([[0.0], [0.8]], dtype=dtype))


def test_against_torch_s_own_clipping() -> None:
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), ())]
    for clip, constraint in (
        (lambda: nn.utils.clip_grad_norm_(parameters, 0.7), GradientNorm(most=0.7)),
        (lambda: nn.utils.clip_grad_value_(parameters, 0.7), GradientValue(most=0.7)),
    ):
        gradients = [torch.randn(p.shape) for p in parameters]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        clip()
        constraint.limit(gradients)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-5, atol=1e-6)


def test_no_gradient_stays_none() -> None:
    zeros = [torch.zeros(3), torch.zeros(2, 2)]
    GradientNorm().limit(zeros)
    assert not any(zero.any() for zero in zeros)


@pytest.mark.parametrize("constraint", [GradientNorm(), GradientValue()], ids=repr)
def test_clipping_gradients_lets_weights_be(constraint: GradientNorm | GradientValue) -> None:
    weight = torch.tensor([5.0, -5.0])
    constraint.project([weight])
    assert weight.tolist() == [5, -5]


def test_through_json_and_back() -> None:
    for constraint in (WeightClipping(bound=0.1, player="generator"), GradientNorm(most=2.0), GradientValue(most=3.0)):
        assert from_json(to_json(constraint)) == constraint


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(RequestError, match="WeightClipping: expected a bound above 0"):
        WeightClipping(bound=value)
    with pytest.raises(RequestError, match="GradientNorm: expected most > 0"):
        GradientNorm(most=value)
    with pytest.raises(RequestError, match="GradientValue: expected most > 0"):
        GradientValue(most=value)
