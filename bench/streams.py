"""Images per second, and memory, of the dcgan recipe on shards twenty times larger than the memory it may use.

    python bench/streams.py --out docs/figures/streams.json [--quick] [--rounds 5] [--seconds 20] [--allowed 48]

JPEG shards in the layout of WebDataset, of CIFAR-10's images from $SPARRING_DATA/cifar10 (without it, of smooth noise),
repeated until all of them would take 20 times `--allowed` MiB as pixels. In each round the recipe runs on one shard
held in memory and on all shards streamed, in turn, each alone in a process of its own; ratios are taken within rounds.

The streamed run is limited by the system: after its warm-up the process may not add more than `--allowed` MiB of memory
of its own (RLIMIT_DATA), which it must be told to fail at: in the same process, holding the set is then tried, too.
Memory that is only the system's cache of files is not counted. `grown` is how much the largest resident set of the
process grew from the warm-up to the end. `--quick` is one short round with a small set, to see that it works.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMES = 20
PIXELS = 32 * 32 * 3
PER_SHARD = 5000
WARM_UP = 5.0  # seconds of steps that are not counted


def pictures() -> list[tuple[bytes, int]]:
    """JPEG files and their classes: CIFAR-10's training set, or 5,000 of smooth noise."""
    archive = Path(os.environ.get("SPARRING_DATA", "?"), "cifar10", "cifar10-train.tar.xz")
    if archive.exists():
        with tarfile.open(archive) as files:
            found = [(m.name.split("/")[-2], files.extractfile(m).read()) for m in files if m.isreg()]  # type: ignore[union-attr]
        names = sorted({name for name, _ in found})
        return [(data, names.index(name)) for name, data in found]
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    made = []
    for i in range(PER_SHARD):
        out = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((32, 32)).save(out, "JPEG")
        made.append((out.getvalue(), i % 10))
    return made


def write_shards(folder: Path, count: int) -> None:
    """`count` images, `PER_SHARD` in each shard, in an order that mixes the classes."""
    import random

    found = pictures()
    random.Random(0).shuffle(found)
    for first in range(0, count, PER_SHARD):
        with tarfile.open(folder / f"{first // PER_SHARD:04}.tar", "w") as archive:
            for i in range(first, min(count, first + PER_SHARD)):
                image, label = found[i % len(found)]
                for name, data in ((f"{i:08}.jpg", image), (f"{i:08}.cls", str(label).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))


def status(key: str) -> int:
    """A line of /proc/self/status in bytes: VmRSS, the resident set; VmHWM, its largest; VmData, memory of its own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def play(place: str, streamed: bool, seconds: float, allowed: int) -> dict[str, Any]:
    """The dcgan recipe on a source, for that long after a warm-up."""
    import torch

    from sparring.data.open import Data
    from sparring.recipes.automatic import settle
    from sparring.recipes.images import dcgan
    from sparring.train.schedule import Budget
    from sparring.train.trainer import Trainer

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started = time.perf_counter()
    source = Data(source=place, stream=None if streamed else False).load()
    opened = time.perf_counter() - started
    recipe = dcgan(Data(source=place), source.spec, Budget(amount=3600))
    trainer = Trainer(settle(recipe, device).recipe, source, device)
    batch = trainer.recipe.train.batch

    def steps(until: float) -> Iterator[int]:
        while time.perf_counter() < until:
            trainer.take_step()
            if trainer.step % 20 == 0:
                trainer.report.drain()
            yield trainer.step

    warm = sum(1 for _ in steps(time.perf_counter() + WARM_UP))
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident set is counted from here
    own = status("VmData")
    if streamed:
        limit = own + allowed
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    taken = sum(1 for _ in steps(started + seconds))
    if device.type == "cuda":
        torch.cuda.synchronize()
    rate = taken * batch / (time.perf_counter() - started)
    found = {
        "rate": rate,
        "grown": status("VmHWM") - before,
        "own_grown": status("VmData") - own,
        "opened": opened,
        "warm_steps": warm,
        "device": device.type,
        "threads": torch.get_num_threads(),
    }
    if streamed:
        try:
            trainer.source.held()  # type: ignore[attr-defined]
            found["held_fits"] = True
        except (MemoryError, RuntimeError):
            found["held_fits"] = False
    return found


def run_alone(place: Path, kind: str, cache: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--play", str(place), kind]
    command += ["--seconds", str(options.seconds), "--allowed", str(options.allowed)]
    environment = os.environ | {"SPARRING_CACHE": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--allowed", type=float, default=48.0, help="MiB that a streamed run may add")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--scratch", type=Path, help="a folder for the shards; about three times as large as the set")
    parser.add_argument("--play", nargs=2, metavar=("PLACE", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        place, kind = options.play
        print(json.dumps(play(place, kind == "streamed", options.seconds, int(options.allowed * 2**20))))
        return
    if options.quick:
        options.rounds, options.seconds, options.allowed = 1, 4.0, min(options.allowed, 16.0)
    count = int(TIMES * options.allowed * 2**20 / PIXELS)
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        shards, cache = Path(folder, "shards"), Path(folder, "cache")
        shards.mkdir()
        write_shards(shards, count)
        kinds = {"held": shards / "0000.tar", "streamed": shards}
        rounds = []
        for _ in range(options.rounds):
            found = {kind: run_alone(place, kind, cache, options) for kind, place in kinds.items()}
            found["ratio"] = found["streamed"]["rate"] / found["held"]["rate"]
            rounds.append(found)
            grown = found["streamed"]["grown"] / 2**20
            print(
                f"held {found['held']['rate']:,.0f} img/s, streamed {found['streamed']['rate']:,.0f} img/s, ratio "
                f"{found['ratio']:.2f}; the streamed run grew by {grown:.1f} MiB; holding the set fits within "
                f"{options.allowed:g} MiB: {'yes' if found['streamed']['held_fits'] else 'no'}",
                flush=True,
            )
    ratios = [found["ratio"] for found in rounds]
    summary = {
        "images": count,
        "set_mib": count * PIXELS / 2**20,
        "allowed_mib": options.allowed,
        "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
        "grown_mib": max(found["streamed"]["grown"] for found in rounds) / 2**20,
        "rounds": rounds,
    }
    low, high = min(ratios), max(ratios)
    print(f"ratio {statistics.median(ratios):.2f} ({low:.2f}-{high:.2f}) over {len(ratios)} rounds, {count:,} images")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
