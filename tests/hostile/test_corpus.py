"""Every bad input of the corpus through the command: the outcome that is documented, and never a traceback, a wait
without end, or more memory than is stated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import CASES, Case, good, put

SECONDS = 15
"""Of work, six times that of waiting: the machine may be busy."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux tells it")


class Worker:
    """The process that runs the command; a new one takes the place of one that was ended."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def __call__(self, folder: Path, *arguments: str, seconds: int = SECONDS, **how: bool) -> dict[str, Any]:
        request = {"arguments": arguments, "folder": str(folder), "seconds": seconds} | how
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            ended = {"code": self.end(), "out": "", "err": "the worker was ended", "mebibytes": 0}
            self.start()
            return ended
        found: dict[str, Any] = json.loads(answer)
        return found

    def end(self) -> int:
        with self.process:
            pass  # closes the pipes, which ends it, and waits
        return self.process.returncode


@pytest.fixture(scope="module")
def ask() -> Iterator[Worker]:
    """Runs the command with arguments in a folder."""
    worker = Worker()
    yield worker
    assert worker.end() == 0


def everything_in(folder: Path) -> list[str]:
    return sorted(f"{at}/{name}" for at, folders, files in os.walk(folder) for name in folders + files)


def names_of_cases() -> list[str]:
    return [case.name for case in CASES]


def test_names_are_told_apart() -> None:
    assert len(set(names_of_cases())) == len(CASES) >= 120


@pytest.mark.parametrize("case", CASES, ids=names_of_cases())
def test_each_bad_input_has_the_outcome_that_is_documented(case: Case, ask: Worker, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir(mode=0o755)
    source = case.write(folder)
    before = everything_in(folder)
    got = ask(folder, "data", "--json", *case.options, "--", source, nobody=case.nobody)
    assert got["code"] == (2 if case.refused else 0), got["err"]
    assert "Traceback" not in got["err"]
    assert got["mebibytes"] <= case.mebibytes
    assert everything_in(folder) == before
    if case.refused:
        assert got["out"] == ""
        assert got["err"].count("\n") == 1
        assert got["err"].isprintable() or got["err"][:-1].isprintable()
        assert got["err"].startswith("sparring data: ")
        assert case.refused in got["err"]
        assert source[:40].replace("\0", "\\x00").replace("\n", "\\n") in got["err"]
        return
    report = json.loads(got["out"])
    assert report["count"] == case.count
    assert report["converted"] == dict(case.converted)
    assert {bad["file"] for bad in report["refused"]} == set(case.bad)
    for bad in report["refused"]:
        assert case.bad[bad["file"]] in bad["reason"]
        assert "0x7" not in bad["reason"], "an address says nothing to people, and differs from run to run"
    if case.bad:
        assert any("are bad" in note for note in report["notes"])


def test_a_folder_with_bad_files_trains_and_each_is_named(ask: Worker, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    put(folder, good(60) | {"a.png": b"", "b\n.png": b"text", "c.png": good()["000.png"][:60]})
    got = ask(folder, "train", "set", "--budget", "64img", "--out", "run", alone=True, seconds=60)
    assert got["code"] == 0, got["err"]
    report = json.loads((folder / "run" / "data.json").read_text())
    assert report["count"] == 60
    assert [bad["file"] for bad in report["refused"]] == ["a.png", "b\\n.png", "c.png"]
    assert "3 files refused" in got["out"]
    assert "3 of 63 image files are bad (4.8 %)" in got["out"]


def test_a_folder_with_too_many_bad_files_leaves_no_run_behind(ask: Worker, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    put(folder, good() | dict.fromkeys(("a.png", "b.png"), b""))
    got = ask(folder, "train", "set", "--budget", "64img", "--out", "run")
    assert got["code"] == 2
    assert "2 of 26 image files are bad, more than 5%; the first is 'a.png': empty file" in got["err"]
    assert not (folder / "run").exists()


def test_the_guard_sees_what_waits_and_what_fills_the_memory(ask: Worker, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    put(folder, good())
    assert ask(folder, "train", "set", "--budget", "60s", "--out", "run", alone=True, seconds=1)["code"] < 0
    large = next(case for case in CASES if case.name == "the largest picture that is let pass")
    large.write(folder)
    before = ask(folder, "data", "nothing")["mebibytes"]
    assert ask(folder, "data", "set", "--size", "8x8")["mebibytes"] >= before + (8192 * 8192 >> 20)
    assert ask(folder, "data", "nothing")["mebibytes"] <= before + 16
