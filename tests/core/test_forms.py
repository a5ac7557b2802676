"""What the numbers of series and texts mean: there and back by hand."""

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Text
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json


def test_series_come_back_in_their_units():
    form = Series(columns=("a", "b"), low=(0.0, -1.0), high=(10.0, 3.0), decimals=(1, -1))
    x = torch.tensor([[[-1.0, 0.0], [0.1234, 1.5]]])
    (found,) = form.decode(x)
    np.testing.assert_allclose(found, [[0.0, 1.0], [5.6, 3.0]], atol=1e-12)


def test_ragged_series_end_where_their_last_column_falls():
    form = Series(columns=("a",), low=(0.0,), high=(2.0,), ragged=True)
    there = torch.tensor([[1.0, 0.4, -0.1, 1.0], [1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]])
    found = form.decode(torch.stack([torch.zeros(3, 4), there], 2))
    assert [len(series) for series in found] == [2, 4, 1], "the shortest series has one moment"
    assert all((series == 1).all() for series in found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": (), "low": (), "high": ()},
        {"columns": ("a",), "low": (0.0, 1.0), "high": (1.0,)},
        {"columns": ("a",), "low": (1.0,), "high": (1.0,)},
        {"columns": ("a",), "low": (0.0,), "high": (1.0,), "decimals": (1, 2)},
    ],
)
def test_series_that_make_no_sense_are_refused(wrong):
    with pytest.raises(RequestError, match="Series: expected"):
        Series(**wrong)


def test_texts_end_at_the_first_empty_token():
    form = Text(tokens=("", "a", "b"))
    numbers = torch.tensor([[1, 2, 0, 1], [2, 2, 2, 2], [0, 1, 1, 1]])
    assert form.read(numbers) == ["ab", "bbbb", ""]
    assert form.decode(form.one_hot(numbers)) == ["ab", "bbbb", ""]
    assert form.decode(form.one_hot(numbers) + 0.4 * torch.rand(3, 4, 3)) == ["ab", "bbbb", ""], "the greatest counts"
    assert form.replace(between=" ").read(numbers[:1]) == ["a b"]


@pytest.mark.parametrize("tokens", [("",), ("a", "b"), ("", "a", "a")])
def test_texts_of_tokens_that_make_no_sense_are_refused(tokens):
    with pytest.raises(RequestError, match="Text: expected"):
        Text(tokens=tokens)


def test_a_form_is_part_of_what_is_known_of_data():
    data = DataSpec(name="words", shape=(4, 3), form=Text(tokens=("", "ä", "b")))
    assert from_json(to_json(data)) == data
    assert data.form is not None
    assert data.form.conditions(2, torch.Generator()) is None
