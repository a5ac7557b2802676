"""Curves: values stand at their place on the axes, and thin, gappy or wild data still give a readable picture."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from sparring.core.errors import RequestError
from sparring.pictures.axes import count_axis, log_axis, nice_ticks, tick_label, value_axis
from sparring.pictures.curves import PLOT_HEIGHT, WIDTH, Panel, Series, curves, draw_curves
from sparring.pictures.ink import BLUE, ORANGE

NAN = float("nan")


def panel(x, y, log=False, color=BLUE, **more):
    return Panel("Losses", (Series("D", x, y, color),), log, **more)


def plotted(picture, color):
    """Rows and columns of pixels of nearly this colour (smoothing mixes it with its neighbours), below the legend."""
    away = np.abs(np.asarray(picture).astype(int) - ImageColor.getrgb(color)).max(axis=2)
    found = np.argwhere(away < 70)
    return found[found[:, 0] > 60]


EMPTY = draw_curves([panel([], [])])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([50_000], [123.4]),
        ([0], [0.0]),
        ([0, 10], [1.0, 2.0]),
        ([0, 10, 20], [NAN, 2.0, NAN]),
        ([0, 10, 20], [1.0, NAN, 3.0]),
        ([0, 10, 20], [3.0, 3.0, 3.0]),
        ([0, 10, 20], [1e-9, 1e12, float("inf")]),
        ([0, 10, 20], [1e6, 1e6 + 1e-3, 1e6]),
        ([0, 10, 20], [1e-300, 2e-300, 5e-300]),
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_thin_and_wild_data_are_drawn(x, y, log):
    picture = draw_curves([panel(x, y, log)])
    assert picture.width == WIDTH
    drawable = [v for v in y if np.isfinite(v) and (v > 0 or not log)]
    assert (len(plotted(picture, BLUE)) > 4) == bool(drawable)
    assert picture.tobytes() != EMPTY.tobytes()


@pytest.mark.parametrize("y", [[NAN, NAN], [float("inf"), NAN]])
def test_without_a_finite_value_the_panel_says_so(y):
    picture = draw_curves([panel([0, 10], y)])
    assert len(plotted(picture, BLUE)) == 0
    assert np.asarray(picture)[60 + PLOT_HEIGHT // 2 - 20 : 60 + PLOT_HEIGHT // 2 + 20].min() < 120  # its text


def test_values_that_are_not_positive_are_gaps_on_a_log_axis():
    with_zero, with_gap = ([panel([0, 10, 20], [5.0, v, 50.0], log=True)] for v in (0.0, NAN))
    assert draw_curves(with_zero).tobytes() == draw_curves(with_gap).tobytes()


def test_a_gap_is_a_gap():
    x = list(range(0, 600, 10))
    y = [NAN if 200 < v < 400 else float(np.sin(v / 50)) for v in x]
    columns = np.unique(plotted(draw_curves([panel(x, y)]), BLUE)[:, 1])
    inside = columns[(columns > 0.4 * WIDTH) & (columns < 0.6 * WIDTH)]
    assert len(inside) == 0
    assert len(columns) > 300


@pytest.mark.parametrize("log", [False, True])
def test_a_value_stands_where_its_axis_says(log):
    y = [10.0, 40.0, 1000.0]
    dots = plotted(draw_curves([panel([0, 10, 20], [v if n == 1 else NAN for n, v in enumerate(y)], log)]), BLUE)
    assert np.ptp(dots, axis=0).max() <= 8  # one dot
    picture = draw_curves(
        [Panel("t", (Series("a", [0, 20], [y[0], y[2]], ORANGE), Series("b", [10], [y[1]], BLUE)), log)]
    )
    low, high = (plotted(picture, ORANGE)[:, 0].max(), plotted(picture, ORANGE)[:, 0].min())
    at = plotted(picture, BLUE).mean(axis=0)
    share = np.log(4) / np.log(100) if log else 30 / 990
    assert (low - at[0]) / (low - high) == pytest.approx(share, abs=0.03)
    left, right = (f(plotted(picture, ORANGE)[:, 1]) for f in (np.min, np.max))
    assert at[1] == pytest.approx((left + right) / 2, abs=1.5)


def test_many_values_become_their_mean_within_a_band():
    rng = np.random.default_rng(0)
    x = np.arange(20_000.0)
    y = rng.choice([-1.0, 1.0], x.shape)
    picture = draw_curves([panel(x, y)])
    rows = plotted(picture, BLUE)[:, 0]
    middle = (rows.min() + rows.max()) / 2
    assert np.ptp(rows) < 0.7 * PLOT_HEIGHT  # the mean keeps to the middle,
    pale = np.asarray(picture)[:, WIDTH // 2].astype(int)
    band = np.flatnonzero((pale[:, 2] - pale[:, 0] > 20) & (np.arange(picture.height) > 60))
    assert np.ptp(band) > 0.85 * PLOT_HEIGHT  # the band reaches from -1 to 1
    assert (band.min() + band.max()) / 2 == pytest.approx(middle, abs=12)


def test_order_of_the_points_does_not_matter():
    assert (
        draw_curves([panel([20, 0, 10], [3, 1, 2])]).tobytes() == draw_curves([panel([0, 10, 20], [1, 2, 3])]).tobytes()
    )


def test_one_astray_step_does_not_flatten_the_run_and_is_counted():
    y = np.sin(np.arange(400) / 10)
    wild = y.copy()
    wild[200] = 1e9
    axis = value_axis(wild)
    assert axis.high < 4
    assert value_axis(y[:50]).high > y[:50].max()
    picture, calm = draw_curves([panel(np.arange(400), wild)]), draw_curves([panel(np.arange(400), y)])
    note = (slice(0, 34), slice(WIDTH - 200, None))
    assert np.asarray(calm)[note].min() == 255
    assert np.asarray(picture)[note].min() < 160


def test_few_values_are_all_within_the_axis():
    axis = value_axis(np.array([1.0, 2.0, 900.0]))
    assert axis.low < 1
    assert axis.high > 900


def test_best_checkpoint_is_marked_in_its_panel():
    plain = draw_curves([panel([0, 10, 20], [9.0, 5.0, 7.0])])
    marked = draw_curves([panel([0, 10, 20], [9.0, 5.0, 7.0], best=10)])
    changed = np.argwhere((np.asarray(plain) != np.asarray(marked)).any(axis=2))
    inside = changed[changed[:, 0] > 62]
    assert np.ptp(inside[:, 1]) <= 18  # a line and a ring at one place,
    assert np.ptp(inside[:, 0]) > 0.9 * PLOT_HEIGHT  # from top to bottom
    assert len(changed) > len(inside)  # and the legend


def test_panels_share_the_axis_of_images_seen():
    losses = panel([0, 1_000_000], [1.0, 2.0])
    score = panel([500_000], [3.0], color=ORANGE)
    picture = draw_curves([losses, score])
    line, dot = plotted(picture, BLUE), plotted(picture, ORANGE)
    dot = dot[dot[:, 0] > picture.height // 2 + 60]
    assert dot[:, 1].mean() == pytest.approx((line[:, 1].min() + line[:, 1].max()) / 2, abs=1.5)


def test_long_titles_and_legends_stay_within_the_picture():
    names = tuple(Series(f"a series with quite a long name {n}", [0, 1], [0, n], ORANGE) for n in range(9))
    picture = np.asarray(draw_curves([Panel("W" * 300, (*names, Series("W" * 300, [0], [0], BLUE)))]))
    assert picture[:, :8].min() == 255
    assert picture[:, -6:].min() == 255
    assert picture.shape[0] > EMPTY.height + 2 * 22  # more rows of legend


def test_curves_writes_a_png_with_its_entries(tmp_path):
    curves(tmp_path / "curves.png", [panel([0, 1], [1, 2])], info={"recipe": "ab12"})
    with Image.open(tmp_path / "curves.png") as read:
        assert read.text == {"recipe": "ab12"}
        assert read.tobytes() == draw_curves([panel([0, 1], [1, 2])]).tobytes()


def test_requests_that_cannot_be_met():
    with pytest.raises(RequestError, match="at least one panel"):
        draw_curves([])
    with pytest.raises(RequestError, match="'D' has 2 values of x but 1 of y"):
        draw_curves([panel([1, 2], [1])])


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-3e-7, 9e-7), (99.0, 101.0), (0.0, 2_000_000.0), (1e6, 1e6 + 1)]
)
def test_ticks_are_few_even_and_told_apart(low, high):
    ticks, step = nice_ticks(low, high, 5)
    assert 3 <= len(ticks) <= 8
    np.testing.assert_allclose(np.diff(ticks), step)
    assert low - 1e-6 * step <= ticks[0]
    assert ticks[-1] <= high + 1e-6 * step
    labels = [tick_label(t, step) for t in ticks]
    assert len(set(labels)) == len(labels)
    scale = {"k": 1e3, "M": 1e6}
    read = [float(t.rstrip("kM")) * scale.get(t[-1], 1) for t in labels]
    np.testing.assert_allclose(read, ticks, atol=1e-9 * step)  # a label is its value, not near it


def test_images_seen_are_written_short():
    assert [label for _, label in count_axis(1_200_000).ticks][:3] == ["0", "200k", "400k"]
    assert [label for _, label in count_axis(1_200_000).ticks][-1] == "1.2M"


@pytest.mark.parametrize(("low", "high"), [(20.0, 1000.0), (18.0, 40.0), (24.1, 24.9), (1e-9, 1e12), (5.0, 5.0)])
def test_log_axes_have_ticks_on_any_range(low, high):
    axis = log_axis(np.array([low, high]))
    named = [(t, label) for t, label in axis.ticks if label]
    assert 3 <= len(named) <= 9
    assert all(axis.low <= t <= axis.high for t, _ in axis.ticks)
    assert 0 < axis.at(low) <= axis.at(high) < 1


def test_few_points_are_dots_on_their_line():
    ink = plotted(draw_curves([panel([0, 10, 20], [3.0, 3.0, 3.0])]), BLUE)
    left, right = ink[:, 1].min(), ink[:, 1].max()
    thick = [int((ink[:, 1] == round(left + share * (right - left))).sum()) for share in (0.25, 0.5, 0.75)]
    assert thick[0] == thick[2] <= 3
    assert thick[1] >= 5


def pale(picture, column):
    """The rows of a column of pixels that a pale blue band colours, below the legend."""
    found = np.asarray(picture)[:, column].astype(int)
    rows = np.flatnonzero((found[:, 2] - found[:, 0] > 20) & (found[:, 0] > 120))
    return rows[rows > 60]


@pytest.mark.parametrize("log", [False, True])
def test_an_interval_is_a_band_between_its_ends(log):
    x = [0, 10, 20]
    ends = [Series("low", x, [2.0] * 3, ORANGE), Series("high", x, [8.0] * 3, ORANGE)]
    score = Series("fid", x, [5.0] * 3, BLUE, low=[2.0] * 3, high=[8.0] * 3)
    with_ends = draw_curves([Panel("t", (*ends, score), log)])
    column = WIDTH // 3
    band = pale(with_ends, column)
    lines = plotted(with_ends, ORANGE)
    lines = np.unique(lines[lines[:, 1] == column, 0])
    assert abs(band.min() - lines.min()) <= 3
    assert abs(band.max() - lines.max()) <= 3
    bare = draw_curves([Panel("t", (*ends, score._replace(low=None, high=None)), log)])
    assert len(pale(bare, column)) <= 4  # the smoothed edges of the line itself
    legend = [np.asarray(p)[36:62].astype(int) for p in (with_ends, bare)]
    swatch, nothing = (((row[..., 2] - row[..., 0] > 20) & (row[..., 0] > 180)).sum() for row in legend)
    assert swatch - nothing > 150


def test_the_axis_holds_the_interval():
    x, y = [0, 10], [5.0, 5.0]
    picture = draw_curves([Panel("t", (Series("fid", x, y, BLUE, low=[-100.0] * 2, high=[100.0] * 2),))])
    band = pale(picture, WIDTH // 3)
    assert 0.85 * PLOT_HEIGHT < np.ptp(band) < PLOT_HEIGHT


def test_an_interval_that_reaches_zero_goes_down_to_the_end_of_a_log_axis():
    both = Series("fid", [0, 10], [5.0, 5.0], BLUE, low=[-1.0, 0.0], high=[9.0, 9.0])
    picture = draw_curves([Panel("t", (both,), log=True)])
    band = pale(picture, WIDTH // 3)
    assert band.max() - 60 > PLOT_HEIGHT - 3  # the plot begins at row 62
    lines = Panel("t", (both._replace(y=[9.0, 9.0], low=None, high=None), both._replace(low=None, high=None)), log=True)
    same_axis = plotted(draw_curves([lines]), BLUE)
    assert (
        abs(plotted(picture, BLUE)[:, 0].max() - same_axis[:, 0].max()) <= 4
    )  # nothing at or below 0 stretches the axis


def test_a_single_value_has_its_interval_and_one_without_has_none():
    x, y, low, high = [0, 10, 20], [NAN, 5.0, NAN], [1.0, 2.0, 3.0], [6.0, 8.0, 9.0]
    alone = draw_curves([Panel("t", (Series("fid", x, y, BLUE, low=low, high=high),))])
    dot = plotted(alone, BLUE).mean(axis=0)
    assert np.ptp(pale(alone, round(dot[1]))) > 0.8 * PLOT_HEIGHT
    assert len(pale(alone, round(dot[1]) + 12)) == 0
    unknown = Series("fid", [0, 10, 20], [5.0, 5.0, 5.0], BLUE, low=[2.0, 2.0, NAN], high=[8.0, 8.0, NAN])
    picture = draw_curves([Panel("t", (unknown,))])
    assert np.ptp(pale(picture, 150)) > 0.8 * PLOT_HEIGHT
    assert len(pale(picture, WIDTH - 60)) < 0.3 * PLOT_HEIGHT


def test_a_line_to_compare_with_is_thin_and_has_no_dots():
    def drawn(color, thin):
        return draw_curves([Panel("t", (Series("floor", [0, 10, 20], [3.0] * 3, color, thin=thin),))])

    assert np.ptp(plotted(drawn(BLUE, True), BLUE)[:, 0]) < 2
    assert np.ptp(plotted(drawn(BLUE, False), BLUE)[:, 0]) > 3

    def ink(color, thin):
        return (255.0 - np.asarray(drawn(color, thin))[62:280, WIDTH // 3, 0]).sum()

    def marked(best):
        picture = draw_curves([Panel("t", (Series("floor", [0, 10, 20], [3.0] * 3, BLUE, thin=True),), best=best)])
        return plotted(picture, BLUE)

    np.testing.assert_array_equal(np.unique(marked(10)[:, 0]), np.unique(marked(None)[:, 0]))  # no ring

    thin, thick, none = ink(BLUE, True), ink(BLUE, False), ink("white", True)
    assert (thick - none) / (thin - none) == pytest.approx(2, rel=0.2)


def test_a_note_stands_below_the_title():
    plain = np.asarray(draw_curves([panel([0, 1], [1, 2])]))
    for note, rows in (("one line", 1), ("a few words more " * 13, 2), ("W" * 300, 1), (f"so {'W' * 300} long", 3)):
        noted = np.asarray(draw_curves([panel([0, 1], [1, 2], note=note)]))
        assert len(noted) == len(plain) + 22 * rows
        for row in range(rows):
            line = noted[36 + 22 * row : 58 + 22 * row]
            assert line.min() < 150
            assert line[:, -6:].min() == 255
        np.testing.assert_array_equal(noted[36 + 22 * rows :], plain[36:])


def test_intervals_of_another_length_are_refused():
    with pytest.raises(RequestError, match="'fid' has 2 values of x but 1 of high"):
        draw_curves([Panel("t", (Series("fid", [0, 1], [1, 2], BLUE, low=[0, 1], high=[2]),))])
