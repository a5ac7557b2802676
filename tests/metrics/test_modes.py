import math
from typing import Any

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import Batch
from sparring.core.spec import from_json, to_json
from sparring.metrics.judge import Judge
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.modes import (
    Classes,
    Mixture,
    Modes,
    class_shares,
    confident_share,
    kl_divergence,
    kl_floor,
    kl_interval,
    label_accuracy,
    mixture_counts,
    num_covered,
)
from sparring.metrics.summary import nothing

RING = tuple((math.cos(2 * math.pi * k / 8), math.sin(2 * math.pi * k / 8)) for k in range(8))
GRID = tuple((float(a), float(b)) for a in range(-4, 5, 2) for b in range(-4, 5, 2))


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixture(centres: tuple[tuple[float, ...], ...], sigma: float, num: int, seed: int = 0) -> Tensor:
    """Samples [num, d] of the mixture itself."""
    middle = torch.tensor(centres, dtype=torch.float64)[torch.randint(len(centres), (num,), generator=random(seed))]
    return middle + sigma * torch.randn(middle.shape, generator=random(seed + 1), dtype=torch.float64)


def measured(counts: Tensor, features: Tensor, probabilities: Tensor | None = None) -> Measured:
    probabilities = torch.empty(len(features), 0) if probabilities is None else probabilities
    return Measured(nothing(features.shape[1]), counts, features, probabilities)


def test_shares_and_coverage() -> None:
    labels = torch.tensor([0] * 500 + [2] * 490 + [3] * 10)
    shares = class_shares(labels, 5)
    assert shares.tolist() == [0.5, 0, 0.49, 0.01, 0]
    assert num_covered(shares) == 2  # one per cent is not more than one per cent
    assert num_covered(shares, above=0.005) == 3


def test_kl_divergence() -> None:
    uniform = torch.full((4,), 0.25)
    assert kl_divergence(uniform, uniform) == 0
    assert kl_divergence(torch.tensor([1.0, 0, 0, 0]), uniform) == pytest.approx(math.log(4))
    assert kl_divergence(uniform, torch.tensor([0.5, 0.5, 0, 0])) == math.inf
    skewed = torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64)
    expected = 0.7 * math.log(0.7 / 0.25) + 0.3 * math.log(0.1 / 0.25)
    assert kl_divergence(skewed, uniform) == pytest.approx(expected)


