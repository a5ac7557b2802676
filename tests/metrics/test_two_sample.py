import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import summarise
from sparring.metrics.two_sample import NearestNeighbour, nearest_neighbour_accuracy


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measured(x: Tensor) -> Measured:
    return Measured(summarise(x), torch.empty(0), x, torch.empty(len(x), 0))


def test_agrees_with_a_classifier_left_one_out() -> None:
    fake, real = draw(0, 60, 3) + 0.7, draw(1, 60, 3)
    y = torch.arange(120) < 60
    model = KNeighborsClassifier(n_neighbors=1)
    called = torch.from_numpy(cross_val_predict(model, torch.cat([fake, real]).numpy(), y.numpy(), cv=LeaveOneOut()))
    accuracy, on_real, on_fake = nearest_neighbour_accuracy(fake, real, 60)
    assert accuracy.value == (called == y).double().mean()
    assert on_real == (~called[60:]).double().mean()
    assert on_fake == called[:60].double().mean()
    assert on_real != on_fake


def test_sets_apart_and_copies() -> None:
    x = draw(0, 100, 4)
    apart, *shares = nearest_neighbour_accuracy(x, draw(1, 100, 4) + 50, 100)
    assert (apart.value, *shares) == (1, 1, 1)
    assert 0.95 < apart.low < apart.high == 1
    copies, *shares = nearest_neighbour_accuracy(x, x, 100)
    assert (copies.value, *shares) == (0, 0, 0)
    assert copies.low == 0 < copies.high < 0.05


@pytest.mark.parametrize("d", [1, 12])
def test_one_distribution(d: int) -> None:
    """(N − 1) / (2N − 1): .4872 for N = 20. And the interval is as wide as the accuracy varies, which independent
    trials are not: by a factor of √(1 + s), s being 2/3 in one dimension."""
    N, rounds = 20, 600
    found = [nearest_neighbour_accuracy(draw(2 * i, N, d), draw(2 * i + 1, N, d), N, seed=i)[0] for i in range(rounds)]
    values = torch.tensor([f.value for f in found])
    assert values.mean().item() == pytest.approx(19 / 39, abs=3 * values.std().item() / rounds**0.5)
    half = torch.tensor([(f.high - f.low) / 2 for f in found]).square().mean().sqrt().item()
    trials = 1.96**2 * (0.25 / half**2) - 1.96**2  # Wilson's half width at one half, solved for the trials
    assert 0.25 / trials == pytest.approx(values.var().item(), rel=0.2)


def test_ties_are_decided_by_chance() -> None:
    """All samples alike: with the first of them chosen, all would be called as it is."""
    alike = torch.zeros(300, 2)
    found = [nearest_neighbour_accuracy(alike, alike, 200, seed=seed)[0].value for seed in range(5)]
    assert all(0.4 < value < 0.6 for value in found)
    few = torch.randint(0, 30, (600, 1), generator=torch.Generator().manual_seed(0)).float()
    _, on_real, on_fake = nearest_neighbour_accuracy(few[:300], few[300:], 300)
    assert abs(on_real - on_fake) < 0.25


def test_equal_numbers_spread_over_both_sets() -> None:
    fake, real = draw(0, 400, 2).sort(0).values, draw(1, 90, 2)
    values = NearestNeighbour().measure(measured(fake), measured(real), Setting(None, seed=3))  # type: ignore[arg-type]
    assert values.keys() == {f"nn_accuracy{end}" for end in ("", "_low", "_high", "_real", "_fake")}
    assert values["nn_accuracy"] == pytest.approx((values["nn_accuracy_real"] + values["nn_accuracy_fake"]) / 2)
    assert values["nn_accuracy_real"] * 90 == pytest.approx(round(values["nn_accuracy_real"] * 90))
    assert values["nn_accuracy"] == nearest_neighbour_accuracy(fake, real, 90, seed=3)[0].value
    found = NearestNeighbour(most=50).measure(measured(fake), measured(real), Setting(None))  # type: ignore[arg-type]
    assert found["nn_accuracy"] * 100 == pytest.approx(round(found["nn_accuracy"] * 100))
    ordered = draw(2, 4000, 1).sort(0).values
    accuracy = nearest_neighbour_accuracy(ordered, draw(3, 500, 1), 500)[0]
    assert accuracy.low < 0.5 < accuracy.high  # the first 500 of them would lie apart
    assert NearestNeighbour.better == {}


def test_what_is_refused() -> None:
    x = draw(0, 5, 2)
    for num in (1, 6):
        with pytest.raises(RequestError, match=f"expected num from 2 to 5, .* found {num}"):
            nearest_neighbour_accuracy(x, draw(1, 9, 2), num)
    with pytest.raises(RequestError, match="not finite"):
        nearest_neighbour_accuracy(x, x * torch.nan, 5)
