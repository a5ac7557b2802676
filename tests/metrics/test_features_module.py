from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.metrics.features import FeatureNetwork, load, wrap
from sparring.metrics.features.values import Values

DATA = DataSpec(name="made", shape=(1, 4, 4))
FILE = """
import torch
from torch import nn
from sparring.metrics.features import Digits8

def mean(data):
    return nn.Sequential(nn.AvgPool2d(data.shape[-1]), nn.Flatten())

def drawn(data):
    return nn.Sequential(nn.Flatten(), nn.Linear(data.shape[1] * data.shape[2], 3))

def ready(data):
    return Digits8()

def wrong(data):
    return "a network"

def broken(data):
    raise ValueError("two\\nlines")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_function_s_module_gives_the_features(file: Path, held: Any) -> None:
    x = torch.arange(5 * 3 * 16).reshape(5, 3, 4, 4) / 120 - 1
    network = load(f"{file}:mean", held(x), execute=True)
    features, none = network.classify(x)
    assert torch.allclose(features, x.mean((2, 3)))
    assert none.shape == (5, 0)
    assert (network.name, network.dim, network.num_classes) == ("mine.py:mean", 3, 0)


def test_random_weights_are_drawn_from_one_seed_and_hashed(file: Path, held: Any, tmp_path: Path) -> None:
    source = held(torch.zeros(5, 1, 4, 4))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(load(f"{file}:drawn", source, execute=True))
        assert torch.equal(torch.get_rng_state(), before)
    first, second = found
    assert first.sha256 == second.sha256
    assert torch.equal(first(torch.ones(2, 1, 4, 4)), second(torch.ones(2, 1, 4, 4)))
    (tmp_path / "changed").mkdir()
    changed = tmp_path / "changed" / file.name
    changed.write_text(FILE + "\n# something else\n")
    assert load(f"{changed}:drawn", source, execute=True).sha256 != first.sha256
    assert load(f"{file}:mean", source, execute=True).sha256 != first.sha256


def test_a_file_of_the_same_name_elsewhere_is_another(file: Path, held: Any, tmp_path: Path) -> None:
    source = held(torch.ones(5, 1, 4, 4))
    assert load(f"{file}:mean", source, execute=True)(torch.ones(1, 1, 4, 4)).tolist() == [[1.0]]
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "mine.py"
    other.write_text("from torch import nn\ndef mean(data):\n    return nn.Flatten()\n")
    assert load(f"{other}:mean", source, execute=True).dim == 16


def test_a_file_is_executed_only_where_that_is_asked_for(file: Path, held: Any) -> None:
    file.write_text(FILE + "\nraise AssertionError('executed')\n")
    with pytest.raises(RequestError, match="a file is executed only where the command line names it"):
        load(f"{file}:mean", held(torch.ones(5, 1, 4, 4)))
    with pytest.raises(RequestError, match="AssertionError: executed"):
        load(f"{file}:mean", held(torch.ones(5, 1, 4, 4)), execute=True)


def test_a_feature_network_stays_what_it_is(file: Path, held: Any) -> None:
    network = load(f"{file}:ready", held(torch.zeros(5, 1, 8, 8)), execute=True)
    assert (network.name, network.num_classes) == ("digits8", 10)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("none", "the file defines no function 'none'"),
        ("wrong", r"expected wrong\(data\) to return a torch.nn.Module, found str"),
        ("broken", r"broken\(data\) fails with ValueError: two lines"),
        ("ready", "of 2 samples of zeros, shape 1×4×4, expected features of shape 2×d, found RequestError"),
    ],
)
def test_a_function_that_does_not_fit_says_why_in_one_line(function: str, message: str, file: Path, held: Any) -> None:
    with pytest.raises(RequestError, match=message) as error:
        load(f"{file}:{function}", held(torch.zeros(5, 1, 4, 4)), execute=True)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path, held: Any) -> None:
    with pytest.raises(RequestError, match=r"--features '.*none.py:f': expected FILE.py:FUNCTION of an existing file"):
        load(f"{tmp_path}/none.py:f", held(torch.zeros(5, 1, 4, 4)), execute=True)


class Gives(nn.Module):
    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found

    def forward(self, x: Tensor) -> Any:
        return self.found


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ((torch.zeros(2, 3),), "expected a tensor of features, found tuple"),
        (torch.zeros(2, 3, 1), "expected features of shape 2×d, found 2×3×1"),
        (torch.zeros(3, 3), "expected features of shape 2×d, found 3×3"),
        (torch.zeros(2, 0), "expected features of shape 2×d, found 2×0"),
        (torch.tensor(1.0), "expected features of shape 2×d, found one number"),
        (torch.zeros(2, 3, dtype=torch.int64), "expected floating-point features, found int64"),
        (torch.full((2, 3), float("nan")), "expected finite features, found NaN"),
    ],
)
def test_a_module_is_tried_before_it_is_used(found: Any, message: str) -> None:
    with pytest.raises(RequestError, match=f"features Gives: .*{message}"):
        wrap(Gives(found), DATA)


def test_a_feature_network_must_keep_its_word() -> None:
    class Wrong(Values):
        def __init__(self) -> None:
            super().__init__((1, 4, 4))
            self.dim = 3

    with pytest.raises(RequestError, match="expected as many features as its dim, 3, found 16"):
        wrap(Wrong(), DATA)


def test_a_module_is_wrapped_in_evaluation_mode_and_hashed() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Dropout(0.9)).train()
    network = wrap(module, DATA)
    x = torch.rand(250, 1, 4, 4) * 2 - 1
    assert isinstance(network, FeatureNetwork)
    assert torch.allclose(network(x), module[1](x.flatten(1)), atol=1e-6)
    assert not network(x).requires_grad
    before = network.sha256
    with torch.no_grad():
        module[1].weight[0, 0] += 1
    assert wrap(module, DATA).sha256 != before
    assert wrap(module, DATA, text="a").sha256 != wrap(module, DATA, text="b").sha256


def test_modules_of_other_precision_are_hashed_too() -> None:
    class Coarse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(16, 2, dtype=torch.bfloat16))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).to(torch.bfloat16) @ self.weight

    network = wrap(Coarse(), DATA)
    assert network(torch.ones(3, 1, 4, 4)).tolist() == [[16.0, 16.0]] * 3
    assert network(torch.ones(3, 1, 4, 4)).dtype == torch.float32
