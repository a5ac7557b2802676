"""What is sound is kept as it is; everything else is left out with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparring.report.lenient import (
    LONGEST,
    as_number,
    at,
    read_lines,
    read_log,
    read_object,
    short,
    sound_provenance,
    sound_values,
)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (3, 3.0),
        (-0.5, -0.5),
        (1e-320, 0.0),
        (-1e299, -1e299),
        (True, None),
        ("3", None),
        (10**400, None),
        (float("nan"), None),
        (float("-inf"), None),
    ],
)
def test_a_number_is_one_that_can_be_drawn(value: object, found: float | None) -> None:
    assert as_number(value) == found
    assert type(as_number(value)) is type(found)


def test_a_log_is_put_in_order_and_keeps_what_is_sound(tmp_path: Path) -> None:
    path, problems = tmp_path / "log.jsonl", list[str]()
    path.write_text(
        '{"images": 9, "step": 1, "a": 2, "b": "x"}\n{"a": 1}\n{"images": 3, "best": "x"}\n{"images": 4, "a'
    )
    first, second = read_log(path, problems)
    assert (first.images, first.values, first.best) == (3.0, {}, False)
    assert (second.images, second.values) == (9.0, {"a": 2.0})
    assert problems == ["log.jsonl: 1 of 3 lines cannot be read and are left out."]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    problems: list[str] = []
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "folder.jsonl").mkdir()
    assert read_object(tmp_path / "deep.json", problems) == {}
    assert read_lines(tmp_path / "folder.jsonl", problems) == []
    assert read_lines(tmp_path / "none.jsonl", problems) == []
    assert problems == [
        "deep.json cannot be read (RecursionError).",
        "folder.jsonl cannot be read (IsADirectoryError).",
    ]


def test_provenance_keeps_scalars_of_itself_and_of_its_sources() -> None:
    found = {"seed": 0, "levels": [1], "features": "x" * 999, "reference": {"name": "a", "more": {}}, "held_out": None}
    assert sound_provenance(found) == {"seed": 0, "features": short("x" * 999), "reference": {"name": "a"}}


def test_clocks_are_no_values_and_texts_have_an_end() -> None:
    assert sound_values({"images": 1, "step": 2, "epoch": 3, "fid": 4, "on": True}) == {"fid": 4.0}
    assert short("x" * LONGEST) == "x" * LONGEST
    assert short("x" * (LONGEST + 1)) == "x" * (LONGEST - 3) + "..."
    assert at({"a": {"b": 3}}, "a", "b") == 3
    assert at({"a": 5}, "a", "b") is None
