"""Every sentence is one, and what a score is held against has a sentence too."""

from __future__ import annotations

import pytest

from sparring.report.meaning import MEANINGS, Meaning, meaning


@pytest.mark.parametrize("name", MEANINGS)
def test_every_score_has_a_sentence(name: str) -> None:
    found = meaning(name)
    assert found.sentence[0].isupper()
    assert found.sentence.endswith(".")
    assert not found.yardstick or found.yardstick in MEANINGS


def test_an_unknown_score_has_none() -> None:
    assert meaning("mine") == Meaning("", "", "")
