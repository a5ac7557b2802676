"""What is drawn of a line: every value is counted once, in its column, and gaps stay gaps."""

import itertools

import numpy as np
import pytest

from sparring.pictures.axes import FLOOR_WITHIN, per_column, shares_axis, stretches

NAN = float("nan")


def test_a_column_has_the_mean_and_the_reach_of_its_values():
    column = np.array([0.0, 0, 0, 2, 3, 3])
    x, y = np.array([0.0, 1, 5, 6, 7, 8]), np.array([1.0, NAN, 4, NAN, 2, 3])
    low, high = np.subtract(y, [1, 1, 5, 1, 1, 0]), np.add(y, [9, 1, 1, 1, 1, 1])
    found = per_column(column, x, y, low, high)
    np.testing.assert_allclose(found, [[2, 6, 7.5], [2.5, NAN, 2.5], [-1, NAN, 1], [10, NAN, 4]])


@pytest.mark.parametrize("known", ["", "0", "1", "0110", "1001", "00111011"])
def test_stretches_are_all_that_is_known_and_no_gap(known):
    y = np.array([1.0 if k == "1" else NAN for k in known])
    found = [list(range(len(y))[part]) for part in stretches(y)]
    assert list(itertools.chain(*found)) == [n for n, k in enumerate(known) if k == "1"]
    assert len(found) == len(known.replace("0", " ").split())


@pytest.mark.parametrize(("factor", "drawn"), [(0.99, True), (1.01, False), (NAN, False)])
def test_real_data_stand_beside_scores_that_are_not_far_off(factor, drawn):
    scores = [4.0, 2.0, 8.0]
    assert shares_axis(8 * FLOOR_WITHIN * factor, scores) == drawn
    assert shares_axis(2 / FLOOR_WITHIN / factor, scores) == drawn


@pytest.mark.parametrize("worst", [0.0, -1.0])
def test_scores_that_are_not_positive_have_no_times(worst):
    assert not shares_axis(1.0, [1.0, worst])
