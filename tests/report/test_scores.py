"""Values find their intervals and their classes, and the best is taken from where it was judged last."""

from __future__ import annotations

from typing import Any

from sparring.report.lenient import Row
from sparring.report.scores import Measure, class_table, judgement, measured, score_table


def row(images: int, fid: float, best: bool = False, **provenance: Any) -> Row:
    return Row(images, {"fid": fid, "fid_class_1": 2 * fid}, best, [], provenance)


def test_ends_belong_to_a_value_and_classes_to_a_name() -> None:
    values = {"fid": 2.0, "fid_low": 1.0, "fid_high": 3.0, "kid": 0.5, "kid_low": 0.25, "ct_low": 7.0}
    values |= {"fid_class_2": 4.0, "fid_class_2_low": 3.5, "fid_class_2_high": 4.5, "fid_class_mean": 5.0}
    whole, classes = measured(values)
    assert whole == {
        "fid": Measure(2.0, 1.0, 3.0),
        "kid": Measure(0.5),
        "ct_low": Measure(7.0),
        "fid_class_mean": Measure(5.0),
    }
    assert classes == {2: {"fid": Measure(4.0, 3.5, 4.5)}}
    assert str(whole["fid"]) == "2 [1, 3]"


def test_before_the_verdict_the_latest_best_row_speaks() -> None:
    found = judgement({}, [row(1, 3.0, best=True), row(2, 2.0, best=True), row(3, 4.0)])
    assert found is not None
    assert not found["final"]
    assert (found["images"], found["last_images"]) == (2.0, 3.0)
    assert found["values"] == {"fid": Measure(2.0)}
    assert found["last"] == {"fid": Measure(4.0)}


def test_the_last_row_stands_beside_the_best_only_where_they_compare() -> None:
    found = judgement({}, [row(2, 2.0, best=True), row(3, 4.0, num_samples=9)])
    assert found is not None
    assert found["last_images"] is None
    assert found["last"] == {}


def test_a_best_row_that_is_the_last_stands_alone() -> None:
    found = judgement({}, [row(2, 2.0, best=True)])
    assert found is not None
    assert found["last_images"] is None


def test_nothing_scored_is_no_judgement() -> None:
    assert judgement({}, []) is None
    assert judgement({"images": 3, "values": {"fid": "low"}}, []) is None


def test_the_verdict_comes_before_the_rows() -> None:
    verdict = {"images": 9, "values": {"fid": 1.5}, "last": {"images": 12, "values": {"fid": 2.5}}, "stopped": "time"}
    found = judgement(verdict, [row(2, 2.0, best=True)])
    assert found is not None
    assert found["final"]
    assert found["sentence"] == "Best after 9 images: fid 1.5."
    assert (found["last_images"], found["last"], found["stopped"]) == (12.0, {"fid": Measure(2.5)}, "time.")


def test_classes_stand_with_their_names_and_shares() -> None:
    judged = judgement({}, [row(2, 2.0)])
    table = class_table(judged, ["cat", "dog"], {"cat": 30, "dog": 10})
    assert table == {"columns": ["fid"], "rows": [{"name": "dog", "share": 0.25, "values": [Measure(4.0)]}], "num": 1}
    unnamed = class_table(judged, [], {})
    assert unnamed is not None
    assert unnamed["rows"][0] == {"name": "1", "share": None, "values": [Measure(4.0)]}


def test_the_latest_of_many_rows_are_shown() -> None:
    table = score_table([row(n, n) for n in range(150)])
    assert [each["images"] for each in table["rows"]] == list(range(50, 150))
    assert table["names"] == ["fid"]
