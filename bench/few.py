"""A hundred images: what augmentation does where the discriminator could learn them all by heart.

    python bench/few.py [--recipes fastgan] [--seconds 600] [--seeds 0 1 2] [--quick] [--again] [--out FIGURES.json]

100 of CIFAR-10's training images of automobiles, chosen by a fixed draw, are trained on without augmentation, with
`DiffAugment` and with `ADA`, each for the same number of seconds, unscored, to the end: no score of a hundred images
could say which moment is the best. 5,000 samples of the averaged generator are then judged in cifar32's features: FID
and KID against all 5,000 automobiles, and `Memorisation` against the hundred, with the other 4,900 held out. Alone on
the machine, one run after the other. Every run is written down when it ends; those that are there are not made again,
unless `--again` says so. `--quick` is one seed for 20 s, to see that it works. CIFAR-10 is read from
$SPARRING_DATA/cifar10.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparring.data.open import Data
from sparring.scoring import score

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs" / "figures" / "few.json"
SHOWN = {"none": "()", "DiffAugment": "DiffAugment()", "ADA": "ADA()"}
RECIPES = {
    "fastgan": f"{ROOT / 'sparring' / 'recipes' / 'fastgan.py'}:fastgan",
    "stylegan2": f"{ROOT / 'sparring' / 'recipes' / 'stylegan2.py'}:stylegan2",
    "dcgan": "dcgan",
}
AUTOMOBILE, FEW, SAMPLES = 1, 100, 5000


def automobiles() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The hundred, and the others [N, 32, 32, 3]."""
    import torch

    source = Data(source="cifar10").load()
    y = source.take(torch.arange(len(source))).y
    assert y is not None
    images = source.numpy()[(y == AUTOMOBILE).numpy()]  # type: ignore[attr-defined]
    order = np.random.default_rng(0).permutation(len(images))
    return images[order[:FEW]], images[order[FEW:]]


def one(
    recipe: str, shown: str, seed: int, seconds: float, few: NDArray[np.uint8], others: NDArray[np.uint8]
) -> dict[str, Any]:
    """Trains, samples, judges; returns the figures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        np.save(folder / "few.npy", few)
        sparring = [sys.executable, "-m", "sparring"]
        train = ["train", "few.npy", "--recipe", RECIPES[recipe], "--budget", f"{seconds:g}s", "--seed", str(seed)]
        changed = ["--set", f"game.show={SHOWN[shown]}", "--set", "scoring.times=0", "--out", "run"]
        subprocess.run([*sparring, *train, *changed], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        sample = ["sample", "run", "--checkpoint", "last", "-n", str(SAMPLES), "--out", "samples.npz"]
        subprocess.run([*sparring, *sample], cwd=folder, check=True, capture_output=True)
        last = json.loads(sorted((folder / "run" / "checkpoints").glob("0*.json"))[-1].read_text())
        with np.load(folder / "samples.npz", allow_pickle=False) as arrays:
            images = arrays["images"]
    quality = score(images, np.concatenate([few, others]), ["fid", "kid"], features="cifar32").values
    memory = score(images, few, ["memorisation"], features="cifar32", held_out=others).values
    done = {"seconds": last["seconds"], "images": last["images"]}
    return {"recipe": recipe, "shown": shown, "seed": seed, "budget": seconds} | done | quality | memory


def table(rows: list[dict[str, Any]]) -> None:
    print(f"{'':24} {'FID (range)':>24} {'KID':>8} {'copies, %':>10} {'of unseen, %':>13} {'authentic, %':>13}")
    for recipe, shown in dict.fromkeys((row["recipe"], row["shown"]) for row in rows):
        own = [row for row in rows if (row["recipe"], row["shown"]) == (recipe, shown)]
        mean = {key: statistics.mean(row[key] for row in own) for key, value in own[0].items() if type(value) is float}
        fids = [row["fid"] for row in own]
        print(
            f"{recipe + ', ' + shown:24} {mean['fid']:10.2f} ({min(fids):.2f} to {max(fids):.2f}) {mean['kid']:8.3f} "
            f"{100 * mean['copies']:10.1f} {100 * mean['copies_held_out']:13.1f} {100 * mean['authentic_share']:13.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["fastgan"])
    parser.add_argument("--shown", nargs="+", choices=SHOWN, default=list(SHOWN))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed for 20 s")
    parser.add_argument("--again", action="store_true", help="also the runs that are there")
    parser.add_argument("--out", type=Path, default=FIGURES, help="where the figures go as JSON")
    options = parser.parse_args()
    seconds, seeds = (20.0, [0]) if options.quick else (options.seconds, options.seeds)
    few, others = automobiles()
    rows: list[dict[str, Any]] = json.loads(options.out.read_text()) if options.out.exists() else []
    for seed in seeds:  # all that is compared, before the next seed
        for recipe in options.recipes:
            for shown in options.shown:
                which = {"recipe": recipe, "shown": shown, "seed": seed, "budget": seconds}
                there = [row for row in rows if which.items() <= row.items()]
                if there and not options.again:
                    continue
                made = one(recipe, shown, seed, seconds, few, others)
                print(json.dumps(made), flush=True)
                rows = [*(row for row in rows if row not in there), made]
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(rows, indent=1) + "\n")
    table(rows)


if __name__ == "__main__":
    main()
