"""The ledger of a run's scores."""

import json

import pytest

from sparring.core.exchange import Clock
from sparring.train.recipe import Scoring
from sparring.train.scores import Entered, Ledger

LOWER = {"fid": "lower"}


def at(images: int, progress: float = 0.5) -> Clock:
    return Clock(step=images // 10, images=images, epoch=0.0, progress=progress)


def test_the_first_value_that_can_rank_counts() -> None:
    ledger, entered = Ledger().enter(at(10), {"note": 1.0, "fid": 5.0, "kid": 0.1}, {}, {"kid": "lower", **LOWER})
    assert (ledger.leaders, entered) == (((10, 5.0),), Entered(best=True, leads=True))
    assert ledger.enter(at(20), {"note": 1.0}, {}, LOWER) == (ledger, Entered())
    worse, entered = ledger.enter(at(20), {"fid": 6.0}, {}, LOWER)
    assert (worse.leaders[0], entered) == ((10, 5.0), Entered(leads=True))
    better, entered = worse.enter(at(30), {"fid": 4.0}, {}, LOWER)
    assert (better.leaders[0], entered) == ((30, 4.0), Entered(best=True, leads=True))
    higher, entered = Ledger().enter(at(10), {"acc": 0.5}, {}, {"acc": "higher"})
    assert higher.enter(at(20), {"acc": 0.6}, {}, {"acc": "higher"})[1].best


def test_the_best_three_lead() -> None:
    ledger = Ledger()
    led = []
    for images, fid in ((10, 5.0), (20, 7.0), (30, 6.0), (40, 6.5), (50, 8.0), (60, 5.0)):
        ledger, entered = ledger.enter(at(images), {"fid": fid}, {}, LOWER)
        led.append((entered.best, entered.leads))
    assert led == [(True, True), (False, True), (False, True), (False, True), (False, False), (False, True)]
    assert ledger.leaders == ((10, 5.0), (60, 5.0), (30, 6.0))  # of equals the earlier one is the best
    again = Ledger.load(json.loads(json.dumps(ledger._asdict())))
    assert again == ledger


def test_an_interval_says_what_a_clear_gain_is() -> None:
    """The best is the least, but the wait goes on from the last gain of more than a standard error."""
    first, _ = Ledger().enter(at(10), {"fid": 5.0, "fid_low": 4.02, "fid_high": 5.98}, {}, LOWER)
    assert first.gain is not None
    assert first.gain.error == pytest.approx(0.5)
    second, entered = first.enter(at(20), {"fid": 4.6, "fid_low": 4.0, "fid_high": 5.2}, {}, LOWER)
    assert entered.best
    assert second.gain is not None
    assert (second.gain.images, second.gain.since) == (10, 1)
    third, _ = second.enter(at(30), {"fid": 4.4}, {}, LOWER)
    assert third.gain == (30, 4.4, 0.0, 0)


def test_what_was_made_in_another_way_is_not_compared() -> None:
    made = {"features_sha256": "a", "num_samples": 10, "seed": 1, "value_range": [0, 1], "sparring": "1"}
    ledger, _ = Ledger().enter(at(10), {"fid": 5.0}, made, LOWER)
    same = made | {"seed": 2, "value_range": [0, 2], "sparring": "2"}
    assert ledger.enter(at(20), {"fid": 6.0}, same, LOWER)[1] == Entered(leads=True)
    other, entered = ledger.enter(at(20), {"fid": 6.0}, made | {"num_samples": 20}, LOWER)
    assert entered == Entered(best=True, leads=True, anew=True)
    assert other.leaders == ((20, 6.0),)
    assert ledger.enter(at(20), {"kid": 6.0}, made, {"kid": "lower"})[1].anew


def test_when_a_score_is_due() -> None:
    scoring = Scoring(times=4, samples=10, spacing=10, most=0.1)
    fresh = Ledger()
    assert not fresh.due(scoring, at(200, 0.2), done=False, seconds=None)
    assert fresh.due(scoring, at(200, 0.25), done=False, seconds=None)
    assert not fresh.due(scoring, at(90, 0.25), done=False, seconds=None)  # ten samples, a hundred images
    scored = fresh.spent(scoring, at(200, 0.6), seconds=2.0)
    assert (scored.marks, scored.at, scored.seconds) == (2, 200, 2.0)
    assert scored.to_come(scoring) == 2.0
    assert not scored.due(scoring, at(400, 0.7), done=False, seconds=None)
    assert scored.due(scoring, at(400, 0.75), done=False, seconds=None)
    # Two took 2 seconds, a third makes it 3, a tenth of 30.
    assert not scored.due(scoring, at(400, 0.75), done=False, seconds=29.0)
    assert scored.due(scoring, at(400, 0.75), done=False, seconds=31.0)
    assert scored.due(scoring, at(210, 1.0), done=True, seconds=1.0)
    assert not scored.due(scoring, at(200, 1.0), done=True, seconds=1.0)
    assert not fresh.due(Scoring(times=0), at(200, 1.0), done=True, seconds=None)


def test_it_is_json() -> None:
    ledger, _ = Ledger().enter(at(10), {"fid": 5.0}, {"a": 1}, LOWER)
    assert Ledger.load(json.loads(json.dumps(ledger._asdict()))) == ledger
    assert Ledger.load(json.loads(json.dumps(Ledger()._asdict()))) == Ledger()
