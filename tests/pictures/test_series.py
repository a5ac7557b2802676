"""Lines run where the values are, panels stand beside each other, and pictures of a run have one size."""

import numpy as np
import pytest

from sparring.core.errors import RequestError
from sparring.core.forms import Series
from sparring.pictures.series import GAP, HEAD, MARGIN, MOST, PANEL, draw_series

FORM = Series(columns=("a", "b"), low=(0.0, 10.0), high=(1.0, 20.0))


def ink(picture, number, colour, across=6):
    """Rows of a panel, from its top, that are of a colour, by column of pixels."""
    left = MARGIN + number % across * (PANEL[0] + GAP)
    top = MARGIN + HEAD + number // across * (PANEL[1] + GAP)
    panel = np.asarray(picture).astype(int)[top : top + PANEL[1], left : left + PANEL[0]]
    is_blue = panel[..., 2] - panel[..., 0] > 80
    is_orange = panel[..., 0] - panel[..., 2] > 80
    return {"blue": is_blue, "orange": is_orange}[colour]


def test_each_column_runs_from_its_own_low_to_its_own_high():
    rising = np.stack([np.linspace(0, 1, 20), np.linspace(20, 10, 20)], 1)
    picture = draw_series([rising], FORM, 20)
    for colour, way in (("blue", -1), ("orange", 1)):
        drawn = ink(picture, 0, colour)
        heights = [np.flatnonzero(drawn[:, x]).mean() for x in (8, 53, 158, 203)]
        expected = [6 + 100 * ((x - 6) / 200 if way > 0 else 1 - (x - 6) / 200) for x in (8, 53, 158, 203)]
        np.testing.assert_allclose(heights, expected, atol=2)


def test_what_ends_sooner_is_shorter():
    values = np.full((10, 2), 0.5) * [1, 30]
    picture = draw_series([values, np.tile(values, (2, 1))], FORM, 20)
    ends = [np.flatnonzero(ink(picture, number, "blue").any(0)).max() for number in range(2)]
    assert ends[0] == pytest.approx(6 + 200 * 9 / 19, abs=4)
    assert ends[1] == pytest.approx(206, abs=1)


def test_panels_follow_in_reading_order_and_real_ones_stand_on_the_left():
    low, high = np.ones((5, 2)) * [0, 10], np.ones((5, 2)) * [1, 20]
    alone = draw_series([high] * 6 + [low], FORM, 5)
    heights = [np.flatnonzero(ink(alone, n, "blue").any(1)).mean() for n in (5, 6)]
    assert heights[0] < 12 < 100 < heights[1]
    both = draw_series([low] * 3, FORM, 5, real=[high] * 3)
    sides = [np.flatnonzero(ink(both, n, "blue").any(1)).mean() for n in (0, 2)]
    assert max(sides) < 12
    right = np.asarray(both).astype(int)[MARGIN + HEAD : MARGIN + HEAD + PANEL[1], both.width // 2 + 2 * GAP :]
    assert np.flatnonzero((right[..., 2] - right[..., 0] > 80).any(1)).mean() > 100


def test_size_depends_on_the_numbers_alone():
    random = np.random.default_rng(0)
    sizes = {draw_series([random.random((n, 2)) * 9 for n in lengths], FORM, 30).size for lengths in ([3, 30], [1, 7])}
    assert len(sizes) == 1
    many = draw_series([np.zeros((3, 2))] * 200, FORM, 3)
    assert many.size == draw_series([np.zeros((3, 2))] * MOST, FORM, 3).size
    assert many.width <= 1600


def test_many_columns_and_values_that_are_none_are_drawn():
    count = 40
    form = Series(columns=tuple(f"{'n' * 50}\n{i}" for i in range(count)), low=(0.0,) * count, high=(1.0,) * count)
    shown = draw_series([np.full((4, count), np.nan), np.full((4, count), 1e300)], form, 4)
    fewer = draw_series([np.zeros((4, 6))] * 2, Series(columns=tuple("abcdef"), low=(0.0,) * 6, high=(1.0,) * 6), 4)
    assert shown.height > fewer.height  # the legend takes more lines
    assert draw_series([np.zeros((1, 2))], FORM, 1).width > 200


@pytest.mark.parametrize(("fake", "real"), [([], None), ([np.zeros((4, 3))], None), ([np.zeros((4, 2))], [])])
def test_what_cannot_be_drawn_is_refused(fake, real):
    with pytest.raises(RequestError, match=r"expected series \[t, 2\], found"):
        draw_series(fake, FORM, 4, real)
