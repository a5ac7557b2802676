"""What the examples promise."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def rock_paper_scissors(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "examples")
    return importlib.import_module("rock_paper_scissors")


def test_three_players_go_round_under_alternating_steps(rock_paper_scissors: ModuleType) -> None:
    """Near the middle an alternating step keeps a quadratic form, so it can neither come to rest nor run away."""
    found = rock_paper_scissors.distances(rock_paper_scissors.RockPaperScissors(), 200)
    assert min(found) > 0.15
    assert max(found[100:]) > max(found[:50]) * 0.8


def test_three_players_find_the_middle_when_they_look_ahead(rock_paper_scissors: ModuleType) -> None:
    found = rock_paper_scissors.distances(rock_paper_scissors.RockPaperScissors(depth=5), 40)
    assert found[0] > 0.1
    assert found[-1] < 1e-6
