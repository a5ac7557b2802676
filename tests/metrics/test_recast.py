"""Samples of other files mean the same in the reference's numbers."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Form, Series, Table, Text
from sparring.core.forms.table import Categorical, Continuous
from sparring.core.protocols import DataSpec
from sparring.metrics.judge import Judge
from sparring.metrics.ngrams import NGrams
from sparring.metrics.recast import in_form_of, recast


def spec(form: Form | None, *shape: int, name: str = "given") -> DataSpec:
    return DataSpec(name=name, shape=shape, form=form, levels=0)


def test_texts_keep_their_letters() -> None:
    ours, theirs = Text(tokens=("", "a", "b", "c")), Text(tokens=("", "c", "x", "b", "a"))
    x = ours.one_hot(torch.tensor([[1, 2, 3], [3, 0, 0], [0, 0, 0]]))
    for T in (5, 3):
        found = recast(x, spec(ours, 3, 4), spec(theirs, T, 5))
        assert found.shape == (3, T, 5)
        assert theirs.decode(found) == ["abc", "c", ""]
    assert theirs.decode(recast(x, spec(ours, 3, 4), spec(theirs, 2, 5))) == ["ab", "c", ""]
    less = Text(tokens=("", "a", "b"))
    with pytest.raises(RequestError, match="given: tokens that real does not hold: 'c'; leave those texts out"):
        recast(x, spec(ours, 3, 4), spec(less, 3, 3, name="real"))
    assert recast(x[:0], spec(ours, 3, 4), spec(less, 3, 3)).shape == (0, 3, 3)
    with pytest.raises(RequestError, match="is read by characters and one by words"):
        recast(x, spec(ours, 3, 4), spec(theirs.replace(between=" "), 3, 5))


def test_series_keep_their_values() -> None:
    ours = Series(columns=("a", "b"), low=(0.0, 0.0), high=(1.0, 2.0))
    theirs = Series(columns=("a", "b"), low=(-1.0, 0.0), high=(1.0, 4.0))
    x = torch.rand(4, 3, 2) * 2 - 1
    found = recast(x, spec(ours, 3, 2), spec(theirs, 3, 2))
    assert np.allclose(ours.decode(x), theirs.decode(found), atol=1e-6)
    ragged = theirs.replace(ragged=True)
    found = recast(x, spec(ours, 3, 2), spec(ragged, 5, 3))
    assert [len(series) for series in ragged.decode(found)] == [3] * 4
    assert np.allclose(ours.decode(x), ragged.decode(found), atol=1e-6)
    with pytest.raises(RequestError, match="given: a series of 3 rows; expected 4, as real has them"):
        recast(x, spec(ours, 3, 2), spec(theirs, 4, 2, name="real"))
    with pytest.raises(RequestError, match="given: expected the columns of real, b, a, found a, b"):
        recast(x, spec(ours, 3, 2), spec(theirs.replace(columns=("b", "a")), 3, 2, name="real"))


def number(name: str, mean: float, missing: int = 0) -> Continuous:
    means, deviations, weights = (mean, mean + 5), (2.0, 1.0), (0.5, 0.5)
    return Continuous(
        name=name, means=means, deviations=deviations, weights=weights, low=-20.0, high=20.0, digits=3, missing=missing
    )


def test_rows_keep_their_cells() -> None:
    day = Continuous(
        name="day", means=(1e9,), deviations=(1e8,), weights=(1.0,), low=0.0, high=2e9, format="%Y-%m-%d"
    )  # fmt: skip
    few = Categorical(name="few", values=(1, 2), counts=(1, 1))
    kind = Categorical(name="kind", values=("a", "b", None), counts=(1, 1, 1))
    ours = Table(columns=(number("n", 0.0, missing=2), kind, few, day))
    turned = Categorical(name="kind", values=(None, "b"), counts=(1, 1), others=("z", "y"), other_counts=(1, 1))
    theirs = Table(columns=(day, turned, Continuous(
        name="few", means=(0.0,), deviations=(1.0,), weights=(1.0,), low=0.0, high=3.0, whole=True
    ), number("n", 1.0, missing=1)))  # fmt: skip
    random = torch.Generator().manual_seed(0)
    codes = [torch.nn.functional.one_hot(torch.randint(0, k, (30,), generator=random), k).float() for k in (3, 3, 2)]
    alpha = torch.rand(30, 2, generator=random) - 0.5
    x = torch.cat([alpha[:, :1], *codes, alpha[:, 1:]], 1)
    found = theirs.decode(recast(x, spec(ours, 10), spec(theirs, theirs.width)))
    expected = ours.decode(x)
    assert found["day"] == expected["day"]
    assert found["few"] == expected["few"]
    pairs = [pair for pair in zip(found["n"], expected["n"], strict=True) if pair != (None, None)]
    assert 0 < len(pairs) < 30
    assert all(mine == pytest.approx(wanted, abs=0.002) for mine, wanted in pairs)
    pairs = list(zip(found["kind"], expected["kind"], strict=True))
    assert all(mine == wanted for mine, wanted in pairs if wanted != "a")
    assert {mine for mine, wanted in pairs if wanted == "a"} == {"z", "y"}  # what is new is one of the others
    for reference, said in (
        ((number("m", 0.0),), "given: expected a column 'm', as real has it"),
        ((number("n", 0.0),), "given, column 'n': cells are missing, and in real none are"),
        ((number("kind", 0.0),), "given, column 'kind': expected numbers, found 'a'|found 'b'"),
        ((kind.replace(values=("b", None), counts=(1, 1)),), "given, column 'kind': values that real does not hold: a"),
    ):
        form = Table(columns=reference)
        with pytest.raises(RequestError, match=said):
            recast(x, spec(ours, 10), spec(form, form.width, name="real"))


def test_kinds_are_not_mixed(held: Any) -> None:
    text, series = Text(tokens=("", "a")), Series(columns=("a",), low=(0.0,), high=(1.0,))
    with pytest.raises(RequestError, match="given: expected data of the kind of real"):
        recast(torch.zeros(1, 3, 2), spec(text, 3, 2), spec(series, 3, 1, name="real"))
    plain = held(torch.rand(5, 3))
    assert in_form_of(plain, spec(series, 3, 1)) is plain


def test_held_out_texts_of_another_file(held: Any) -> None:
    ours, theirs = Text(tokens=("", "a", "b")), Text(tokens=("", "b", "a"))
    numbers = torch.randint(1, 3, (60, 4), generator=torch.Generator().manual_seed(0))
    real = held(ours.one_hot(numbers), form=ours)
    other = held(theirs.one_hot(torch.tensor([0, 2, 1])[numbers]), form=theirs)
    judge = Judge(real, metrics=(NGrams(),), held_out=other)
    source = in_form_of(other, real.spec)
    assert torch.equal(source.take(torch.arange(60)).x, real.x)
    assert (len(source), source.spec.sha256) == (60, "")
    assert judge._held is not None
    assert torch.equal(judge._held.features, judge.real.features)
    assert not math.isnan(float(judge.real.features.sum()))
