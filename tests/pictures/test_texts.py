"""Characters stand in their cells, rows of tables below each other, and pictures of a run have one size."""

import numpy as np
import pytest

from sparring.core.errors import RequestError
from sparring.pictures.texts import CELL, MARGIN, WIDEST, draw_table, draw_texts


def is_inked(picture, line, column):
    """Whether a character stands in a cell; lines are counted from the one of the title."""
    left, top = MARGIN + column * CELL[0], MARGIN + line * CELL[1]
    return bool((np.asarray(picture.convert("L"))[top : top + CELL[1] - 1, left : left + CELL[0]] < 200).any())


def read(picture, line, width):
    return "".join("#" if is_inked(picture, line, column) else " " for column in range(width))


def test_each_character_stands_in_its_cell():
    picture = draw_texts(["oo oo", "", " o"], 8)
    assert [read(picture, line, 8) for line in (1, 2, 3)] == ["## ##   ", " " * 8, " #      "]


def test_long_texts_are_cut_and_short_ones_stand_in_columns():
    assert read(draw_texts(["o" * 300], 10), 1, 10) == "#" * 10
    wide = draw_texts(["o" * 300], 300)
    assert wide.width == 2 * MARGIN + WIDEST * CELL[0]
    columns = draw_texts(["o"] * 16, 8)
    assert read(columns, 1, 13) == "#" + " " * 11 + "#"
    assert columns.height == 2 * MARGIN + 9 * CELL[1]


def test_real_texts_stand_on_the_left():
    picture = draw_texts(["o", "ooo"], 8, real=["oo", "oo"])
    assert read(picture, 1, 16) == "##" + " " * 10 + "#" + " " * 3
    assert read(picture, 2, 16) == "##" + " " * 10 + "###" + " "


def test_accents_are_drawn_and_other_letters_are_boxes():
    cells = [np.asarray(draw_texts([text], 8).convert("L"))[MARGIN + CELL[1] :] for text in ("a", "ä", "à", "字", "\0")]
    assert all((cells[0] != other).any() for other in cells[1:])
    below = slice(6, 18)  # of a line: the letter without what is above it
    for accented in cells[1:3]:
        np.testing.assert_array_equal(cells[0][below], accented[below])
        assert (cells[0][:5] == 255).all()
        assert (accented[:5] < 200).any()
    assert (cells[1] != cells[2]).any()


def test_numbers_stand_on_the_right_of_their_columns_and_texts_on_the_left():
    cells = {"aa": [1, None, 22], "b": ["x", "yy", None], "c": [True, False, True]}
    picture = draw_table(cells)
    assert read(picture, 1, 34) == " " * 8 + "##" + "  " + "#" + " " * 9 + "  " + "#" + " " * 9
    assert [read(picture, line, 24) for line in (2, 3, 4)] == [
        " " * 9 + "#" + "  " + "#" + " " * 9 + "  ",
        " " * 10 + "  " + "##" + " " * 8 + "  ",
        " " * 8 + "##" + "  " + " " * 10 + "  ",
    ]


def test_real_rows_stand_above():
    picture = draw_table({"a": ["x"]}, real={"a": ["xxx", "xx"]})
    assert [read(picture, line, 4) for line in (2, 3, 7)] == ["### ", "##  ", "#   "]


def test_columns_without_room_are_counted():
    few, many = ({f"name {i}": [i] for i in range(count)} for count in (9, 30))
    assert draw_table(many).width <= 2 * MARGIN + WIDEST * CELL[0]
    assert draw_table(many).height == draw_table(few).height + CELL[1]


def test_size_depends_on_names_and_numbers_alone():
    assert draw_texts(["a", "b"], 30).size == draw_texts(["a" * 40, ""], 30).size
    assert draw_table({"a": [1.0, 2.0]}).size == draw_table({"a": ["a long text that is cut", None]}).size


@pytest.mark.parametrize("draw", [lambda: draw_texts([], 4), lambda: draw_table({"a": []}), lambda: draw_table({})])
def test_nothing_is_refused(draw):
    with pytest.raises(RequestError, match="found none"):
        draw()
