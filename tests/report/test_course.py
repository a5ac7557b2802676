"""Alarms stand where they were raised, and pace, time and sizes are those of the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparring.report.course import MOST_ALARMS, alarms, files, last_checkpoint, speed
from sparring.report.lenient import Row


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_alarms_stand_at_their_share_of_the_run(tmp_path: Path) -> None:
    rows = [{"images": 25, "name": "collapse", "cause": "alike", "mend": "wait", "values": {"std": 0.125}}]
    rows += [{"images": 50, "name": "deaf"}, {"images": 100, "name": "collapse"}]
    found = alarms(written(tmp_path / "alarms.jsonl", rows), [], 200.0)
    assert found["rows"] == {"collapse": [12.5, 50.0], "deaf": [25.0]}
    first = found["all"][0]
    assert (first.cause, first.mend, first.values) == ("Alike.", "Wait.", [("std", "0.125")])
    assert (found["num"], found["end"], found["known"]) == (3, 200.0, True)


def test_many_alarms_are_counted_and_the_time_line_reaches_the_last(tmp_path: Path) -> None:
    rows = [{"images": n, "name": "nan"} for n in range(300)]
    found = alarms(written(tmp_path / "alarms.jsonl", rows), [], 10.0)
    assert (len(found["all"]), found["num"], found["end"]) == (MOST_ALARMS, 300, 299.0)
    assert found["rows"]["nan"][-1] == round(100 * 99 / 299, 2)
    assert not alarms(tmp_path / "none", [], 10.0)["known"]


def test_the_newest_checkpoint_tells_the_time(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name, seconds in (("000064", 1), ("000128", 2), ("best", 3)):
        (tmp_path / "checkpoints" / f"{name}.json").write_text(json.dumps({"seconds": seconds}))
    assert last_checkpoint(tmp_path) == {"seconds": 2}
    assert last_checkpoint(tmp_path / "none") == {}


def test_the_pace_is_the_median_and_scoring_a_share_of_the_time() -> None:
    log = [Row(n, {"images_per_second": rate}, False, [], {}) for n, rate in enumerate((10.0, 4000.0, 90.0))]
    assert speed(log, {"seconds": 80.0, "scoring_seconds": 20.0}) == [
        ("Pace", "90 images per second (median of 3 reports)"),
        ("Slowest and fastest", "10 and 4,000 images per second"),
        ("Time", "1 min 20 s"),
        ("Of it for scoring", "20 s (25 %)"),
    ]
    assert speed([], {"seconds": "long"}) == []


@pytest.mark.parametrize(("size", "text"), [(1, "1 kB"), (1001, "2 kB"), (999_000, "999 kB"), (1_250_000, "1.2 MB")])
def test_what_lies_there_is_listed_with_its_size(tmp_path: Path, size: int, text: str) -> None:
    (tmp_path / "curves.png").write_bytes(bytes(size))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.md").touch()
    (tmp_path / "other").touch()
    found = [(each["name"], each["href"], each["size"]) for each in files(tmp_path)]
    assert found == [("curves.png", "curves.png", text), ("model/", "model", "1 files")]
