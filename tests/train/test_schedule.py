from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock
from sparring.train.schedule import Budget, Constant, Cosine, InverseDecay, Plan, parse_budget


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("90s", 90, "seconds"),
        ("1.5min", 90, "seconds"),
        ("2h", 7200, "seconds"),
        ("500kimg", 500_000, "images"),
        ("2Mimg", 2_000_000, "images"),
        ("20 epochs", 20, "epochs"),
    ],
)
def test_budgets_read(text: str, amount: float, unit: str) -> None:
    assert parse_budget(text) == Budget(amount=amount, unit=unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "90", "s", "-5s", "0s", "5 weeks", "1e9s", "nan s", "12:30"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="budget"):
        parse_budget(text)


def test_epochs_become_images() -> None:
    assert Budget(amount=2.5, unit="epochs").images(1000) == 2500
    assert Budget(amount=60, unit="seconds").images(1000) is None


def test_a_plan_without_a_pace_stands_still() -> None:
    plan = Plan.start(None)
    assert plan.total is None
    assert plan.progress(10**9) == 0


def test_a_bend_is_continuous_and_keeps_what_was() -> None:
    plan = Plan.start(1000)
    assert plan.progress(400) == 0.4
    plan.bend(400, plan.progress(400), 700)
    assert plan.total == 700
    assert plan.progress(200) == pytest.approx(0.2)
    assert plan.progress(400) == pytest.approx(0.4)
    assert plan.progress(550) == pytest.approx(0.7)
    assert plan.progress(700) == plan.progress(9999) == 1.0


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000)), min_size=1, max_size=8), st.booleans())
def test_progress_never_falls_and_ends_at_one(bends: list[tuple[int, int]], timed: bool) -> None:
    plan, images = Plan.start(None if timed else 5000), 0
    seen = [(0, 0.0)]
    for after, left in bends:
        images += after
        if plan.progress(images) == 1:
            images -= after
            break  # it has ended: there is nothing left to bend
        plan.bend(images, plan.progress(images), images + left)
        seen.append((images, plan.progress(images)))
    values = [plan.progress(i) for i in range(0, images + 1001, 7)]
    assert all(0 <= a <= b <= 1 for a, b in itertools.pairwise(values))
    assert plan.progress(plan.total or 0) == 1.0
    # What has happened does not change.
    assert all(plan.progress(i) == pytest.approx(p) for i, p in seen if i < images)


def test_factors() -> None:
    def at(images: int, progress: float, step: int = 0) -> Clock:
        return Clock(step, images, 0.0, progress)

    assert Constant().factor(at(5, 0.9)) == 1
    cosine = Cosine(final=0.1, warmup_images=100)
    assert cosine.factor(at(0, 0.0)) == 0
    assert cosine.factor(at(50, 0.0)) == 0.5
    assert cosine.factor(at(1000, 0.5)) == pytest.approx(0.55)
    assert cosine.factor(at(9999, 1.0)) == pytest.approx(0.1)
    burn_in = Cosine(final=0.25, until=0.4)
    assert burn_in.factor(at(1, 0.1)) == pytest.approx(0.25 + 0.75 * (1 + math.sqrt(0.5)) / 2)
    assert burn_in.factor(at(1, 0.2)) == pytest.approx(0.625)
    assert burn_in.factor(at(1, 0.4)) == burn_in.factor(at(1, 0.41)) == burn_in.factor(at(1, 1.0)) == 0.25
    assert Cosine().factor(at(1, 0.25)) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert InverseDecay(rate=1e-4).factor(at(0, 0.0, step=10_000)) == pytest.approx(0.5)


@pytest.mark.parametrize("wrong", [{"final": -0.1}, {"warmup_images": -1}, {"until": 0.0}, {"until": 1.1}])
def test_cosines_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=r"Cosine: expected final >= 0, warmup_images >= 0 and until in \(0, 1\]"):
        Cosine(**wrong)  # type: ignore[arg-type]
