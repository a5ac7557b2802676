from __future__ import annotations

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.constraints import WeightClipping

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


def test_through_json_and_back() -> None:
    for constraint in (WeightClipping(bound=0.1, player="generator"),):
        assert from_json(to_json(constraint)) == constraint


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_out_of_range_is_refused(bound: float) -> None:
    with pytest.raises(RequestError, match="WeightClipping: expected a bound above 0"):
        WeightClipping(bound=bound)
