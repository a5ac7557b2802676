from __future__ import annotations

import resource
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.sized import no_larger_than


class Nothing(nn.Module):
    """A layer with a parameter that holds no number."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.empty(0))


def test_networks_that_fit_are_made_as_they_are_without() -> None:
    def build() -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2, bias=False))

    with no_larger_than(3 * 5 + 5 + 5 + 5 + 5 * 2):
        net = build()
    for name, tensor in build().state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor)
    with pytest.raises(RequestError, match="more than 39 numbers"), no_larger_than(39):
        build()


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: nn.Linear(3, 5), "more than 19 numbers"),
        (lambda: nn.Linear(10**5, 10**4), "more than 19 numbers"),
        (lambda: nn.Conv2d(10**4, 10**4, 3), "more than 19 numbers"),
        (lambda: nn.Embedding(10**9, 1), "more than 19 numbers"),
        (lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(10**8))), "more than 19 numbers"),
        (lambda: nn.ModuleList(Nothing() for _ in range(10**8)), "10,000 tensors"),
        (lambda: nn.Linear(10**8, 10**8), "cannot be made: |more than 19 numbers"),
        (lambda: nn.Linear(2**40, 2**40), "cannot be made: "),
    ],
    ids=range(8),
)
def test_what_is_larger_is_refused_at_once(build: Callable[[], nn.Module], said: str) -> None:
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RequestError, match=said) as error, no_larger_than(19):
        build()
    assert "\n" not in str(error.value)
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_afterwards_nothing_is_counted() -> None:
    with no_larger_than(19):
        pass
    assert nn.Linear(10, 10).weight.numel() == 100
