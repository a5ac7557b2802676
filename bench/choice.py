"""Which of two recipes reaches more in equal seconds: R3GAN's or DCGAN's, on three data sets and three seeds.

    python bench/choice.py [--data mnist digits cifar10] [--recipes dcgan r3gan] [--seeds 0 1 2] [--together]
                           [--again] [--quick] [--out docs/figures/choice.json]

Each run is the plain command in a folder of its own: `sparring train mnist --recipe r3gan --budget 60s --seed 0`. Its
scores are those of its verdict: the best checkpoint in its averaged weights, scored anew by the library's own judge,
on samples that did not choose it. For a seed both recipes are trained one after the other, all cores for each;
`--together` trains them at the same time, on a core each. `cores` says which it was, and rows of the one are not mixed
with those of the other.

What `--out` holds is not made again, unless with `--again`; it is written after every run, so a series that was
stopped goes on where it was. `--quick` is a few seconds of the digits on one seed, to see that all of this works.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BUDGETS = {"mnist": "60s", "digits": "60s", "cifar10": "10min"}
QUICK = {"digits": "6s"}
VALUES = ("fid", "fid_low", "fid_high", "fid_inf", "kid", "precision", "recall", "density", "coverage")
KEY = ("data", "recipe", "seed", "budget", "cores")
OUT = Path("docs/figures/choice.json")


def started(data: str, recipe: str, seed: int, budget: str, run: Path, core: int | None) -> subprocess.Popen[str]:
    """The command under way; on one core where one is named."""
    command = [sys.executable, "-m", "sparring", "train", data, "--recipe", recipe, "--budget", budget]
    environment = dict(os.environ)
    if core is not None:
        environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--seed", str(seed), "--out", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    return process


def read(process: subprocess.Popen[str], run: Path) -> dict[str, Any]:
    """Waits for a run and reads its figures from its folder."""
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"choice: {run.name} ended with {process.returncode}: {said.strip()[-400:]}")
    verdict = json.loads((run / "verdict.json").read_text())
    last = json.loads(sorted((run / "checkpoints").glob("0*.json"))[-1].read_text())
    values = {name: round(verdict["values"][name], 5) for name in VALUES if name in verdict["values"]}
    return {"images": last["images"], "chosen": verdict["images"], "seconds": round(last["seconds"], 1)} | values


def pair(data: str, recipes: Sequence[str], seed: int, budget: str, together: bool) -> list[dict[str, Any]]:
    """The rows of recipes on a data set and a seed."""
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    with tempfile.TemporaryDirectory() as place:
        runs = [Path(place) / recipe.replace("/", "-").replace(":", "-") for recipe in recipes]
        if together:
            jobs = zip(recipes, runs, cores, strict=False)
            under_way = [started(data, recipe, seed, budget, run, core) for recipe, run, core in jobs]
            found = [read(process, run) for process, run in zip(under_way, runs, strict=True)]
        else:
            jobs_alone = zip(recipes, runs, strict=True)
            found = [read(started(data, recipe, seed, budget, run, None), run) for recipe, run in jobs_alone]
        for recipe, figures in zip(recipes, found, strict=True):
            at = {"data": data, "recipe": recipe, "seed": seed, "budget": budget}
            rows.append(at | {"cores": 1 if together else len(cores)} | figures)
    return rows


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """A line for every data set and recipe: the mean and the range of the Fréchet distance, images, the seeds won."""
    lines = []
    for data, budget, cores in dict.fromkeys((row["data"], row["budget"], row["cores"]) for row in rows):
        own = [row for row in rows if (row["data"], row["budget"], row["cores"]) == (data, budget, cores)]
        least = {seed: min(r["fid"] for r in own if r["seed"] == seed) for seed in {r["seed"] for r in own}}
        for recipe in dict.fromkeys(row["recipe"] for row in own):
            mine = [row for row in own if row["recipe"] == recipe]
            fids = [row["fid"] for row in mine]
            won = sum(row["fid"] == least[row["seed"]] for row in mine)
            lines.append(
                f"{data} {budget} on {cores} core{'s' * (cores > 1)}, {recipe}: FID {statistics.mean(fids):.3f} "
                f"({min(fids):.3f} to {max(fids):.3f}), {statistics.mean(row['images'] for row in mine):,.0f} images, "
                f"first on {won} of {len(mine)} seeds"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--recipes", nargs="+", default=["dcgan", "r3gan"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--together", action="store_true", help="all recipes at the same time, on a core each")
    parser.add_argument("--again", action="store_true", help="also what is there")
    parser.add_argument(
        "--quick", action="store_true", help="the digits for a few seconds; written only where --out says"
    )
    parser.add_argument("--out", type=Path, help=f"where the figures are and go as JSON (default: {OUT})")
    options = parser.parse_args()
    if options.together and len(options.recipes) > len(os.sched_getaffinity(0)):
        parser.error(f"--together: {len(options.recipes)} recipes and {len(os.sched_getaffinity(0))} cores")
    out: Path | None = options.out or (None if options.quick else OUT)
    budgets = QUICK if options.quick else {name: BUDGETS[name] for name in options.data}
    rows = json.loads(out.read_text()) if out is not None and out.exists() else []
    cores = 1 if options.together else len(os.sched_getaffinity(0))
    for data, budget in budgets.items():
        for seed in options.seeds[:1] if options.quick else options.seeds:
            there = {key(row) for row in rows}
            left = [r for r in options.recipes if options.again or (data, r, seed, budget, cores) not in there]
            # What runs at the same time slows the other down, so a pair is made together or not at all.
            groups = [options.recipes if left else []] if options.together else [[recipe] for recipe in left]
            for group in groups:
                for row in pair(data, group, seed, budget, options.together) if group else []:
                    rows = [*(old for old in rows if key(old) != key(row)), row]
                    print(json.dumps(row), flush=True)
                if out is not None:
                    out.parent.mkdir(parents=True, exist_ok=True)
                    out.write_text(json.dumps(rows, indent=1) + "\n")
    print(summary([row for row in rows if budgets.get(row["data"]) == row["budget"]]), flush=True)


if __name__ == "__main__":
    main()
