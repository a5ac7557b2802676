from __future__ import annotations

import json
import types
from typing import Literal

import pytest

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import Spec, from_json, to_json
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1
from sparring.layers import Activation, Dense
from sparring.networks.layered import Generator


class Inner(Spec):
    rate: float = 0.5
    mode: Literal["fast", "slow"] = "fast"


class Outer(Spec):
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    count: int = 1
    maybe: int | None = None


def test_round_trip_through_json_text() -> None:
    game = Adversarial(penalties=(R1(weight=2.0, every=8),), d_steps=3)
    assert from_json(json.loads(json.dumps(to_json(game)))) == game
    generator = Generator(layers=[Dense(256), Activation("relu", leaky_rate=0.01), Dense(784)])
    assert from_json(json.loads(json.dumps(to_json(generator)))) == generator


def test_specs_are_frozen_and_keyword_only() -> None:
    with pytest.raises(AttributeError):
        Inner().rate = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        Inner(0.1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("inner.rate", "2", 2.0),
        ("inner.mode", "slow", "slow"),
        ("many.1.rate", "0.25", 0.25),
        ("maybe", "3", 3),
        ("maybe", "null", None),
    ],
)
def test_with_path_sets_one_field(path: str, text: str, value: object) -> None:
    before = Outer(many=(Inner(), Inner()))
    found: object = before.with_path(path, text)
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, tuple) else getattr(found, part)
    assert found == value
    assert type(found) is type(value)
    assert before == Outer(many=(Inner(), Inner()))


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("iner.rate", "1", "did you mean 'inner'"),
        ("inner.rte", "1", "did you mean 'rate'"),
        ("inner.rate", "fast", "expected float, found 'fast'"),
        ("inner.mode", "medium", "expected 'fast' or 'slow', found 'medium'"),
        ("count", "1.5", "expected int"),
        ("count", "true", "expected int"),
        ("many.0.rate", "1", "'0' is not an index of a list of 0"),
        ("count.deep", "1", "nothing below 1"),
    ],
)
def test_with_path_refuses_with_the_nearest(path: str, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Outer().with_path(path, text)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:exec",
        "sparring.core.spec:to_json",
        "sparring.core.spec:json",
        "sparring.:x",
        "x",
        7,
        None,
    ],
)
def test_only_our_specs_can_be_named(name: object) -> None:
    with pytest.raises(RequestError):
        from_json({"spec": name})


def test_a_module_is_imported_only_from_this_package() -> None:
    with pytest.raises(RequestError, match="not a part of sparring"):
        from_json({"spec": "sparring.../etc:Spec"})
    with pytest.raises(RequestError, match="has no"):
        from_json({"spec": "sparring.nothing_of_the_kind:Spec"})


def test_trusted_modules_may_define_specs() -> None:
    module = types.ModuleType("mine")
    module.Inner = Inner  # type: ignore[attr-defined]
    data = {"spec": "mine:Inner", "rate": 1.0}
    assert from_json(data, (module,)) == Inner(rate=1.0)
    with pytest.raises(RequestError, match="--recipe"):
        from_json(data)


def test_unknown_and_missing_fields_are_named() -> None:
    good = to_json(DataSpec(name="a", shape=(2,)))
    with pytest.raises(RequestError, match=r"no field 'shap'.*did you mean 'shape'"):
        from_json(good | {"shap": [1]})
    with pytest.raises(RequestError, match=r"missing.*'shape'"):
        from_json({k: v for k, v in good.items() if k != "shape"})


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="not set"):
        to_json({1, 2})


@pytest.mark.parametrize(("text", "value"), [(".05", 0.05), ("1.", 1.0), ("+3", 3.0), ("+.5e-1", 0.05), ("-.5", -0.5)])
def test_numbers_may_be_written_as_people_write_them(text: str, value: float) -> None:
    assert Inner(rate=1.0).with_path("rate", text).rate == value


def test_numbers_beyond_all_bounds_are_refused() -> None:
    for text in (".", "1e", "--3", "1e999", "+1e999"):
        with pytest.raises(RequestError):
            Inner(rate=1.0).with_path("rate", text)
