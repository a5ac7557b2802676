"""Which scores share an axis, what stands beside them, and which panels the picture of a run has."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sparring.pictures.axes import FLOOR_WITHIN
from sparring.pictures.curves import GREY
from sparring.pictures.ink import BLUE, GREEN, ORANGE, PURPLE, SKY
from sparring.report.lenient import Row
from sparring.report.panels import (
    MOST_SIGNALS,
    apart,
    by_provenance,
    log_panels,
    picture_panels,
    score_names,
    score_panel,
)

MADE = {
    "features": "digits28",
    "features_sha256": "a1",
    "num_samples": 5000,
    "kept": 5000,
    "reference": {"name": "mnist", "split": "train", "count": 60000, "sha256": "c3"},
}


def row(images: int, best: bool = False, provenance: dict[str, Any] | None = None, **values: float) -> Row:
    return Row(images, values, best, ["a note"], MADE | (provenance or {}))


def test_rows_that_compare_are_together_in_their_first_order() -> None:
    rows = [row(n, provenance={"num_samples": m}, fid=n) for n, m in ((1, 5), (2, 9), (3, 5))]
    found = by_provenance([row(0, provenance={"num_samples": 9}), *rows])
    assert [[each.images for each in group] for group in found] == [[1, 3], [2]]
    assert apart({"num_samples": 5, "sparring": "1"}, {"num_samples": 9, "sparring": "2"}) == [
        "5 / 9 samples: fid falls with more of them"
    ]


def test_a_score_has_its_interval_and_real_data_beside_it() -> None:
    rows = [
        row(100, fid=9.0, fid_low=8.0, fid_high=11.0, fid_real=2.0),
        row(150, other=1.0),
        row(200, fid=3.0, fid_real=2.0),
    ]
    panel = score_panel("fid", rows, 200, ranks=True)
    score, real = panel.series
    assert (panel.title, panel.best, panel.log) == ("fid", 200, False)
    assert (score.name, score.x, score.y, score.color, score.thin) == ("fid", [100, 200], [9.0, 3.0], GREEN, False)
    assert score.low is not None
    assert score.high is not None
    assert (score.low[0], score.high[0]) == (8.0, 11.0)
    assert math.isnan(score.low[1])
    assert math.isnan(score.high[1])
    assert (real.name, real.x, real.y) == ("fid_real (real data)", [100, 200], [2.0, 2.0])
    assert (real.color, real.thin) == (GREY, True)
    other = score_panel("other", rows, 200, ranks=False)
    assert (other.best, [series.color for series in other.series]) == (None, [PURPLE])


@pytest.mark.parametrize(("share", "lines"), [(0.9, 1), (1.1, 2)])
def test_real_data_are_drawn_where_they_do_not_press_the_curve_flat(share: float, lines: int) -> None:
    rows = [row(100, fid=50.0), row(200, fid=20.0, fid_real=share * 20.0 / FLOOR_WITHIN)]
    assert len(score_panel("fid", rows, None, ranks=True).series) == lines


@pytest.mark.parametrize(("values", "log"), [((1.0, 20.0), False), ((1.0, 21.0), True), ((0.0, 21.0), False)])
def test_values_of_different_size_have_a_logarithmic_axis(values: tuple[float, ...], log: bool) -> None:
    rows = [row(n, a=value) for n, value in enumerate(values)]
    assert score_panel("a", rows, None, ranks=True).log == log


def test_scores_of_the_whole_have_a_panel_of_their_own() -> None:
    rows = [
        row(1, fid=2.0, fid_low=1.0, fid_high=3.0, fid_real=1.5),
        row(2, kid=0.25, fid_class_3=9.0, fid_class_mean=8),
    ]
    assert score_names(rows) == ["fid", "kid", "fid_class_mean"]


def test_the_log_has_its_pairs_its_pace_and_all_other_signals() -> None:
    values = {"r1": 1.0, "loss_g": 1.0, "loss_d": 2.0, "d_real": 0.5, "images_per_second": 9.0}
    found = log_panels([row(1, **values), row(2, **values, late=3.0)], 2)
    drawn = {kind: [[(s.name, s.color) for s in p.series] for p in panels] for kind, panels in found.items()}
    assert drawn == {
        "losses": [[("discriminator", BLUE), ("generator", ORANGE)]],
        "beliefs": [[("D(real)", BLUE)]],
        "pace": [[("images_per_second", SKY)]],
        "others": [[("r1", SKY)], [("late", SKY)]],
    }
    assert {panel.best for panels in found.values() for panel in panels} == {2}
    assert (found["others"][1].series[0].x, found["others"][1].series[0].y) == ([2], [3.0])
    assert log_panels([], None) == {"losses": [], "beliefs": [], "pace": [], "others": []}
    assert len(log_panels([row(1, **{f"x{n}": 1.0 for n in range(50)})], None)["others"]) == MOST_SIGNALS


def test_the_picture_has_losses_then_beliefs_then_scores() -> None:
    log = [row(100, loss_d=1.0, loss_g=2.0, d_real=0.7, d_fake=0.3, r1=1.0, images_per_second=9.0)]
    values = {"fid": 9.0, "classes_covered": 9.0, "class_min": 0.1, "class_max": 0.2, "share_class_0": 0.1}
    panels = picture_panels(log, [row(100, True, **values), row(200, **values)], 100)
    assert [panel.title for panel in panels] == [
        "Losses",
        "What the discriminator believes",
        "fid: 5000 samples against 60000 of mnist (train), digits28 features",
        "classes_covered: 5000 samples against 60000 of mnist (train), digits28 features",
    ]
    assert [panel.best for panel in panels] == [None, None, 100, 100]
    assert [panel.note for panel in panels] == ["Not a measure of quality.", "", "", ""]
    assert [panel.series[0].color for panel in panels[2:]] == [GREEN, PURPLE]


def test_scores_of_different_provenance_share_no_axis() -> None:
    rows = [
        row(100, fid=9.0, kid=0.1),
        row(200, provenance={"num_samples": 10000, "kept": 10000}, fid=7.0),
        row(300, best=True, fid=5.0, kid=0.05),
        row(400, provenance={"features": "pca64-pixels", "features_sha256": "b2"}, fid=90.0),
    ]
    panels = picture_panels([], rows, 300)
    assert [(p.title.split(":")[0], p.series[0].x) for p in panels] == [
        ("fid", [100, 300]),
        ("fid", [200]),
        ("fid", [400]),
        ("kid", [100, 300]),
    ]
    assert [p.best for p in panels] == [300, None, None, 300]
    assert "10000 samples" in panels[1].title
    assert "pca64-pixels features" in panels[2].title
    assert [p.note for p in panels] == [
        "",
        "Does not compare with the panel above: 5,000 / 10,000 samples: fid falls with more of them.",
        "Does not compare with the panel above: features: digits28 / pca64-pixels; 10,000 / 5,000 samples: fid "
        "falls with more of them.",
        "",
    ]


def test_another_version_and_another_seed_share_an_axis() -> None:
    rows = [row(100, fid=9.0, provenance={"sparring": "1", "seed": 0})]
    rows += [row(200, fid=7.0, provenance={"sparring": "2", "seed": 1})]
    assert len(picture_panels([], rows, 300)) == 1


def test_an_older_row_without_provenance_stands_alone() -> None:
    rows = [row(100, fid=9.0), row(200, fid=8.0)._replace(provenance={})]
    _, second = picture_panels([], rows, 300)
    assert second.title == "fid: unknown samples against unknown data, unknown features"
    assert "unknown" in second.note
