from typing import Any

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Text
from sparring.metrics.features import choose, load
from sparring.metrics.features.tokens import Tokens

FORM = Text(tokens=("", "a", "b"))


def test_the_greatest_value_counts() -> None:
    x = torch.tensor([[[0.1, 0.2, 0.7], [-3.0, -1.0, -2.0]], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]])
    assert Tokens((2, 3))(x).tolist() == [[2.0, 1.0], [1.0, 0.0]]
    assert FORM.read(Tokens((2, 3))(x).long()) == ["ba", "a"]
    x[0, 1, 2] = torch.nan
    assert Tokens((2, 3))(x).isnan().tolist() == [[False, True], [False, False]]


def test_texts_are_seen_as_tokens_and_nothing_else_is(held: Any) -> None:
    texts = held(torch.zeros(5, 2, 3), form=FORM)
    series = held(torch.zeros(5, 4, 1), form=Series(columns=("a",), low=(0.0,), high=(1.0,)))
    assert (choose(texts.spec), choose(series.spec)) == ("tokens", "values")
    assert (load("tokens", texts).dim, load("values", series).dim) == (2, 4)
    with pytest.raises(RequestError, match=r"features 'pca': texts are seen as tokens, .* made is seen as tokens"):
        load("pca", texts)
    with pytest.raises(RequestError, match=r"features 'tokens': .* nothing else is; made is seen as values"):
        load("tokens", series)
    with pytest.raises(RequestError, match="no features 'toknes': did you mean 'tokens'"):
        load("toknes", texts)
    assert Tokens((2, 3)).sha256 != Tokens((3, 2)).sha256
