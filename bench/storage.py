"""Damage that is found, and disks that are full at every write: what a run's folder stands.

    python bench/storage.py [--damages 1000] [--quick] [--out docs/figures/storage.json]

A run on the digits with scores, pictures and several checkpoints is made once.

`damage`: in each file of its last checkpoint, and in `best.json`, `--damages` bits drawn at random are flipped and as
many ends cut off, one at a time: how many `load_checkpoint` notices, and how many of those messages name the file;
`misled` counts the times that `best.json` then named another checkpoint, `silent_flips_without_hashes` the flips in the
tensors' file that safetensors by itself reads without a word.

`full`: the same run once for every call with which it puts a file or folder on the disk (`os.fsync`, `os.mkdir`,
`os.write`): that call, and in `for good` all after it, fails with ENOSPC. `codes` counts the exit codes, `tracebacks`
and `half_files` what there should be none of; `lost` are runs whose end, after `sparring resume` with room again, has
not every bit of the tensors, rows and model of the run that was left alone.

`tmpfs`: the same on file systems of several sizes, where mounting is allowed: exit code and last line for each.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import io
import json
import os
import random
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load

from sparring import playing
from sparring.cli import main
from sparring.core.errors import RequestError
from sparring.train.checkpoint import checkpoints, load_checkpoint, named_best

JOB = ["digits", "--recipe", "mlp", "--budget", "640img"]
for field in (
    "train.batch=64",
    "train.report_every=2",
    "train.grids=2",
    "train.save_seconds=1e-6",
    "scoring.times=3",
    "scoring.samples=100",
    "scoring.spacing=0",
    "scoring.most=1",
):
    JOB += ["--set", field]
LOUD = {"images_per_second", "seconds", "scoring_seconds"}
"""What a clock says."""


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and all that was printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(arguments)
        except Exception as error:
            said.write(f"Traceback: {type(error).__name__}: {error}")
            code = -1
    return code, said.getvalue()


def damages(run: Path, count: int) -> dict[str, Any]:
    newest = checkpoints(run / "checkpoints")[-1]
    rows = []
    for file in (newest, newest.with_suffix(".safetensors"), newest.with_name("best.json")):
        whole, draw = file.read_bytes(), random.Random(0)
        right = named_best(file.parent)
        found, named, silent, misled = 0, 0, 0, 0
        for number in range(2 * count):
            content = bytearray(whole)
            place = draw.randrange(len(content))
            if number % 2:
                content[place] ^= 1 << draw.randrange(8)
            else:
                del content[place:]
            file.write_bytes(content)
            if file.name == "best.json":
                misled += named_best(file.parent) not in (None, right)
                continue
            try:
                load_checkpoint(newest)
            except RequestError as error:
                found, named = found + 1, named + (newest.stem in str(error))
            if number % 2 and file.suffix == ".safetensors":
                with contextlib.suppress(SafetensorError):
                    load(bytes(content))
                    silent += 1
        file.write_bytes(whole)
        row: dict[str, Any] = {"file": file.suffix if file.stem.isdigit() else file.name, "damages": 2 * count}
        rows.append(row | ({"misled": misled} if file.name == "best.json" else {"found": found, "named": named}))
        if file.suffix == ".safetensors":
            rows[-1]["silent_flips_without_hashes"] = silent
    return {"files": rows}


@contextmanager
def failing(fail: Callable[[int], bool]) -> Iterator[Counter[str]]:
    """Counts the calls that put something on the disk; those that `fail` names fail."""
    calls = Counter[str]()
    kept = {name: getattr(os, name) for name in ("fsync", "mkdir", "write")}

    def instead_of(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if name == "mkdir" and Path(arguments[0]).exists():
                return kept[name](*arguments)
            calls["all"] += 1
            if fail(calls["all"]):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return kept[name](*arguments)

        return call

    for name in kept:
        setattr(os, name, instead_of(name))
    try:
        yield calls
    finally:
        for name, call in kept.items():
            setattr(os, name, call)


def half_files(run: Path) -> list[str]:
    """Files that are not what their names say."""
    bad = []
    for path in (path for path in run.rglob("*") if path.is_file()):
        try:
            if path.suffix == ".tmp":
                raise ValueError
            if path.suffix in (".json", ".jsonl"):
                lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
                _ = [json.loads(line) for line in lines]
            elif path.suffix in (".png", ".gif"):
                with Image.open(path) as image:
                    image.load()
            elif path.suffix == ".safetensors":
                load(path.read_bytes())
        except (ValueError, OSError, SafetensorError):
            bad.append(str(path.relative_to(run)))
    return bad


def contents(run: Path) -> dict[str, Any]:
    """All that must be the same in two runs of one recipe."""
    found: dict[str, Any] = {}
    for pattern in ("checkpoints/*.safetensors", "model/generator.safetensors", "samples/*.png", "advice/*.png"):
        found |= {str(path.relative_to(run)): path.read_bytes() for path in run.glob(pattern)}
    for name in ("log.jsonl", "scores.jsonl", "alarms.jsonl"):
        if (run / name).exists():
            rows = [json.loads(line) for line in (run / name).read_text().splitlines()]
            found[name] = [{k: v for k, v in row.items() if k not in LOUD} for row in rows]
    verdict = json.loads((run / "verdict.json").read_text())
    return found | {"verdict": verdict["values"]}


def full(whole: Path, work: Path, every: int, *, for_good: bool) -> dict[str, Any]:
    expected = contents(whole)
    with failing(lambda call: False) as counted:
        command("train", *JOB, "--out", str(work / f"counted{for_good}"))
    codes, tracebacks, half, lost = Counter[str](), 0, 0, []
    for first in range(1, counted["all"] + 1, every):
        run = work / f"{for_good}{first}"
        with failing(functools.partial(lambda first, call: call >= first if for_good else call == first, first)):
            code, said = command("train", *JOB, "--out", str(run))
        codes[str(code)] += 1
        tracebacks += "Traceback" in said
        if not run.exists():
            continue
        half += bool(half_files(run))
        complete = (run / "finished.json").exists()
        again, _ = command("resume", str(run))
        found = contents(run)
        # A picture of the course that could not be drawn can't be drawn later.
        gone = {name for name in expected if name not in found and name.endswith(".png")} if code == 0 else set()
        if again != (2 if complete else 0) or any(found.get(k) != v for k, v in expected.items() if k not in gone):
            lost.append(
                {"write": first, "resumed": again, "differ": [k for k, v in expected.items() if found.get(k) != v]}
            )
        shutil.rmtree(run)
    return {
        "for_good": for_good,
        "writes": counted["all"],
        "tried": sum(codes.values()),
        "codes": dict(codes),
        "tracebacks": tracebacks,
        "half_files": half,
        "lost": lost,
    }


def small_disks(work: Path, sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        place = work / f"disk{size}"
        place.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(place)]).returncode:
            return rows
        try:
            code, said = command("train", *JOB, "--out", str(place / "run"))
            line = said.strip().splitlines()[-1].replace(str(place), "DISK")
            rows.append({"kB": size, "code": code, "said": line, "half_files": half_files(place / "run")})
        finally:
            subprocess.run(["umount", str(place)], check=True)
    return rows


def measure() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="100 damages, every ninth write, one small disk")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    count, every = (100, 9) if options.quick else (options.damages, 1)
    torch.set_num_threads(1)
    # As many samples as the run's own scores: what is judged is not measured here.
    playing.verdict = functools.partial(playing.verdict, samples=100)
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        code, said = command("train", *JOB, "--out", str(work / "whole"))
        if code:
            raise SystemExit(said)
        found = {
            "damage": damages(shutil.copytree(work / "whole", work / "damaged"), count),
            "full": [full(work / "whole", work, every, for_good=for_good) for for_good in (False, True)],
            "tmpfs": small_disks(work, [2000] if options.quick else [50, 500, 1000, 2000, 3000, 5000, 8000]),
        }
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    measure()
