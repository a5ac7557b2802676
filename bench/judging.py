"""What judging costs: seconds for 10,000 samples of 28×28, and memory for 50,000.

    python bench/judging.py [--rounds 5] [--out docs/figures/judging.json]

FID, KID, precision, recall, density and coverage of 10,000 images against the 60,000 of MNIST's training set, whose
statistics are in the cache; then the same of 50,000 images, in a process of its own whose greatest resident memory is
read. The images are the test set's, and the training set's first 50,000: what they are makes no difference to the cost.
Alone on the machine; seconds are those of the judge alone, without reading data or starting Python, and of the whole
command as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METRICS = ["fid", "kid", "precision_recall", "density_coverage"]


def judged(samples: Path) -> dict[str, float]:
    """In this process: reads both sets, judges, and says what it took."""
    from sparring.data.open import Data
    from sparring.metrics.judge import Judge
    from sparring.scoring import named, score_source

    reference, given = Data(source="mnist").load(), Data(source=str(samples)).load()
    before = time.perf_counter()
    judge = Judge(reference, metrics=named(METRICS))
    cached = time.perf_counter()
    values = score_source(given, judge, len(given), 0).values
    after = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"samples": len(given), "load": cached - before, "seconds": after - before, "bytes": memory} | values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(judged(options.child)))
        return
    import numpy as np

    from sparring.data.open import Data

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {10_000: Path(folder) / "ten.npz", 50_000: Path(folder) / "fifty.npz"}
        np.savez(paths[10_000], images=Data(source="mnist", split="test").load().numpy())
        np.savez(paths[50_000], images=Data(source="mnist").load().numpy()[:50_000])
        environment = os.environ | {"SPARRING_CACHE": folder}
        if "SPARRING_DATA" not in os.environ:
            environment.pop("SPARRING_CACHE")  # the known set itself is in the user's cache
        for count in [10_000] * (1 + options.rounds) + [50_000]:
            started = time.perf_counter()
            child = [sys.executable, __file__, "--child", str(paths[count])]
            answer = subprocess.run(child, check=True, capture_output=True, text=True, env=environment).stdout
            rows.append(json.loads(answer) | {"whole": time.perf_counter() - started})
            print(json.dumps(rows[-1]), flush=True)
    first, *ten, fifty = rows
    seconds = [row["seconds"] for row in ten]
    found = {
        "first": first["seconds"],
        "seconds": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "whole": statistics.median(row["whole"] for row in ten),
        "ten_bytes": max(row["bytes"] for row in ten),
        "fifty_seconds": fifty["seconds"],
        "fifty_bytes": fifty["bytes"],
    }
    print(json.dumps(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
