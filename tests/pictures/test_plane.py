import numpy as np
import pytest
from PIL import Image, ImageColor

from sparring.core.errors import RequestError
from sparring.pictures.ink import ORANGE
from sparring.pictures.plane import DATA, LEFT, SIDE, TOP, View, draw_plane

SQUARE = View((-1.0, -3.0), (3.0, 1.0))
NONE = np.zeros((0, 2))


def pixel(picture: Image.Image, x: float, y: float, view: View = SQUARE) -> str:
    """The colour at a place of the view."""
    across = (x - view.low[0]) / (view.high[0] - view.low[0])
    up = (y - view.low[1]) / (view.high[1] - view.low[1])
    found = picture.getpixel((LEFT + int(across * SIDE), TOP + SIDE - 1 - int(up * SIDE)))
    assert isinstance(found, tuple)
    return "#{:02x}{:02x}{:02x}".format(*found)


def test_points_lie_where_they_are_and_samples_above_data() -> None:
    real, fake = np.array([[2.0, 0.0], [0.0, -2.0]]), np.array([[0.0, -2.0], [9.0, 0.0], [np.nan, 0.0]])
    picture = draw_plane(real, fake, SQUARE)
    for x, y, colour in ((2, 0, DATA), (0, -2, ORANGE)):  # reducing sharpens a dot a little
        found = (ImageColor.getrgb(c) for c in (pixel(picture, x, y), colour))
        assert max(abs(a - b) for a, b in zip(*found, strict=True)) < 24
    assert pixel(picture, 0, 0) == pixel(picture, 2, -2) == "#ffffff"


def test_the_shade_is_darkest_where_the_logit_is_greatest() -> None:
    logits = np.zeros((8, 8))
    logits[6, 1] = 4.0  # to the right, below
    picture = draw_plane(NONE, NONE, SQUARE, logits)
    right, left = (int(pixel(picture, x, -3 + 4 * 1.5 / 8)[1:3], 16) for x in (-1 + 4 * 6.5 / 8, -1 + 4 * 1.5 / 8))
    assert right < left
    assert int(pixel(picture, -1 + 4 * 6.5 / 8, 0)[1:3], 16) > right


def test_arrows_point_upwards_in_the_picture_for_positive_slopes() -> None:
    """One arrow in the middle: its head widens its upper end."""
    slopes = np.zeros((3, 3, 2))
    slopes[1, 1, 1] = 1.0
    logits = np.zeros((3, 3))
    up = np.asarray(draw_plane(NONE, NONE, SQUARE, logits, slopes).convert("L"), np.float64)
    plot = 255 - up[TOP + 2 : TOP + SIDE - 2, LEFT + 2 : LEFT + SIDE - 2]
    rows, columns = np.nonzero(plot > 80)
    assert abs(columns.mean() - SIDE / 2) < 3
    wide = [np.ptp(columns[rows < SIDE / 2]), np.ptp(columns[rows > SIDE / 2 + 10])]
    assert wide[0] > wide[1] + 3
    right = np.swapaxes(slopes, 0, 1)[..., ::-1]
    turned = np.asarray(draw_plane(NONE, NONE, SQUARE, logits, right).convert("L"), np.float64)
    turned = 255 - turned[TOP + 2 : TOP + SIDE - 2, LEFT + 2 : LEFT + SIDE - 2]
    assert np.abs(np.rot90(plot, -1) - turned).mean() < 1


def test_a_line_has_histograms_of_equal_area_and_a_curve() -> None:
    real, fake = np.full((100, 1), 0.5), np.full((7, 1), -0.5)
    line = View((-1.0,), (1.0,))
    with_curve = draw_plane(real, fake, line, np.linspace(-3, 5, 20), np.ones((20, 1)))
    assert with_curve.size == draw_plane(real, fake, line).size == draw_plane(NONE, NONE, SQUARE).size
    orange = np.abs(np.asarray(with_curve, np.int64) - (0xE0, 0x7A, 0x00)).sum(2) < 12
    grey = np.abs(np.asarray(with_curve, np.int64) - (0xD5, 0xD8, 0xDB)).sum(2) < 12
    plot = np.s_[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    assert np.nonzero(grey[plot])[1].mean() == pytest.approx(0.75 * SIDE, abs=8)
    tops = [np.nonzero(found[plot])[0].min() for found in (orange, grey)]
    assert tops[0] == pytest.approx(tops[1], abs=4)
    assert np.nonzero(orange[plot].any(1))[0].max() < SIDE * 0.7


@pytest.mark.parametrize("flat", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_an_opinion_of_nothing_is_drawn(flat: np.ndarray) -> None:
    drawn = draw_plane(NONE, NONE, SQUARE, flat, np.zeros((4, 4, 2))).convert("RGB")
    plot = np.asarray(drawn)[TOP + 2 : TOP + SIDE - 2, LEFT + 2 : LEFT + SIDE - 2]
    assert len(np.unique(plot.reshape(-1, 3), axis=0)) == 1  # one colour: no place is preferred, and no arrow points


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(RequestError, match="a plane: expected points"):
        draw_plane(np.zeros((3, 3)), np.zeros((3, 3)), View((0, 0, 0), (1, 1, 1)))
    with pytest.raises(RequestError, match="a plane: expected points"):
        draw_plane(NONE, NONE, SQUARE, np.zeros((4, 4)), np.zeros((4, 4)))
