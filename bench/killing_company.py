"""Two processes of one run, of which one or both are killed at random moments; compared with a pair left alone.

    python bench/killing_company.py [--kills 50] [--seed 0] [--work DIR] [--out docs/figures/killing_company.json]

The job is a small multi-layer perceptron on the digits with checkpoints and scores many times, started by torchrun with
two processes (gloo). SIGKILL goes in turn to the first process, which writes the folder, to the second, and to all,
the launcher included. After each, what is left has to end by itself, `seconds_to_end` after the signal, and `sparring
resume` goes on with two processes. At the end both folders are compared as in `bench/killing.py`, bit by bit. At last
the run is killed once more half-way and gone on with by one process alone: `apart_alone` is the largest difference of
its players' tensors from those of two, over the largest number of the tensor or 1, because sums are then rounded in
another order.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from killing import differences, left_behind, spread, whole_checkpoints
from safetensors.numpy import load_file

BUDGET = 192_000
JOB = ["train", "digits", "--recipe", "mlp", "--budget", f"{BUDGET}img", "--out", "run"]
for _setting in (
    "train.precision=float32",
    "train.matmul=highest",
    "train.save_seconds=0.1",
    "scoring.times=8",
    "scoring.samples=500",
    "scoring.spacing=1",
):
    JOB += ["--set", _setting]


def launch(folder: Path, arguments: list[str], count: int = 2) -> subprocess.Popen[bytes]:
    """The command on so many processes, in a session of its own."""
    start = [sys.executable, "-m", "sparring"]
    if count > 1:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        start += ["-m", "sparring"]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [*start, *arguments],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "SPARRING_CACHE": str(folder / "cache")},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def processes(folder: Path) -> dict[int, int]:
    """The pids of the processes that play in a folder, by rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            env = (place / "environ").read_bytes().split(b"\0")
            said, where = (place / "cmdline").read_bytes(), (place / "cwd").readlink()
        except OSError:
            continue
        ranks = [part for part in env if part.startswith(b"RANK=")]
        if where == folder and ranks and b"sparring" in said and b"torch.distributed" not in said:
            found[int(ranks[0].removeprefix(b"RANK="))] = int(place.name)
    return found


def kill(job: subprocess.Popen[bytes], folder: Path, whom: str) -> float | None:
    """Kills one or all; returns the seconds until nothing is left, or None where there was nobody to kill."""
    ranks = processes(folder)
    chosen = {"first": [ranks.get(0)], "second": [ranks.get(1)], "all": [job.pid, *ranks.values()]}[whom]
    if job.poll() is not None or None in chosen:
        return None
    began = time.monotonic()
    for pid in chosen:
        os.kill(pid, signal.SIGKILL)  # type: ignore[arg-type]
    job.wait(timeout=120)
    while processes(folder):
        assert time.monotonic() < began + 120, "a process is still there"
        time.sleep(0.05)
    return time.monotonic() - began


def arguments(folder: Path) -> list[str]:
    return ["resume", "run"] if (folder / "run" / "recipe.json").exists() else JOB


def progress(folder: Path) -> int:
    """The images of the last checkpoint."""
    names = sorted(p.stem for p in (folder / "run" / "checkpoints").glob("*.safetensors") if p.stem.isdigit())
    return int(names[-1]) if names else 0


def undisturbed(folder: Path) -> tuple[float, float]:
    """Seconds until the first checkpoint, and from there to the end of training."""
    folder.mkdir()
    began = time.monotonic()
    job = launch(folder, JOB)
    first = None
    while job.poll() is None:
        if first is None and progress(folder):
            first = time.monotonic() - began
        time.sleep(0.02)
    if job.returncode or first is None:
        sys.exit((folder / "said.txt").read_text()[-2000:])
    return first, time.monotonic() - began - first


def killed(folder: Path, kills: int, seed: int, usual: tuple[float, float]) -> dict[str, Any]:
    """The same with `kills` kills."""
    folder.mkdir()
    rng, start, rest = random.Random(seed), *usual
    unreadable: list[str] = []
    ends, whom, lost = [], Counter[str](), []
    while sum(whom.values()) < kills:
        victim = ("first", "second", "all")[sum(whom.values()) % 3]
        before = progress(folder)
        job = launch(folder, arguments(folder))
        early, more = rng.random() < 0.15, rng.uniform(0, 1) * rest / kills
        time.sleep(rng.uniform(0.5, 1) * start if early else 0.5 * start + more)
        seconds = kill(job, folder, victim)
        if seconds is None:
            if job.poll() is not None:
                break  # it came to its end first
            job.wait(timeout=300)
            continue
        ends.append(seconds)
        whom[victim] += 1
        whole_checkpoints(folder / "run", unreadable)
        lost.append(progress(folder) - before)
    last = launch(folder, arguments(folder)).wait(timeout=600) if not (folder / "run" / "finished.json").exists() else 0
    return {
        "kills": sum(whom.values()),
        "whom": dict(whom),
        "seconds_to_end": spread(ends),
        "images_gained_between_kills": spread(lost),
        "last_exit_code": last,
        "unreadable": unreadable,
        "left_behind": left_behind(folder / "run"),
    }


def alone(folder: Path, whole: Path, start: float) -> float:
    """Killed half-way and gone on with by one process: the largest difference of the players."""
    folder.mkdir()
    job = launch(folder, JOB)
    while progress(folder) < BUDGET // 3:
        time.sleep(0.02)
    kill(job, folder, "all")
    if launch(folder, ["resume", "run"], 1).wait(timeout=600):
        sys.exit((folder / "said.txt").read_text()[-2000:])
    name = f"run/checkpoints/{progress(whole):012d}.safetensors"
    one, two = load_file(folder / name), load_file(whole / name)
    keys = [key for key in two if ".net." in key or ".average." in key]
    return max(float(np.abs(one[k] - two[k]).max() / max(1.0, float(np.abs(two[k]).max()))) for k in keys)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="where the runs are kept; default: a folder that is removed")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        work = (options.work or Path(made)).resolve()
        usual = undisturbed(work / "whole")
        row = {"command": " ".join(["sparring", *JOB]), "seed": options.seed, "seconds": [round(v, 1) for v in usual]}
        row |= killed(work / "killed", options.kills, options.seed, usual)
        row["differences"] = differences(work / "whole" / "run", work / "killed" / "run")
        row["apart_alone"] = alone(work / "alone", work / "whole", usual[0])
        print(json.dumps(row, indent=1))
    if options.out:
        options.out.write_text(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
