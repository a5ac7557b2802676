"""Which rows share an axis, which charts there are, and what stands in each."""

from __future__ import annotations

from typing import Any

from sparring.report.charts import MOST_SIGNALS, apart, by_provenance, log_charts, score_charts
from sparring.report.lenient import Row
from sparring.report.scores import MOST_SCORES


def row(images: int, values: dict[str, float], **provenance: Any) -> Row:
    return Row(images, values, False, [], provenance)


def test_rows_that_compare_are_together_in_their_first_order() -> None:
    rows = [row(1, {"fid": 1}, num_samples=5), row(2, {"fid": 2}, num_samples=9), row(3, {"fid": 3}, num_samples=5)]
    found = by_provenance([row(0, {}, num_samples=9), *rows])
    assert [[each.images for each in group] for group in found] == [[1, 3], [2]]
    assert apart({"num_samples": 5, "sparring": "1"}, {"num_samples": 9, "sparring": "2"}) == [
        "5 / 9 samples: fid falls with more of them"
    ]


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


def test_values_of_different_size_have_a_logarithmic_axis() -> None:
    def title(*values: float) -> str:
        (chart,) = score_charts([row(n, {"a": value}) for n, value in enumerate(values)], None)["charts"]
        return str(chart.title)

    assert title(1.0, 20.0) == "a"
    assert title(1.0, 21.0) == "a (log scale)"
    assert title(0.0, 21.0) == "a"


def test_the_best_is_marked_where_it_was_scored() -> None:
    rows = [row(1, {"a": 1.0, "b": 1.0}), row(2, {"a": 2.0})]
    marked = {chart.title: 'class="best"' in chart.drawing for chart in score_charts(rows, 2)["charts"]}
    assert marked == {"a": True, "b": False}


def test_the_log_has_its_pairs_its_pace_and_all_other_signals() -> None:
    values = {"r1": 1.0, "loss_g": 1.0, "loss_d": 2.0, "d_real": 0.5, "images_per_second": 9.0}
    found = log_charts([row(1, values), row(2, values | {"late": 1.0})], None)
    legends = {key: [chart.legend for chart in charts] for key, charts in found.items()}
    assert legends == {
        "losses": [[("blue", "discriminator"), ("orange", "generator")]],
        "beliefs": [[("sky", "D(real)")]],
        "pace": [[("sky", "images_per_second")]],
        "others": [[("sky", "r1")], [("sky", "late")]],
    }
    assert log_charts([], None) == {"losses": [], "beliefs": [], "pace": [], "others": []}


def test_of_many_some_are_drawn() -> None:
    many = row(1, {f"x{n}": 1.0 for n in range(50)})
    found = score_charts([many], None)
    assert (len(found["charts"]), found["num"]) == (MOST_SCORES, 50)
    assert len(log_charts([many], None)["others"]) == MOST_SIGNALS
