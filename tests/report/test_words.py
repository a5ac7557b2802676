"""Words say what the numbers are."""

from __future__ import annotations

import pytest

from sparring.report.words import as_sentence, count, duration, how_made, number


@pytest.mark.parametrize(
    ("value", "text"),
    [(9999.6, "1e+04"), (10_000.4, "10,000"), (-12_345.0, "-12,345"), (2e12, "2e+12"), (0.0, "0"), (1e-7, "1e-07")],
)
def test_large_numbers_are_whole_and_others_have_four_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_what_is_no_count_is_said() -> None:
    assert count(1500, "samples") == "1,500 samples"
    assert count("many", "samples") == "an unknown number of samples"
    assert count(None) == "unknown"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (9.94, "9.9 s"), (59.4, "59 s"), (60.0, "1 min 0 s"), (3599.4, "59 min 59 s"), (3599.6, "1 h 0 min")],
)
def test_times_carry_over(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_sentence_is_ended_once() -> None:
    assert [as_sentence(text) for text in ("", " ", "it fails ", "why?")] == ["", "", "It fails.", "Why?"]
    assert as_sentence("fid fell", capital=False) == "fid fell."


def test_what_sets_scores_apart_is_said_where_it_is_known() -> None:
    known = {"num_samples": 2000, "kept": 1000, "resize": "bicubic", "features": "inception", "weights": "raw"}
    known |= {"held_out": {"name": "mnist", "split": "test", "count": 300}}
    text = how_made(known)
    assert text.startswith(
        "2,000 samples (raw weights) were compared with an unknown number of samples of unknown data,"
    )
    assert "looks at 1,000 of them." in text
    assert "Held out from training: 300 samples of mnist (test)." in text
    assert "Samples were resized: bicubic." in text
    assert "looks at" not in how_made(known | {"kept": 2000})
    assert "resized" not in how_made(known | {"resize": "none"})
    assert how_made({}) == "How these scores came about is not known."
