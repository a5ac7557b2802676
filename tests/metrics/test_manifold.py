from typing import Any

import pytest
import torch
from prdc import compute_prdc
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.manifold import (
    DensityCoverage,
    PrecisionRecall,
    coverage_by_chance,
    density_coverage,
    precision_recall,
)
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import summarise


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measured(x: Tensor) -> Measured:
    return Measured(summarise(x), torch.empty(0), x, torch.empty(len(x), 0))


@pytest.mark.filterwarnings("ignore")  # of the package's own
@pytest.mark.parametrize(("d", "shift", "scale", "k"), [(2, 0.5, 1.0, 3), (8, 0.0, 0.8, 5), (64, 0.1, 1.1, 5)])
def test_agrees_with_prdc(d: int, shift: float, scale: float, k: int) -> None:
    fake, real = draw(0, 350, d) * scale + shift, draw(1, 420, d)
    expected = compute_prdc(real.double().numpy(), fake.double().numpy(), k)
    (precision, recall), (density, coverage) = precision_recall(fake, real, k), density_coverage(fake, real, k)
    found = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
    assert {name: interval.value for name, interval in found.items()} == pytest.approx(expected, abs=1e-9)
    assert 0.05 < precision.value < 1
    assert precision.value != recall.value


@pytest.mark.filterwarnings("ignore")  # of the package's own
def test_agrees_with_torch_fidelity(fidelity: Any) -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    fake, real = draw(0, 500, 16) * 0.9, draw(1, 600, 16)
    expected = prc_features_to_metric(fake, real, prc_neighborhood=3, prc_batch_size=200, save_cpu_ram=True, verbose=0)
    precision, recall = precision_recall(fake, real)
    assert precision.value == pytest.approx(expected["precision"], abs=1e-6)
    assert recall.value == pytest.approx(expected["recall"], abs=1e-6)


def test_sets_apart() -> None:
    fake, real = draw(0, 100, 3), draw(1, 120, 3) + 100
    assert [found.value for found in (*precision_recall(fake, real), *density_coverage(fake, real))] == [0, 0, 0, 0]


def test_copies_of_the_reference() -> None:
    """Each real ball holds its centre and k − 1 others strictly, so density is 1 exactly, whatever the features."""
    real = torch.rand(400, 4, generator=torch.Generator().manual_seed(0)) ** 3
    fake = real[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
    density, coverage = density_coverage(fake, real)
    assert density.value == pytest.approx(1, rel=1e-14)
    assert coverage.value == 1
    assert [found.value for found in precision_recall(fake, real)] == [1, 1]


def test_the_surface_counts_for_precision_and_not_for_coverage() -> None:
    """On a line of even steps a ball with k = 2 ends at both neighbours."""
    real = torch.arange(10.0)[:, None]
    inner = torch.tensor([[11.0], [12.0], [13.0], [14.0], [15.0], [16.0]])
    assert precision_recall(inner, real, k=2)[0].value == 1 / 6  # 11 is 2 beyond the last, whose second neighbour is 7
    assert density_coverage(inner, real, k=2)[1].value == 0


def test_one_distribution() -> None:
    """Density 1 and coverage .96887 for 2,000 and 2,000, whatever the dimension."""
    assert coverage_by_chance(2000, 2000) == pytest.approx(0.96887, abs=5e-6)
    assert coverage_by_chance(100, 1000, 1) == pytest.approx(100 / 1099)
    for d, num_fake in ((2, 500), (16, 200)):
        pairs = [(draw(2 * i, num_fake, d), draw(2 * i + 1, 500, d)) for i in range(12)]
        found = torch.tensor([[v.value for v in density_coverage(fake, real)] for fake, real in pairs])
        error = found.std(0) / 12**0.5
        expected = torch.tensor([1, coverage_by_chance(num_fake, 500)])
        assert (error < torch.tensor([0.05, 0.01])).all()
        assert ((found.mean(0) - expected).abs() < 3.5 * error).all()


def test_half_the_modes() -> None:
    """Fakes that sit on half of the reference: all precise, half of it recalled and covered; and the other way."""
    generator = torch.Generator().manual_seed(0)
    modes = torch.randint(0, 2, (800, 1), generator=generator) * 50.0
    both, one = draw(1, 800, 3) + modes, draw(2, 800, 3)
    share = (modes == 0).double().mean().item()
    precision, recall = precision_recall(one, both)
    assert precision.value > 0.9
    assert recall.value == pytest.approx(share, abs=0.05)
    assert density_coverage(one, both)[1].value == pytest.approx(share, abs=0.05)
    precision, recall = precision_recall(both, one)
    assert precision.value == pytest.approx(share, abs=0.05)
    assert recall.value > 0.9


def test_intervals() -> None:
    fake, real = draw(0, 300, 8), draw(1, 500, 8)
    setting = Setting(None)  # type: ignore[arg-type]
    values = PrecisionRecall().measure(measured(fake), measured(real), setting)
    values |= DensityCoverage().measure(measured(fake), measured(real), setting)
    names = ("precision", "recall", "density", "coverage")
    assert values.keys() == {f"{n}{end}" for n in names for end in ("", "_low", "_high")} | {"coverage_real"}
    for name in names:
        assert values[f"{name}_low"] < values[name] < values[f"{name}_high"]
    p = values["precision"]
    assert values["precision_high"] - values["precision_low"] == pytest.approx(
        2 * 1.96 * (p * (1 - p) / 300) ** 0.5, rel=0.02
    )
    c = values["coverage"]
    assert values["coverage_high"] - values["coverage_low"] == pytest.approx(
        2 * 1.96 * (c * (1 - c) / 500) ** 0.5, rel=0.02
    )
    inside = (
        torch.cdist(fake.double(), real.double()) < torch.cdist(real.double(), real.double()).kthvalue(6).values
    ).sum(1) / 5
    half = 1.968 * inside.std().item() / 300**0.5
    assert values["density_high"] - values["density"] == pytest.approx(half, rel=1e-3)
    assert values["coverage_real"] == coverage_by_chance(300, 500)


def test_what_is_refused() -> None:
    x = draw(0, 5, 2)
    with pytest.raises(RequestError, match="5 nearest neighbours need at least 6 samples, found 5"):
        density_coverage(draw(1, 50, 2), x)
    with pytest.raises(RequestError, match="not finite"):
        precision_recall(x, x * torch.nan)
    assert DensityCoverage.fewest == 6
    assert PrecisionRecall.fewest == 4
    assert precision_recall(x[:4], x[:4])[0].value == 1
