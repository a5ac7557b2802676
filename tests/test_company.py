"""A run of several processes, from the command line: one of them killed, and the run gone on with by one alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparring.cli import main
from sparring.train.checkpoint import checkpoints, load_checkpoint

SMALL = ["--recipe", "mlp", "--budget", "12800img", "--labels", "ignore"]
for _option in (
    "generator.width=16",
    "discriminator.width=16",
    "train.precision=float32",
    "train.matmul=highest",
    "train.grids=2",
    "train.save_seconds=0.001",
    "scoring.times=0",
):
    SMALL += ["--set", _option]


def company(*arguments: str) -> subprocess.Popen[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sparring"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*launch, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def processes(run: Path) -> dict[int, int]:
    """The pids of a run's processes by rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            said, env = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except OSError:
            continue
        ranks = [part for part in env.split(b"\0") if part.startswith(b"RANK=")]
        if str(run).encode() in said and b"torch.distributed.run" not in said and ranks:
            found[int(ranks[0].removeprefix(b"RANK="))] = int(place.name)
    return found


def test_one_killed_ends_it_cleanly_and_one_alone_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(["train", "digits", "--out", str(whole), *SMALL]) == 0
    job = company("train", "digits", "--out", str(run), *SMALL)
    try:
        waited = time.monotonic()
        while len(checkpoints(run / "checkpoints")) < 2:
            assert job.poll() is None
            assert time.monotonic() < waited + 120
            time.sleep(0.01)
        ranks = processes(run)
        assert set(ranks) == {0, 1}
        os.kill(ranks[1], signal.SIGKILL)
        out, error = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 1
    assert "/sparring/" not in error  # the launcher's own report has a traceback, this project has none
    assert out.count("samples of 1×8×8") == 1  # only the first speaks
    assert not processes(run)
    capsys.readouterr()
    assert main(["resume", str(run)]) == 0
    said = capsys.readouterr().out
    assert "goes on at" in said
    assert "processes was 2 and is 1: the last bits of what follows may differ" in said
    one, two = (load_checkpoint(checkpoints(folder / "checkpoints")[-1])[0] for folder in (whole, run))
    names = [name for name in one if ".net." in name or ".average." in name]
    assert names
    for name in names:  # the sum of two processes' gradients is rounded in another order
        assert float((one[name] - two[name]).abs().max()) < 1e-3, name
