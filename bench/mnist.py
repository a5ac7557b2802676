"""What `sparring train mnist --budget T` reaches, by the independent judge: mean and spread over seeds.

    python bench/mnist.py [--budgets 60s 120s] [--seeds 0 1 2] [--labels use ignore] [--out docs/figures/mnist.json]

Each run is the plain command in a folder of its own, alone on the machine; 10,000 samples of its best checkpoint (a
conditional generator's classes in turn) are judged by `bench/judge.py`, which no part of the library uses. Seconds are
those from the first step to the last, scoring included, as the run itself counts them. Real MNIST is read from
$SPARRING_DATA/mnist.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from judge import load_judge


def one(budget: str, seed: int, labels: str, folder: Path) -> dict[str, object]:
    """Trains, samples, judges; returns the figures."""
    run, samples = folder / "run", folder / "samples.npz"
    command = [sys.executable, "-m", "sparring"]
    train = ["train", "mnist", "--budget", budget, "--seed", str(seed), "--labels", labels, "--out", str(run)]
    subprocess.run([*command, *train], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        [*command, "sample", str(run), "-n", "10000", "--out", str(samples)], check=True, capture_output=True
    )
    last = json.loads(sorted((run / "checkpoints").glob("0*.json"))[-1].read_text())
    with np.load(samples, allow_pickle=False) as arrays:
        asked = arrays["labels"] if labels == "use" else None
        found = load_judge().judge(arrays["images"], asked)
    return {
        "budget": budget,
        "seed": seed,
        "labels": labels,
        "seconds": last["seconds"],
        "images": last["images"],
    } | found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", nargs="+", default=["60s", "120s"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--labels", nargs="+", choices=("use", "ignore"), default=["use", "ignore"])
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for labels in options.labels:
        for budget in options.budgets:
            for seed in options.seeds:
                with tempfile.TemporaryDirectory() as folder:
                    rows.append(one(budget, seed, labels, Path(folder)))
                print(json.dumps(rows[-1]), flush=True)
            fids = [float(str(row["fid"])) for row in rows[-len(options.seeds) :]]
            spread = f"{min(fids):.1f} to {max(fids):.1f}"
            print(f"{labels} {budget}: FID {statistics.mean(fids):.1f} ({spread}) over {len(fids)} seeds", flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
