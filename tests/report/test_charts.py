"""Which charts the page has, and what is said around each."""

from __future__ import annotations

from typing import Any

from sparring.report.charts import log_charts, score_charts
from sparring.report.lenient import Row
from sparring.report.scores import MOST_SCORES


def row(images: int, values: dict[str, float], **provenance: Any) -> Row:
    return Row(images, values, False, [], provenance)


def test_what_a_score_is_held_against_has_no_chart_of_its_own() -> None:
    values = {"fid": 2.0, "fid_low": 1.0, "fid_high": 3.0, "fid_real": 1.5, "kid": 0.25, "fid_class_3": 9.0}
    found = score_charts([row(1, values), row(2, values)], None)
    assert [chart.title for chart in found["charts"]] == ["fid", "kid"]
    assert [chart.legend for chart in found["charts"]] == [
        [("green", "fid"), ("grey", "fid_real (real data)")],
        [("purple", "kid")],
    ]
    assert found["num"] == 2
    assert "band" in found["charts"][0].drawing
    assert "band" not in found["charts"][1].drawing


def test_a_logarithmic_axis_is_said() -> None:
    (chart,) = score_charts([row(1, {"a": 1.0}), row(2, {"a": 21.0})], None)["charts"]
    assert chart.title == "a (log scale)"


def test_the_best_is_marked_where_it_was_scored() -> None:
    rows = [row(1, {"a": 1.0, "b": 1.0}), row(2, {"a": 2.0})]
    marked = {chart.title: 'class="best"' in chart.drawing for chart in score_charts(rows, 2)["charts"]}
    assert marked == {"a": True, "b": False}


def test_each_panel_of_the_log_is_a_chart() -> None:
    values = {"loss_g": 1.0, "loss_d": 2.0, "d_real": 0.5, "r1": 1.0}
    found = log_charts([row(1, values), row(2, values)], 2)
    assert {key: [chart.legend for chart in charts] for key, charts in found.items()} == {
        "losses": [[("blue", "discriminator"), ("orange", "generator")]],
        "beliefs": [[("blue", "D(real)")]],
        "pace": [],
        "others": [[("sky", "r1")]],
    }
    assert found["losses"][0].title == "Losses"
    assert 'class="best"' in found["losses"][0].drawing


def test_of_many_some_are_drawn() -> None:
    many = row(1, {f"x{n}": 1.0 for n in range(50)})
    found = score_charts([many], None)
    assert (len(found["charts"]), found["num"]) == (MOST_SCORES, 50)