def test_the_divergence_of_perfect_samples_is_its_floor() -> None:
    """(K − 1) / 2N: .0045 for 10 classes and 1,000 samples."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.full((10,), 0.1, dtype=torch.float64)
    found = [
        kl_divergence(class_shares(torch.randint(0, 10, (1000,), generator=generator), 10), uniform) for _ in range(500)
    ]
    assert sum(found) / 500 == pytest.approx(9 / 2000, rel=0.1)


def test_confidence_and_labels() -> None:
    assert confident_share(torch.tensor([0.5, 0.9, 0.91, 1.0])) == 0.5
    assert label_accuracy(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 4])) == 0.75
    with pytest.raises(RequestError, match="one requested label per sample"):
        label_accuracy(torch.tensor([1]), torch.tensor([1, 2, 0, 4]))


def test_shares_come_with_wilsons_interval() -> None:
    """Of how sure the classifier is and of what it reads, both over the samples kept."""
    probabilities = torch.tensor([[0.95, 0.05]] * 30 + [[0.2, 0.8]] * 10)
    fake = measured(torch.tensor([30, 10]), torch.zeros(40, 1), probabilities)._replace(y=torch.zeros(40).long())
    values = Classes().measure(fake, fake, Setting(None))
    expected = binomtest(30, 40).proportion_ci(method="wilson")
    for name in ("confident", "label_accuracy"):
        assert values[name] == 0.75
        assert values[f"{name}_low"] == pytest.approx(expected.low, abs=1e-12)
        assert values[f"{name}_high"] == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize("found", [1, 99, 1000])
def test_modes_of_equal_shares(found: int) -> None:
    """KL(p‖uniform) = ln(K / m) where m of K modes have equal shares; 99 of 1,000 give 2.31."""
    counts = torch.zeros(1000, dtype=torch.int64)
    counts[torch.randperm(1000, generator=random())[:found]] = 26
    values = Modes().measure(measured(counts, torch.zeros(0, 1)), None, Setting(None))
    assert values["num_modes"] == found
    assert values["modes_kl"] == pytest.approx(math.log(1000 / found), abs=1e-12)
    assert values["modes_kl_floor"] == pytest.approx(999 / (2 * 26 * found))


@pytest.mark.parametrize(
    ("num_modes", "num", "expected"), [(8, 2500, 0.0014), (25, 2500, 0.0048), (1000, 50_000, 0.01)]
)
def test_floors(num_modes: int, num: int, expected: float) -> None:
    assert kl_floor(num_modes, num) == pytest.approx(expected, abs=5e-5)
    repeats = 2000 if num_modes < 100 else 20
    uniform = torch.full((num_modes,), 1 / num_modes, dtype=torch.float64)
    drawn = torch.randint(num_modes, (repeats, num), generator=random())
    found = torch.tensor([kl_divergence(class_shares(row, num_modes), uniform) for row in drawn])
    # The next term of the expectation is about K² / 12N², which is .3 % here for 1,000 modes.
    error = found.std().item() / repeats**0.5
    assert found.mean().item() == pytest.approx(expected_kl(num_modes, num), abs=4 * error)


def expected_kl(num_modes: int, num: int) -> float:
    """To second order (Miller 1955; Harris 1975): (K − 1) / 2N + (K² − 1) / 12N²."""
    return (num_modes - 1) / (2 * num) + (num_modes**2 - 1) / (12 * num**2)


def test_too_few_samples_for_the_modes_are_said() -> None:
    """A perfect sampler misses K(1 − 1/K)^N of them: 6.7 of 1,000 with 5,000 samples, none with 26,000."""
    for num, notes in (
        (5000, ["of 1,000 modes, 5,000 samples of a perfect sampler miss about 7"]),
        (26_000, []),
    ):
        counts = torch.randint(1000, (num,), generator=random()).bincount(minlength=1000)
        fake = measured(counts, torch.zeros(0, 1))
        assert list(Modes().notes(fake, None, Setting(None), {})) == notes
        assert abs(int((counts == 0).sum()) - 1000 * 0.999**num) < 10


@pytest.mark.parametrize(("centres", "sigma"), [(RING, 0.01), (GRID, 0.05)])
def test_the_mixture_itself_reaches_the_ceilings(centres: tuple[tuple[float, ...], ...], sigma: float) -> None:
    """1 − e^(−4.5) = 98.89 % of high quality."""
    found = mixture_counts(mixture(centres, sigma, 200_000), torch.tensor(centres), sigma)
    assert found.all.sum() == 200_000
    ceiling = 1 - math.exp(-4.5)
    error = math.sqrt(ceiling * (1 - ceiling) / 200_000)
    assert found.high_quality.sum().item() / 200_000 == pytest.approx(ceiling, abs=4 * error)
    assert (found.high_quality > 0).all()


def test_points_by_hand() -> None:
    """On a centre, just within and just beyond 3 sigma, halfway nearer to another, and far from all."""
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0]], dtype=torch.float64)
    points = torch.tensor([[0, 0], [0, 2.999], [0, 3], [4.999, 0], [5.001, 0], [1e6, 0], [10, 2]], dtype=torch.float64)
    found = mixture_counts(points, centres, 1.0)
    assert found.all.tolist() == [4, 3]
    assert found.high_quality.tolist() == [2, 1]


def test_centres_far_from_the_origin_lose_nothing() -> None:
    centres = torch.tensor([[1e6, 1e6], [1e6 + 1, 1e6]], dtype=torch.float64)
    points = centres[0] + torch.tensor([[0.0299, 0.0], [0.0301, 0.0]], dtype=torch.float64)
    assert mixture_counts(points.repeat(20, 1), centres, 0.01).high_quality.tolist() == [20, 0]


def judged(x: Tensor, metric: Mixture, held: Any) -> Any:
    """The score of samples x [N, d] in [-1, 1]."""
    judge = Judge(held(x[:10].float()), metrics=(metric,), features="values")
    return judge.score(lambda start, count: Batch(x[start : start + count].float(), None), num_samples=len(x), seed=0)


def test_a_mixture_is_measured_in_its_own_units(held: Any) -> None:
    """The grid, divided by 5 for training, once whole and once without its last five components."""
    metric = Mixture(centres=GRID, sigma=0.05, scale=5.0)
    assert from_json(to_json(metric)) == metric
    whole = judged(mixture(GRID, 0.05, 2500) / 5, metric, held).values
    assert whole["num_modes"] == 25
    assert whole["high_quality_low"] < 1 - math.exp(-4.5) < whole["high_quality_high"]
    assert whole["modes_kl_floor"] == pytest.approx(24 / 5000, rel=0.02)
    assert whole["modes_kl"] == pytest.approx(24 / 5000, abs=4 * math.sqrt(24 / 2) / 2500)  # χ²/2N: variance K/2 / N²
    part = judged(mixture(GRID[:20], 0.05, 2500) / 5, metric, held).values
    assert part["num_modes"] == 20
    assert part["modes_kl"] == pytest.approx(math.log(25 / 20), abs=0.02)


def test_one_number_for_a_mixture_by_hand(held: Any) -> None:
    """Two modes on a line, P(|x| < 3σ) = .9973: six samples in one ball, three in the other, one outside."""
    x = torch.tensor([-0.5] * 6 + [0.5] * 3 + [0.0])[:, None]
    metric = Mixture(centres=((-0.5,), (0.5,)), sigma=0.1)
    judge = Judge(held(x, name="line"), metrics=(metric,), features="values")
    values = judge.score(lambda start, count: Batch(x[start : start + count], None), num_samples=10, seed=0).values
    inside = math.erf(3 / math.sqrt(2))
    law = (inside / 2, inside / 2, 1 - inside)
    expected = sum(p * math.log(p / q) for p, q in zip((0.6, 0.3, 0.1), law, strict=True))
    assert values["mixture_kl"] == pytest.approx(expected, rel=1e-9)
    assert values["mixture_kl_floor"] == pytest.approx(2 / 20)
    assert next(iter(values)) == "mixture_kl"


def test_the_interval_of_a_divergence_of_shares_covers() -> None:
    """Over 400 draws of 500 samples, far from the law and at it."""
    random = torch.Generator().manual_seed(0)
    q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    for p, least, most in (([0.2, 0.3, 0.5], 0.9, 0.99), ([0.5, 0.3, 0.2], 0.9, 1.0)):
        truth = kl_divergence(torch.tensor(p, dtype=torch.float64), q)
        covered = 0
        for _ in range(400):
            counts = torch.multinomial(torch.tensor(p), 500, True, generator=random).bincount(minlength=3)
            interval = kl_interval(counts.double() / 500, q, 500)
            # Counts are not even where the law is: the mean lies (K - 1) / 2N above the truth.
            covered += interval.low - kl_floor(3, 500) <= truth <= interval.high
        assert least <= covered / 400 <= most


def test_divergence_is_that_of_the_high_quality_samples(held: Any) -> None:
    """Half of the samples far from all centres, but nearest to the first: they count for quality alone."""
    x = torch.cat([mixture(RING, 1e-4, 800), torch.tensor([[1.4, 0.0]]).double().expand(800, 2)]) / 2
    values = judged(x, Mixture(centres=RING, sigma=0.01, scale=2.0), held).values
    assert values["high_quality"] == 0.5
    assert values["modes_kl"] < 0.03
    assert values["modes_kl_floor"] == pytest.approx(7 / 1600)


def test_nothing_of_high_quality_has_no_divergence(held: Any) -> None:
    score = judged(torch.zeros(50, 2), Mixture(centres=RING, sigma=0.01), held)
    assert score.values["num_modes"] == score.values["high_quality"] == 0
    assert 0 < score.values["high_quality_high"] < 0.1
    assert "modes_kl" not in score.values
    assert "modes_kl is not finite and left out" in score.notes


def test_mixtures_that_do_not_fit(held: Any) -> None:
    with pytest.raises(RequestError, match=r"found 2 of dimensions \[1, 2\]"):
        Mixture(centres=((0.0, 1.0), (0.0,)), sigma=1.0)
    with pytest.raises(RequestError, match="known for the sets ring8 and grid25 alone; name others"):
        judged(torch.zeros(50, 2), Mixture(), held)
    for sigma, scale in ((0.0, 1.0), (1.0, 0.0), (math.nan, 1.0)):
        with pytest.raises(RequestError, match="expected sigma and scale above 0"):
            Mixture(centres=RING, sigma=sigma, scale=scale)
    with pytest.raises(RequestError, match=r"samples \[50, 3\] and centres \[8, 2\]"):
        judged(torch.zeros(50, 3), Mixture(centres=RING, sigma=0.01), held)
    metric = Mixture(centres=RING, sigma=0.01)
    rotated = Judge(held(torch.rand(50, 2, generator=random())), metrics=(metric,), features="pca")
    with pytest.raises(RequestError, match="use features 'values'"):
        rotated.score(lambda start, count: Batch(torch.rand(count, 2), None), num_samples=10, seed=0)
