"""Each sample stands in its row, its neighbours right of it, each with its own distance."""

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.pictures.grid import GAP, sample_grid
from sparring.pictures.nearest import BETWEEN, HEAD, MARGIN, TEXT, nearest


def flat(levels, size=48, channels=1):
    """Images of one grey each, that `sample_grid` neither magnifies nor reduces."""
    return (torch.tensor(levels) / 127.5 - 1)[..., None, None, None].expand(*np.shape(levels), channels, size, size)


def corner(row, column, head=MARGIN + HEAD, cell=48):
    """Where a cell begins: x and y."""
    x = MARGIN + (column > 0) * BETWEEN + column * (cell + GAP)
    return x, head + row * (cell + GAP + TEXT)


def test_every_cell_is_where_it_belongs():
    samples, others = flat([10.0, 60.0]), flat([[20.0 + 10 * k for k in range(7)], [80.0 + 10 * k for k in range(7)]])
    picture = np.asarray(nearest(samples, others, torch.rand(2, 7)))
    for row, greys in enumerate([[10, *range(20, 90, 10)], [60, *range(80, 150, 10)]]):
        for column, grey in enumerate(greys):
            x, y = corner(row, column)
            assert (picture[y : y + 48, x : x + 48] == grey).all(), (row, column)
            outside = picture[y - 1 : y + 49, x - 1 : x + 49].copy()
            outside[1:-1, 1:-1] = 255
            assert (outside == 255).all(), (row, column)


def test_colour_is_kept():
    samples = torch.tensor([-1.0, 0.2, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 48, 48)
    picture = np.asarray(nearest(samples, samples[:, None].expand(-1, 7, -1, -1, -1), torch.zeros(1, 7)))
    x, y = corner(0, 0)
    assert picture[y + 5, x + 5].tolist() == [0, 153, 255]


@pytest.mark.parametrize("k", [0, 2, 6])
def test_distances_stand_below_their_neighbours_and_nowhere_else(k):
    samples, others = flat([255.0]), flat([[255.0] * 7])
    before = np.asarray(nearest(samples, others, torch.zeros(1, 7))).astype(int)
    distances = torch.zeros(1, 7)
    distances[0, k] = 0.77
    changed = np.argwhere((np.asarray(nearest(samples, others, distances)) != before).any(2))
    x, y = corner(0, k + 1)
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert y + 48 <= top <= bottom < y + 48 + GAP + TEXT
    assert x <= left <= right < x + 48


def test_vectors_are_drawn_as_the_grid_draws_them():
    samples = torch.linspace(-1, 1, 5)[None]
    picture = np.asarray(nearest(samples, -samples[None].expand(1, 4, 5), torch.ones(1, 4)))
    cells = [np.asarray(sample_grid(s, 1, scale=1))[GAP:-GAP, GAP:-GAP] for s in (samples, -samples)]
    height, width = cells[0].shape[:2]
    for column, cell in enumerate([cells[0], *[cells[1]] * 4]):
        x, y = MARGIN + (column > 0) * BETWEEN + column * (width + GAP), MARGIN + HEAD
        np.testing.assert_array_equal(picture[y : y + height, x : x + width], cell)


def test_one_neighbour_leaves_room_for_the_words_above():
    picture = np.asarray(nearest(flat([255.0]), flat([[255.0]]), torch.zeros(1, 1)))
    assert picture[:, -3:].min() == 255
    assert picture[: MARGIN + HEAD].min() < 150


def test_large_images_are_reduced():
    assert nearest(torch.zeros(2, 3, 600, 600), torch.zeros(2, 5, 3, 600, 600), torch.zeros(2, 5)).width < 1700


@pytest.mark.parametrize(
    ("samples", "neighbours", "distances"),
    [
        ((2, 1, 8, 8), (2, 3, 1, 8, 8), (2, 4)),
        ((2, 1, 8, 8), (3, 3, 1, 8, 8), (3, 3)),
        ((2, 1, 8, 8), (2, 3, 1, 8, 9), (2, 3)),
        ((0, 1, 8, 8), (0, 3, 1, 8, 8), (0, 3)),
        ((2, 5), (2, 0, 5), (2, 0)),
        ((2, 5), (2, 3, 5), (6,)),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(samples, neighbours, distances):
    with pytest.raises(RequestError, match="expected samples"):
        nearest(torch.zeros(samples), torch.zeros(neighbours), torch.zeros(distances))
