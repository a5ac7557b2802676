"""What the page says to type is accepted by the command line, and asks for the same."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from sparring.cli import parser
from sparring.report.asked import commands, recipe_facts, refusal

SOURCE = {"source": "a folder", "size": [8, 9], "labels": "ignore", "hold_out": 7}
BUDGET = {"amount": 1_500_000.0, "unit": "images"}
REQUEST = {"origin": "my file.py:mine", "recipe": {"source": SOURCE, "train": {"seed": 3, "budget": BUDGET}}}


def test_every_command_is_accepted() -> None:
    run = Path("runs/it's here")
    found = [shlex.split(command) for _, command in commands(run, REQUEST)]
    assert [words[0] for words in found] == ["sparring"] * 6
    read = [parser().parse_args(words[1:]) for words in found]
    again = vars(read[0])
    asked = {"source": "a folder", "budget": "1500000img", "seed": 3, "size": "8x9", "labels": "ignore", "hold_out": 7}
    assert {key: again[key] for key in asked} == asked
    assert {options.recipe for options in read} == {"my file.py:mine"}
    assert all(options.run == str(run) for options in read[1:5])
    assert read[5].samples == [str(run)]
    assert read[5].against == "a folder"


def test_without_a_source_nothing_is_said_that_needs_one() -> None:
    verbs = [command.split()[1] for _, command in commands(Path("run"), {"origin": "dcgan"})]
    assert verbs == ["resume", "resume", "sample", "sample"]
    assert not any("dcgan" in command for _, command in commands(Path("run"), {"origin": "dcgan"}))


@pytest.mark.parametrize(
    ("generator", "discriminator", "text"),
    [
        ({"spec": "a:SGD", "lr": 0.1}, {"spec": "a:SGD", "lr": 0.1}, "SGD(lr=0.1)"),
        ({"spec": "a:SGD", "lr": 0.1}, {"spec": "a:SGD"}, "generator: SGD(lr=0.1); discriminator: SGD()"),
    ],
)
def test_optimisers_that_differ_are_told_apart(generator: Any, discriminator: Any, text: str) -> None:
    recipe = {"optimizers": {"generator": generator, "discriminator": discriminator}}
    assert ("Optimisers", text) in recipe_facts({"recipe": recipe})


def test_specs_within_specs_end_somewhere() -> None:
    deep: Any = 1
    for _ in range(3000):
        deep = [deep]
    facts = dict(recipe_facts({"recipe": {"game": deep, "prior": {"spec": "b:Gaussian", "dim": 2, "scale": None}}}))
    assert facts["Game"] == "[[[[[[[...]]]]]]]"
    assert facts["Noise"] == "Gaussian(dim=2)"


def test_a_refusal_of_any_kind_has_words() -> None:
    assert refusal({"file": "a.png", "reason": "cut off"}) == ("a.png", "cut off")
    assert refusal(None) == ("a file", "no reason given")
