import math

import numpy as np
import pytest
from scipy import stats

from sparring.core.protocols import DataSpec
from sparring.data.named import NAMES
from sparring.data.open import Data, describe
from sparring.data.tensors import Resident
from sparring.data.toys import COUNTS, TOYS, load_toy, toy_of


@pytest.fixture(scope="module")
def toys() -> dict[str, Resident]:
    return {name: load_toy(name, "test") for name in TOYS}


def points(source: Resident) -> np.ndarray:
    """In the law's own units."""
    toy = toy_of(source.spec)
    assert toy is not None
    return source.numpy().astype(np.float64) * toy.scale


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_is_a_source_by_name(name: str, toys: dict[str, Resident]) -> None:
    assert name in NAMES
    source = toys[name]
    assert (source.spec.levels, source.spec.num_classes, len(source)) == (0, 0, COUNTS["test"])
    # No tail is cut: nothing lies on the border, where clamping would have put it.
    assert 0.4 < source.images.abs().max() < 0.95
    assert toy_of(source.spec) is TOYS[name]
    assert f"one unit of the samples is {TOYS[name].scale:g} units of the law" in source.report["notes"][0]


def test_the_name_opens_it_and_the_points_are_always_the_same() -> None:
    data = Data(source="ring8")
    first, again, test = data.load(), data.load(), data.load_held_out()
    assert test is not None
    assert (len(first), len(test)) == (100_000, 10_000)
    assert first.spec.sha256 == again.spec.sha256
    assert first.spec.sha256 != test.spec.sha256
    assert not set(map(tuple, test.images.tolist())) & set(map(tuple, first.images.tolist()))
    assert "100000 vectors of 2 numbers, floats" in describe(first)
    assert "known law, drawn" in describe(first)


@pytest.mark.parametrize("name", ["ring8", "grid25", "gaussian1d"])
def test_mixtures_are_equally_likely_gaussians(name: str, toys: dict[str, Resident]) -> None:
    """Shares against their binomial, and the deviations from the nearest centre against the normal law."""
    toy, found = TOYS[name], points(toys[name])
    centres = np.array(toy.centres)
    nearest = np.linalg.norm(found[:, None] - centres, axis=2).argmin(1)
    counts = np.bincount(nearest, minlength=len(centres))
    assert len(centres) == 1 or stats.chisquare(counts).pvalue > 0.001
    deviations = (found - centres[nearest]) / toy.sigma
    assert stats.kstest(deviations.flatten(), "norm").pvalue > 0.001


def test_the_centres_are_those_of_the_papers() -> None:
    ring, grid = np.array(TOYS["ring8"].centres), np.array(TOYS["grid25"].centres)
    assert ring.shape == (8, 2)
    assert np.linalg.norm(ring, axis=1) == pytest.approx(1)
    # Eight different directions: an eighth of a turn from each to the next.
    turned = ring @ np.array([[1, 1], [-1, 1]]) / math.sqrt(2)
    assert np.linalg.norm(turned[:, None] - ring, axis=2).min(1) == pytest.approx(0, abs=1e-12)
    assert {tuple(c) for c in grid.tolist()} == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert (TOYS["ring8"].sigma, TOYS["grid25"].sigma) == (0.01, 0.05)


def test_moons_spirals_and_roll_lie_on_their_curves(toys: dict[str, Resident]) -> None:
    x, y = points(toys["moons"]).T
    upper = np.hypot(x + 0.5, y + 0.25) - 1
    lower = np.hypot(x - 0.5, y - 0.25) - 1
    off = np.where(np.abs(upper) < np.abs(lower), upper, lower)
    assert np.abs(off).max() < 0.3
    assert off.std() == pytest.approx(0.05, rel=0.05)
    for name, radius_of, noise in (
        ("spirals", lambda angle: angle / (3 * math.pi), 0.02),
        ("swiss_roll", lambda angle: angle, 0.3),
    ):
        angle = np.linspace(0, 5 * math.pi, 4000)
        arm = np.stack([radius_of(angle) * np.cos(angle), radius_of(angle) * np.sin(angle)], 1)
        curve = np.concatenate([arm, -arm]) if name == "spirals" else arm
        some = points(toys[name])[:500]
        off = np.linalg.norm(some[:, None] - curve, axis=2).min(1)
        # The distance from the curve is the absolute value of the noise across it.
        assert np.sqrt((off**2).mean()) == pytest.approx(noise, rel=0.12), name


def test_points_are_spread_along_the_curves(toys: dict[str, Resident]) -> None:
    """Evenly by length along the arms of the spirals, whose length up to radius r is nearly in proportion to r²; evenly
    by angle along the roll, as in scikit-learn; half on each moon."""
    spirals, roll = (np.linalg.norm(points(toys[name]), axis=1) for name in ("spirals", "swiss_roll"))
    for r in (0.3, 0.5, 0.8):
        assert (spirals < r).mean() == pytest.approx(r**2, abs=0.02)
        assert (roll < (1.5 + 3 * r) * math.pi).mean() == pytest.approx(r, abs=0.02)
    assert (points(toys["moons"])[:, 1] > 0).mean() == pytest.approx(0.5, abs=0.02)


def test_the_splits_are_drawn_apart(toys: dict[str, Resident]) -> None:
    """A point of the roll lies at the radius of its angle, which is drawn first: one seed would give one radius."""
    train, test = (
        np.linalg.norm(points(part), axis=1)[:10_000] for part in (load_toy("swiss_roll"), toys["swiss_roll"])
    )
    assert abs(np.corrcoef(train, test)[0, 1]) < 0.05


def test_other_data_are_no_toy() -> None:
    assert toy_of(DataSpec(name="ring8", shape=(2,), levels=0)) is TOYS["ring8"]
    assert toy_of(DataSpec(name="ring8", shape=(3,), levels=0)) is None
    assert toy_of(DataSpec(name="ring8", shape=(2,), levels=256)) is None
    assert toy_of(DataSpec(name="rings", shape=(2,), levels=0)) is None
