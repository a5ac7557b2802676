"""Runs that are killed and resumed end as if nothing had happened; `bench/killing.py` does the same many times more."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))
import killing  # noqa: E402
from killing import Job, Moment  # noqa: E402

sys.path.remove(str(BENCH))

SETS = {
    "generator.width": 16,
    "discriminator.width": 16,
    "train.precision": "float32",
    "train.matmul": "highest",
    "train.report_every": 5,
    "train.save_seconds": 1e-3,
    "train.grids": 3,
    "scoring.times": 4,
    "scoring.samples": 100,
    "scoring.spacing": 1,
}
JOB = Job(
    "tiny",
    (
        *("digits", "--recipe", "mlp", "--budget", "3200img", "--mend", "rollback"),
        *(text for name, value in SETS.items() for text in ("--set", f"{name}={value}")),
    ),
)
STEPS = 50


class Forked:
    """A process that was forked from one which had imported everything and done nothing: no second import of torch."""

    def __init__(self, pid: int, asked: socket.socket) -> None:
        self.pid, self.asked = pid, asked

    def wait(self, timeout: float | None = None) -> int:
        self.asked.settimeout(timeout)
        self.asked.send(json.dumps({"wait": self.pid}).encode())
        return int(self.asked.recv(100))


@pytest.fixture(scope="module")
def begin() -> Iterator[Callable[[Sequence[str], Path, int, str], Forked]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fork(arguments: Sequence[str], folder: Path, marks: int, hold: str) -> Forked:
        asked = {"arguments": list(arguments), "folder": str(folder), "hold": hold}
        socket.send_fds(ours, [json.dumps(asked | {"environment": killing.environment(folder)}).encode()], [marks])
        return Forked(int(ours.recv(100)), ours)

    command = [sys.executable, __file__, str(theirs.fileno())]
    forks = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
    theirs.close()
    yield fork
    ours.close()
    assert forks.wait(timeout=10) == 0


def fork_when_asked(channel: socket.socket) -> None:
    """Forks a watched command for each request, until nobody asks any more."""
    import sklearn.datasets  # noqa: F401

    import sparring.commands
    import sparring.pictures.film  # noqa: F401

    while True:
        content, fds, _, _ = socket.recv_fds(channel, 100_000, 1)
        if not content:
            return
        asked = json.loads(content)
        if "wait" in asked:
            channel.send(str(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])).encode())
            continue
        pid = os.fork()
        if pid == 0:
            become(asked, fds[0])
        os.close(fds[0])
        channel.send(str(pid).encode())


def become(asked: dict[str, Any], marks: int) -> NoReturn:
    os.setsid()
    os.chdir(asked["folder"])
    os.environ.update(asked["environment"])
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = 1
    try:
        code = killing.watch(asked["arguments"], marks, asked["hold"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@pytest.fixture(scope="module")
def whole(begin: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("whole")
    life = killing.live(["train", *JOB.arguments, "--out", "run"], folder, begin=begin)
    assert life.code == 0, life.text
    assert max(mark.step for mark in life.marks) == STEPS
    return folder, life


def test_a_run_killed_or_told_to_stop_anywhere_ends_as_if_it_had_been_left_alone(
    whole: tuple[Path, Any], begin: Any, tmp_path: Path
) -> None:
    at = [
        (Moment("step", 2, 0.5), signal.SIGKILL),
        (Moment("tensors half", 9, 0.0, held=True), signal.SIGKILL),
        (Moment("json", 14, 0.0, held=True), signal.SIGKILL),
        (Moment("step", 18, 0.5), signal.SIGTERM),
        (Moment("evaluation", 20, 0.0, held=True), signal.SIGKILL),
        (Moment("step", 31, 0.5), signal.SIGKILL),
        (Moment("step", 36, 0.5), signal.SIGINT),
        (Moment("remove", 38, 0.0, held=True), signal.SIGKILL),
        (Moment("json half", 45, 0.0, held=True), signal.SIGKILL),
        (Moment("ended", 0, 0.0, held=True), signal.SIGKILL),
        (Moment("ended", 0, 0.0, held=True), signal.SIGKILL),
    ]
    moments, signals = zip(*at, strict=True)
    usual = killing.usual_seconds(whole[1])
    run = killing.signalled_run(JOB, tmp_path / "killed", moments, usual, signals, begin)
    assert run.refused == []
    codes = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 130, signal.SIGINT: 130}
    assert [life.code for _, life in run.deaths] == [codes[number] for number in signals]
    hit = [(moment, what) for moment, (what, _) in zip(moments, run.deaths, strict=True) if moment.held]
    assert [what for _, what in hit] == [killing.SECTIONS[moment.section] for moment, _ in hit]
    told = [number for number, code in enumerate(signals) if code != signal.SIGKILL]
    # The signal may reach the process in the step after the one that was marked.
    assert {run.off[number] for number in told} <= {0, -1}
    lives = [run.deaths[number][1] for number in told]
    assert max(life.ended - life.signalled for life in lives) < 10
    assert run.unreadable == []
    assert killing.left_behind(tmp_path / "killed" / "run") == []
    assert killing.differences(whole[0] / "run", tmp_path / "killed" / "run") == []


@pytest.fixture
def copied(whole: tuple[Path, Any], tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole[0] / "run", tmp_path / "copy"))


def flip_a_bit(run: Path) -> str:
    path = max((run / "checkpoints").glob("*.safetensors"))
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("generator.average"))
    tensors[name] = tensors[name].copy()
    tensors[name].view(np.uint8).flat[0] ^= 1
    save_file(tensors, path)
    return f"checkpoints/{path.name}: {name}"


def change(name: str, old: str, new: str, said: str) -> Callable[[Path], str]:
    def changed(run: Path) -> str:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))
        return said

    return changed


def lose_a_row(run: Path) -> str:
    rows = (run / "log.jsonl").read_bytes().splitlines(keepends=True)
    (run / "log.jsonl").write_bytes(b"".join(rows[:-1]))
    return f"log.jsonl:  ({len(rows)} and {len(rows) - 1} rows)"


def lose_a_sample(run: Path) -> str:
    path = min((run / "samples").glob("*.png"))
    path.unlink()
    return f"samples/{path.name}: only in one of them"


def brighten(run: Path) -> str:
    path = max((run / "advice").glob("*.png"))
    with Image.open(path) as picture:
        picture.load()
    picture.putpixel((3, 3), (1, 2, 3))
    picture.save(path)
    return f"advice/{path.name}: other pixels"


@pytest.mark.parametrize(
    "harm",
    [
        flip_a_bit,
        lose_a_row,
        lose_a_sample,
        brighten,
        change("scores.jsonl", '"fid": ', '"fid": 1', "scores.jsonl: 0.fid"),
        change("verdict.json", '"fid": ', '"fid": 1', "verdict.json: values.fid"),
        change(
            f"checkpoints/{STEPS * 64:012d}.json", '"step": ', '"step": 1', f"checkpoints/{STEPS * 64:012d}.json: step"
        ),
    ],
    ids=["bit", "row", "sample", "pixel", "score", "verdict", "step"],
)
def test_the_smallest_difference_is_seen(whole: tuple[Path, Any], copied: Path, harm: Callable[[Path], str]) -> None:
    assert killing.differences(whole[0] / "run", copied) == []
    said = harm(copied)
    assert killing.differences(whole[0] / "run", copied) == [said]


def test_what_a_clock_says_is_no_difference(whole: tuple[Path, Any], copied: Path) -> None:
    change("log.jsonl", '"images_per_second": ', '"images_per_second": 1', "")(copied)
    change(f"checkpoints/{STEPS * 64:012d}.json", '"seconds": ', '"seconds": 1', "")(copied)
    assert killing.differences(whole[0] / "run", copied) == []


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked_on:
        fork_when_asked(asked_on)
