from typing import Any

import pytest
import torch
from torch import Tensor

from sparring.core.protocols import Batch
from sparring.metrics.frechet import FID, frechet_distance
from sparring.metrics.judge import Judge
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.per_class import PerClass, class_accuracies, class_distances
from sparring.metrics.summary import moments, nothing


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_each_class_has_its_own_closed_form() -> None:
    """Fakes are the reals of their class, scaled by s and shifted: ‖Δμ‖² + tr(Σ)(1 − s)², exactly."""
    scales, shifts = torch.tensor([1.0, 0.5, 2.0]).double(), torch.tensor([0.0, 3.0, -1.0]).double()
    y = torch.arange(300) % 3
    real = draw(0, 300, 5) + y[:, None]
    fake = real * scales[y, None] + shifts[y, None]
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    found = class_distances(fake[order], y[order], real, y, 3)
    for k in range(3):
        own = real[y == k]
        moved = own.mean(0) * (scales[k] - 1) + shifts[k]
        expected = moved.square().sum() + own.var(0).sum() * (1 - scales[k]) ** 2
        assert found[k] == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)


def test_many_features_of_few_samples() -> None:
    """The distance in the space that the samples span is that among all features."""
    y = torch.arange(40) % 2
    fake, real = draw(0, 40, 100) + 2, draw(1, 40, 100) * 1.5
    fake[:, 3] = real[:, 3] = 0  # a feature that never fires
    found = class_distances(fake, y, real, y, 2)
    for k in range(2):
        expected = frechet_distance(*moments(fake[y == k]), *moments(real[y == k]))
        assert found[k] == pytest.approx(expected, rel=1e-9)


def test_accuracies() -> None:
    requested, read = torch.tensor([0, 0, 0, 0, 2, 2, 5]), torch.tensor([0, 0, 0, 2, 2, 0, 5])
    assert class_accuracies(requested, read) == {0: 0.75, 2: 0.5, 5: 1.0}


@pytest.fixture(scope="module")
def some(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x, y = digits
    return x[:1000], y[:1000]


def score(judge: Judge, x: Tensor, y: Tensor | None) -> Any:
    def take(start: int, count: int) -> Batch:
        return Batch(x[start : start + count], None if y is None else y[start : start + count])

    return judge.score(take, num_samples=len(x), seed=0)


def test_swapped_labels_are_seen_class_by_class(digits: Any, some: tuple[Tensor, Tensor], held: Any) -> None:
    """The distance over all classes is the same whatever the labels say; those of threes and eights are not."""
    judge = Judge(held(*some, name="digits", levels=256), metrics=(FID(), PerClass()), features="digits8")
    x, y = digits[0][1000:1790], digits[1][1000:1790]
    swapped = torch.where(y == 3, 8, torch.where(y == 8, 3, y))
    right, wrong = score(judge, x, y).values, score(judge, x, swapped).values
    assert right["fid"] == wrong["fid"]
    for k in range(10):
        assert right[f"share_class_{k}"] == wrong[f"share_class_{k}"]
        assert right[f"share_class_{k}"] == pytest.approx((y == k).double().mean().item(), abs=0.005)
        assert right[f"accuracy_class_{k}"] > 0.9
        if k in (3, 8):
            assert wrong[f"accuracy_class_{k}"] < 0.05
            assert wrong[f"fid_class_{k}"] > 5 * right[f"fid_class_{k}"]
        else:
            assert wrong[f"accuracy_class_{k}"] == right[f"accuracy_class_{k}"]
            assert wrong[f"fid_class_{k}"] == right[f"fid_class_{k}"]
    each = [wrong[f"fid_class_{k}"] for k in range(10)]
    assert wrong["fid_class_worst"] == max(each) > right["fid_class_worst"]
    assert wrong["fid_class_mean"] == pytest.approx(sum(each) / 10, rel=1e-12)
    assert judge.better["fid_class_worst"] == judge.better["fid_class_mean"] == "lower"


def test_classes_with_few_samples(digits: Any, some: tuple[Tensor, Tensor], held: Any) -> None:
    """64 features: 64 samples of a class are too few for its covariance, 65 are enough; one sample has none at all."""
    judge = Judge(held(*some, name="digits", levels=256), metrics=(PerClass(),), features="digits8")
    x, y = digits
    index = torch.cat([(y == k).nonzero().flatten()[:n] for k, n in ((0, 65), (1, 64), (2, 2), (3, 1), (5, 100))])
    found = score(judge, x[index], y[index])
    assert [k for k in range(10) if f"fid_class_{k}" in found.values] == [0, 1, 2, 5]
    mean = sum(found.values[f"fid_class_{k}"] for k in (0, 1, 2, 5)) / 4
    assert found.values["fid_class_mean"] == pytest.approx(mean, rel=1e-12)
    assert [k for k in range(10) if f"accuracy_class_{k}" in found.values] == [0, 1, 2, 3, 5]
    assert found.notes == (
        "no distance for classes 3, 4, 6, 7, 8, 9: fewer than 2 samples kept",
        "classes 1, 2: at most 64 samples for 64 features; the covariance is singular and fid_class far too high",
    )
    assert score(judge, x[:90], torch.full((90,), 7)).notes == (
        "no distance for classes 0, 1, 2, 3, 4, 5, 6, 8, 9: fewer than 2 samples kept",
    )


def test_samples_or_a_reference_without_labels(some: tuple[Tensor, Tensor], held: Any) -> None:
    x, y = some
    labelled = Judge(held(x, y, name="digits", levels=256), metrics=(PerClass(),), features="digits8")
    found = score(labelled, x[:90], None)
    assert set(found.values) == {f"share_class_{k}" for k in range(10)}
    assert sum(found.values.values()) == pytest.approx(1)
    assert found.notes == ("no distances per class: the samples have no labels",)
    bare = Judge(held(x, name="digits", levels=256), metrics=(PerClass(),), features="digits8")
    assert score(bare, x[:90], y[:90]).notes == ("no distances per class: the reference has no labels",)


def test_a_network_of_other_classes_tells_no_accuracy(held: Any) -> None:
    x, y = draw(0, 60, 3).float(), torch.arange(60) % 2
    found = score(Judge(held(x, y), metrics=(PerClass(),)), x, y).values
    assert set(found) == {"fid_class_0", "fid_class_1", "fid_class_mean", "fid_class_worst"}
    odd_even = held(torch.rand(60, 1, 8, 8), y, name="digits")
    found = score(Judge(odd_even, metrics=(PerClass(),), features="digits8"), odd_even.x, y).values
    assert "share_class_9" in found
    assert not [name for name in found if name.startswith("accuracy")]


@pytest.mark.parametrize("num_classes", [100, 101])
def test_more_than_a_hundred_classes_are_only_summarised(num_classes: int) -> None:
    y = torch.arange(4 * num_classes) % num_classes
    features = draw(0, len(y), 2)

    class Reader:
        dim = 2

    Reader.num_classes = num_classes
    probabilities = torch.nn.functional.one_hot(y, num_classes).float()
    made = Measured(nothing(2), y.bincount(), features, probabilities, y)
    values = PerClass().measure(made, made, Setting(Reader(), num_classes=num_classes))
    own = {name for name in values if name not in ("fid_class_mean", "fid_class_worst")}
    assert len(own) == (300 if num_classes == 100 else 0)
    assert values["fid_class_mean"] == pytest.approx(0, abs=1e-9)
