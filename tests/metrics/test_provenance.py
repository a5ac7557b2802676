"""What keeps two scores apart is named, and what does not is passed over."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sparring.metrics.provenance import comparable, differences, provenance_text

SCORE: dict[str, Any] = {
    "features": "digits28",
    "features_sha256": "a1" * 32,
    "feature_dim": 64,
    "resize": "none",
    "num_samples": 5000,
    "kept": 5000,
    "reference": {"name": "mnist", "split": "train", "count": 60000, "sha256": "c3" * 32},
    "held_out": {"name": "mnist", "split": "test", "count": 10000, "sha256": "d4" * 32},
    "seed": 0,
    "weights": "ema",
    "arithmetic": "float32",
    "value_range": [-1.0, 1.0],
    "levels": 256,
    "ddof": 1,
    "sparring": "0.1.0",
}


def changed(**values: Any) -> dict[str, Any]:
    """The score with other values; `reference__split` is the split of the reference; None takes a key out."""
    score = copy.deepcopy(SCORE)
    for path, value in values.items():
        *where, key = path.split("__")
        part = score[where[0]] if where else score
        if value is None:
            del part[key]
        else:
            part[key] = value
    return score


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"features": "pca64-pixels", "features_sha256": "b2" * 32}, "features: digits28 / pca64-pixels"),
        ({"features_sha256": "b2" * 32}, "features: both digits28, but not the same: hash a1a1a1a1 / b2b2b2b2"),
        ({"resize": "bilinear 299"}, "resize: none / bilinear 299"),
        (
            {"reference__split": "test", "reference__sha256": "e5" * 32},
            "reference: mnist train / mnist test",
        ),
        ({"reference__split": "all"}, "reference: mnist train / mnist all"),
        ({"reference__sha256": "e5" * 32}, "reference: both mnist train, but not the same: hash c3c3c3c3 / e5e5e5e5"),
        ({"reference__count": 10000}, "reference: 60,000 / 10,000 samples"),
        (
            {"num_samples": 10000, "kept": 10000},
            "5,000 / 10,000 samples: fid falls with more of them",
        ),
        ({"kept": 2000}, "samples whose features were kept: 5,000 / 2,000"),
        ({"held_out__count": 500}, "held out: 10,000 / 500 samples"),
        ({"held_out__sha256": "f6" * 32}, "held out: both mnist test, but not the same: hash d4d4d4d4 / f6f6f6f6"),
        ({"weights": "raw"}, "weights: ema / raw"),
        ({"arithmetic": "bfloat16"}, "arithmetic: float32 / bfloat16"),
        ({"levels": 65536}, "levels of a stored value: 256 / 65,536"),
        ({"ddof": 0}, "covariances divide by N less: 1 / 0"),
    ],
)
def test_each_difference_is_named_once_in_both_orders(other: dict[str, Any], said: str) -> None:
    assert differences(SCORE, changed(**other)) == (said,)
    assert not comparable(SCORE, changed(**other))
    assert len(differences(changed(**other), SCORE)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 7},
        {"value_range": [-0.5, 1.0]},
        {"feature_dim": 65},  # the hash says it already
        {"held_out": None},
        {"reference__name": "digits of mine"},  # the same data under another name
        {},
    ],
)
def test_what_does_not_keep_scores_apart(other: dict[str, Any]) -> None:
    assert differences(SCORE, changed(**other)) == ()
    assert comparable(SCORE, changed(**other))


def test_several_differences_come_in_the_order_of_their_weight() -> None:
    other = changed(ddof=0, num_samples=20000, kept=10000, features="pca64-pixels", features_sha256="b2" * 32)
    assert [text.split(":")[0] for text in differences(SCORE, other)] == [
        "features",
        "5,000 / 20,000 samples",
        "samples whose features were kept",
        "covariances divide by N less",
    ]


def test_another_version_is_a_remark_and_no_more() -> None:
    assert differences(SCORE, changed(sparring="0.2.0")) == ("remark: sparring: 0.1.0 / 0.2.0",)
    assert comparable(SCORE, changed(sparring="0.2.0"))


@pytest.mark.parametrize(
    "key", ["features_sha256", "resize", "num_samples", "kept", "reference", "weights", "arithmetic", "levels", "ddof"]
)
def test_what_an_older_row_does_not_say_is_unknown(key: str) -> None:
    old = changed(**{key: None})
    (first, *_) = differences(old, SCORE)
    assert "unknown" in first
    assert not comparable(SCORE, old)
    assert differences(old, old) == ()


def test_a_held_out_set_of_none_is_none() -> None:
    assert comparable(SCORE, SCORE | {"held_out": None})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, "5000 samples against 60000 of mnist (train), digits28 features"),
        ({"num_samples": None}, "unknown samples against 60000 of mnist (train), digits28 features"),
        ({"reference": None}, "5000 samples against unknown data, digits28 features"),
        ({"reference__count": None}, "5000 samples against mnist (train), digits28 features"),
        ({"reference__name": None}, "5000 samples against 60000 of unknown data (train), digits28 features"),
        ({"reference__split": None}, "5000 samples against 60000 of mnist, digits28 features"),
        ({"features": None}, "5000 samples against 60000 of mnist (train), unknown features"),
    ],
)
def test_what_a_score_is_of_is_said_in_one_line(other: dict[str, Any], said: str) -> None:
    assert provenance_text(changed(**other)) == said
