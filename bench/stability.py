"""Whether the penalties are what holds R3GAN: its game on MNIST with R1 and R2, and without, five seeds of each.

    python bench/stability.py [--penalties with without] [--seeds 0 1 2 3 4] [--images 100000] [--lr 0.002]
                              [--width 16] [--again] [--quick] [--out docs/figures/stability.json]

Network, noise, batch, optimisers and burn-ins are those of the recipe `r3gan` for a minute of MNIST; both see as many
images, whose number is the budget, so that the speed of the machine does not matter. `--lr` and `--width` change them
for both, to find where the game without penalties comes apart if it does not here. Measured ten times in a run: the
Fréchet distance of 2,000 samples of the averaged generator (the library's feature network for digits), and, of all
steps since the last time, the largest |logit| and the largest |D(real) − D(fake)|. Only differences mean something to a
relativistic discriminator; a common shift of all logits is free.

A run is `stable` when all its numbers stayed finite, its last distance is at most twice its least and below half of its
first, and no difference of logits was above 100: the loss of a pair is then its difference, and its slope does not grow
any more. What `--out` holds is not made again, unless with `--again`; it is written after every run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sparring.core.protocols import Source
from sparring.data.open import Data
from sparring.metrics.features import choose, load
from sparring.metrics.frechet import FID
from sparring.metrics.judge import Judge
from sparring.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from sparring.recipes.automatic import settle
from sparring.recipes.r3gan import r3gan
from sparring.train.faults import NotFiniteError
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer

CPU = torch.device("cpu")
MARKS, SAMPLES = 10, 2_000
LARGEST = 100.0
KEY = ("penalties", "seed", "images", "lr", "width")
OUT = Path("docs/figures/stability.json")


def recipe_of(source: Source, penalties: str, seed: int, images: int, lr: float, width: int) -> Recipe:
    """The recipe `r3gan` for a minute, with a budget in images."""
    made = r3gan(Data(source="mnist"), source.spec, Budget(amount=60))
    optimizers = made.optimizers
    adam = optimizers.generator.replace(lr=lr)
    assert isinstance(made.generator, R3GANGenerator)
    assert isinstance(made.discriminator, R3GANDiscriminator)
    train = made.train.replace(budget=Budget(amount=images, unit="images"), seed=seed)
    made = made.replace(
        generator=made.generator.replace(width=width, max_width=8 * width),
        discriminator=made.discriminator.replace(width=width, max_width=8 * width),
        optimizers=optimizers.replace(generator=adam, discriminator=adam),
        train=train,
    )
    return made if penalties == "with" else made.replace(game=made.game.replace(penalties=()))


def largest(trainer: Trainer) -> tuple[float, float]:
    """The largest |logit| and the largest difference of a pair's since the last time."""
    kept = trainer.report.state()
    trainer.report.drain()
    real, fake = kept["real_logits"].float(), kept["fake_logits"].float()
    return max(real.abs().max().item(), fake.abs().max().item()), (real - fake).abs().max().item()


def one(source: Source, judge: Judge, recipe: Recipe) -> dict[str, Any]:
    """A run by hand, without what a run does about its faults; returns the figures."""
    trainer = Trainer(settle(recipe, CPU).recipe, source, CPU)
    batch = recipe.train.batch
    steps = round(recipe.train.budget.amount) // batch
    marks = [round(steps * (i + 1) / MARKS) for i in range(MARKS)]
    fids: list[float] = []
    logits: list[float] = []
    differences: list[float] = []
    finite, started = True, time.perf_counter()
    for step in range(1, steps + 1):
        try:
            trainer.take_step()
        except NotFiniteError:
            finite = False
            break
        if step in marks:
            logit, difference = largest(trainer)
            precision = trainer.recipe.train.precision
            samples = trainer.samples.numbered
            score = judge.score(samples, num_samples=SAMPLES, seed=1, weights="ema", arithmetic=precision)
            fids.append(round(score.values["fid"], 4))
            logits.append(round(logit, 2))
            differences.append(round(difference, 2))
    held = finite and fids[-1] <= 2 * min(fids) and fids[-1] < fids[0] / 2
    return {
        "fids": fids,
        "logits": logits,
        "differences": differences,
        "finite": finite,
        "steps": trainer.step,
        "seconds": round(time.perf_counter() - started, 1),
        "stable": bool(held and max(differences) < LARGEST),
    }


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """A line for every group of seeds."""
    lines = []
    for group in dict.fromkeys((row["penalties"], row["images"], row["lr"], row["width"]) for row in rows):
        own = [row for row in rows if (row["penalties"], row["images"], row["lr"], row["width"]) == group]
        ends = [row["fids"][-1] for row in own if row["fids"]]
        end = f"{statistics.mean(ends):.2f} ({min(ends):.2f} to {max(ends):.2f})" if ends else "none"
        logit = max((max(row["logits"]) for row in own if row["logits"]), default=float("nan"))
        difference = max((max(row["differences"]) for row in own if row["differences"]), default=float("nan"))
        penalties, images, lr, width = group
        lines.append(
            f"{penalties} penalties, {images:,} images, rate {lr:g}, width {width}: FID at the end {end}, largest "
            f"|logit| {logit:.1f}, largest difference {difference:.1f}, finite {sum(r['finite'] for r in own)} and "
            f"stable {sum(r['stable'] for r in own)} of {len(own)}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--penalties", nargs="+", choices=["with", "without"], default=["with", "without"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--again", action="store_true", help="also what is there")
    parser.add_argument("--quick", action="store_true", help="1,280 images of one seed; written only where --out says")
    parser.add_argument("--out", type=Path, help=f"where the figures are and go as JSON (default: {OUT})")
    options = parser.parse_args()
    out: Path | None = options.out or (None if options.quick else OUT)
    images = 1280 if options.quick else options.images
    rows = json.loads(out.read_text()) if out is not None and out.exists() else []
    source = Data(source="mnist").load()
    judge = Judge(source, metrics=(FID(),), features=load(choose(source.spec), source), device=CPU)
    # The two are measured in turn, so that a series that is stopped has as many seeds of both.
    for seed in options.seeds[:1] if options.quick else options.seeds:
        for penalties in options.penalties:
            at = dict(zip(KEY, (penalties, seed, images, options.lr, options.width), strict=True))
            if not options.again and any(at.items() <= row.items() for row in rows):
                continue
            row = at | one(source, judge, recipe_of(source, *at.values()))
            rows = [*(old for old in rows if not at.items() <= old.items()), row]
            print(json.dumps(row), flush=True)
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps(rows, indent=1) + "\n")
    print(summary(rows), flush=True)


if __name__ == "__main__":
    main()
