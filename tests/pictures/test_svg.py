"""What is drawn stands where the axis's own labels say, and nothing that was given leaves its place."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from sparring.core.errors import RequestError
from sparring.pictures.curves import Panel, Series
from sparring.pictures.ink import BLUE, GREEN
from sparring.pictures.svg import COLUMNS, HEIGHT, TOP, WIDTH, color_class, svg

NAN = float("nan")


def drawn(*series, **more):
    return ElementTree.fromstring(svg(Panel("t", series, **more)))


def by_class(root, name):
    return [e for e in root.iter() if name in e.get("class", "").split()]


def corners(element):
    return np.array(re.findall(r"(-?[\d.e-]+),(-?[\d.e-]+)", element.get("d")), float)


def labels(root):
    """Where the numbers of both axes stand: {images: x} and {value: y inside the plot}."""
    texts = [e for e in by_class(root, "tick") if e.text != "images seen"]
    across = {float(e.text): float(e.get("x")) for e in texts if e.get("text-anchor") == "middle"}
    up = {float(e.text): float(e.get("y")) - 4 - TOP for e in texts if e.get("text-anchor") == "end"}
    return across, up


@pytest.mark.parametrize("log", [False, True])
def test_points_stand_where_the_labels_say(log):
    values = [1.0, 10.0, 100.0] if log else [-20.0, 0.0, 40.0]
    root = drawn(Series("a", [0, 50, 100], values, BLUE), log=log)
    across, up = labels(root)
    points = corners(by_class(root, "line")[0])
    for (x, y), images, value in zip(points, [0, 50, 100], values, strict=True):
        if images in across:
            assert x == pytest.approx(across[images], abs=0.2)
        assert y == pytest.approx(up[value], abs=0.2)
    assert points[0, 1] > points[2, 1]


def test_a_band_spans_the_interval():
    ends = Series("ends", [0, 0, 10, 10], [2.0, 8.0, 2.0, 8.0], GREEN)
    root = drawn(ends, Series("a", [0, 10], [5.0] * 2, BLUE, low=[2.0] * 2, high=[8.0] * 2))
    (band,) = by_class(root, "band")
    expected = corners(next(e for e in by_class(root, "line") if "green" in e.get("class")))
    assert {tuple(p) for p in corners(band)} == {tuple(p) for p in expected}


def test_a_log_axis_is_not_stretched_by_an_interval_that_reaches_zero():
    def line(low):
        root = drawn(Series("a", [0, 10], [5.0, 50.0], BLUE, low=[low, 40.0], high=[6.0, 60.0]), log=True)
        return corners(by_class(root, "line")[0]), corners(by_class(root, "band")[0])

    (points, band), (bare, _) = line(-1.0), line(5.0)
    np.testing.assert_array_equal(points, bare)
    assert band[:, 1].max() > HEIGHT - TOP - 40  # out of the plot, at its lower end


def test_what_is_not_finite_is_a_gap_and_a_value_alone_is_a_dot():
    x = list(range(50))
    y = [1.0] * 20 + [NAN] + [2.0] + [float("inf")] + [1.0] * 27
    root = drawn(Series("a", x, y, BLUE))
    assert [len(corners(e)) for e in by_class(root, "line")] == [20, 1, 27]
    assert len(by_class(root, "dot")) == 1
    assert "nan" not in ElementTree.tostring(root).decode().lower()


def test_long_runs_are_thinned_and_keep_their_mean_and_their_reach():
    rng = np.random.default_rng(0)
    x, y = np.arange(100_000) / 1000, rng.normal(size=100_000)
    root = drawn(Series("a", x.tolist(), y.tolist(), BLUE))
    (line,) = by_class(root, "line")
    assert 0.9 * COLUMNS < len(corners(line)) <= COLUMNS
    _, up = labels(root)
    assert corners(line)[:, 1].mean() == pytest.approx(up[0], abs=1)
    (band,) = by_class(root, "band")
    assert np.ptp(corners(band)[:, 1]) > 0.8 * (HEIGHT - TOP - 40)
    assert len(ElementTree.tostring(root)) < 20_000


def test_a_thin_line_has_no_dots_but_where_there_is_no_line():
    thin = Series("floor", [0, 1, 2], [3.0] * 3, GREEN, thin=True)
    assert not by_class(drawn(thin), "dot")
    (dot,) = by_class(drawn(thin._replace(x=[2], y=[3.0])), "dot")
    assert "green" in dot.get("class")


def test_the_best_is_marked_with_its_value():
    root = drawn(Series("fid", [0, 5, 10], [3.0, 1.0, 2.0], BLUE, low=[2, 0.5, 1], high=[4, 1.5, 3]), best=5)
    marks = [e for e in by_class(root, "best") if e.tag == "circle"]
    assert [m[0].text for m in marks] == ["fid 1 (0.5 to 1.5) at 5 images"]
    (upright,) = [e for e in by_class(root, "best") if e.tag == "line"]
    assert upright.get("x1") == marks[0].get("cx")


def test_names_cannot_leave_their_place():
    evil = '</title><script>alert("1")</script>'
    text = svg(Panel(evil + '" onload="x', (Series(evil, [0], [1.0], BLUE),)))
    root = ElementTree.fromstring(text)
    assert "<script" not in text
    assert root.get("onload") is None
    assert [e.text for e in root.iter("title")] == [f"{evil} 1 at 0 images"]


def test_colours_have_names():
    assert [color_class(Series("a", [], [], c)) for c in (BLUE, GREEN, "#123456")] == ["blue", "green", "grey"]


@pytest.mark.parametrize("log", [False, True])
def test_nothing_to_draw_is_an_empty_plot(log):
    root = drawn(Series("a", [], [], BLUE), Series("b", [0], [NAN], BLUE), log=log)
    assert root.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    assert not by_class(root, "line")


def test_other_lengths_are_refused():
    with pytest.raises(RequestError, match="'a': expected x, y, low and high of one length, found 2, 2, 1, 2"):
        drawn(Series("a", [0, 1], [1, 2], BLUE, low=[1]))
