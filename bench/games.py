"""Every game under one frozen protocol: networks, optimiser, batch, noise, steps and data are the same.

    python bench/games.py [--games ...] [--sets ring8 grid25] [--seeds 0 1 2] [--steps 5000]
                          [--out docs/figures/games.json]

The protocol: ring8 and grid25 of Lin et al. 2018 (PacGAN, 100,000 points); z normal in two dimensions; generator and
discriminator three layers of 64 with LeakyReLU; Adam at .001 (β .5 and .99) whose rate falls along half a cosine;
batch 128; the averaged generator. A critic of Wasserstein's kind has five steps for each of the generator's, so its
generator makes a fifth of the moves. Measured as there: of 2,500 samples the number of modes with a sample within three
σ, the share of such samples, and the reverse KL to uniform over the modes. No game was tuned on it: penalties have the
weight of their paper, or 1 where the paper's is for images. It compares games in one setting, not at their best.

Rows already in `--out` that are asked for again are replaced; so seeds may be measured in several processes, in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from sparring.core.game import Game
from sparring.core.protocols import NetworkSpec
from sparring.data.open import Data
from sparring.data.toys import toy_of
from sparring.games.adversarial import Adversarial, Extragradient, Simultaneous
from sparring.games.constraints import WeightClipping
from sparring.games.history import PastOpponents, Replay
from sparring.games.objectives import (
    BEGAN,
    EBGAN,
    KL,
    MAGAN,
    BoundarySeeking,
    DualContrastive,
    Hinge,
    JensenShannon,
    LeastSquares,
    Minimax,
    OneSidedSmoothing,
    Pearson,
    Relativistic,
    RelativisticAverage,
    ReverseKL,
    SoftmaxGAN,
    SquaredHellinger,
    TotalVariation,
    Wasserstein,
)
from sparring.games.penalties import DRAGAN, R1, R2, WGANGP, LeCam, WGANDiv, ZeroGP
from sparring.games.priors import Gaussian
from sparring.games.show import InstanceNoise, Packing
from sparring.games.unrolled import Unrolled
from sparring.metrics.judge import Judge
from sparring.metrics.modes import Mixture
from sparring.networks.autoencoder import AutoencoderDiscriminator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.networks.spectral import SpectralNorm
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget, Cosine
from sparring.train.trainer import Trainer

BATCH, SAMPLES = 128, 2_500
SETS = ["ring8", "grid25"]
D = MLPDiscriminator(width=64, depth=3)
R1R2 = (R1(weight=1.0), R2(weight=1.0))

GAMES: dict[str, Game] = {
    "minimax": Adversarial(objective=Minimax()),
    "non-saturating": Adversarial(),
    "least squares": Adversarial(objective=LeastSquares()),
    "hinge": Adversarial(objective=Hinge()),
    "relativistic pairing": Adversarial(objective=Relativistic()),
    "relativistic average": Adversarial(objective=RelativisticAverage()),
    "f-GAN, KL": Adversarial(objective=KL()),
    "f-GAN, reverse KL": Adversarial(objective=ReverseKL()),
    "f-GAN, Pearson": Adversarial(objective=Pearson()),
    "f-GAN, squared Hellinger": Adversarial(objective=SquaredHellinger()),
    "f-GAN, total variation": Adversarial(objective=TotalVariation()),
    "f-GAN, Jensen-Shannon": Adversarial(objective=JensenShannon()),
    "boundary seeking": Adversarial(objective=BoundarySeeking()),
    "softmax": Adversarial(objective=SoftmaxGAN()),
    "dual contrastive": Adversarial(objective=DualContrastive()),
    "energy-based": Adversarial(objective=EBGAN()),
    "MAGAN": Adversarial(objective=MAGAN()),
    "BEGAN": Adversarial(objective=BEGAN()),
    "Wasserstein, clipped weights": Adversarial(objective=Wasserstein(), constraints=(WeightClipping(),), d_steps=5),
    "WGAN-GP": Adversarial(objective=Wasserstein(), penalties=(WGANGP(),), d_steps=5),
    "WGAN-div": Adversarial(objective=Wasserstein(), penalties=(WGANDiv(),), d_steps=5),
    "DRAGAN": Adversarial(penalties=(DRAGAN(),)),
    "non-saturating, 0-GP": Adversarial(penalties=(ZeroGP(weight=1.0),)),
    "non-saturating, R1": Adversarial(penalties=(R1(weight=1.0),)),
    "non-saturating, R1 and R2": Adversarial(penalties=R1R2),
    "hinge, spectral norm": Adversarial(objective=Hinge()),
    "hinge, LeCam": Adversarial(objective=Hinge(), penalties=(LeCam(),)),
    "relativistic pairing, R1": Adversarial(objective=Relativistic(), penalties=(R1(weight=1.0),)),
    "relativistic pairing, R1 and R2": Adversarial(objective=Relativistic(), penalties=R1R2),
    "relativistic pairing, R1 and R2 falling": Adversarial(
        objective=Relativistic(), penalties=tuple(penalty.replace(final=0.01) for penalty in R1R2)
    ),
    "non-saturating, packs of 2": Adversarial(show=(Packing(size=2),)),
    "non-saturating, packs of 4": Adversarial(show=(Packing(size=4),)),
    "non-saturating, instance noise": Adversarial(show=(InstanceNoise(),)),
    "non-saturating, smoothed labels": Adversarial(objective=OneSidedSmoothing()),
    "non-saturating, replay": Adversarial(history=Replay()),
    "non-saturating, past opponents": Adversarial(history=PastOpponents()),
    "non-saturating, simultaneous": Simultaneous(),
    "non-saturating, extragradient": Extragradient(),
    "non-saturating, unrolled 5": Unrolled(depth=5),
}
NETWORKS: dict[str, NetworkSpec] = {
    "hinge, spectral norm": SpectralNorm(network=D),
    "energy-based": AutoencoderDiscriminator(),
    "MAGAN": AutoencoderDiscriminator(),
    "BEGAN": AutoencoderDiscriminator(),
}
"""Discriminators that a game can't do without; all others have `D`."""


def play(name: str, data_name: str, seed: int, steps: int) -> dict[str, object]:
    """One run and what its samples are."""
    data = Data(source=data_name)
    source = data.load()
    adam = Adam(lr=1e-3, betas=(0.5, 0.99), schedule=Cosine())
    recipe = Recipe(
        name=name,
        source=data,
        prior=Gaussian(dim=2),
        generator=MLPGenerator(width=64, depth=3),
        discriminator=NETWORKS.get(name, D),
        game=GAMES[name],
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(
            batch=BATCH,
            budget=Budget(amount=BATCH * steps, unit="images"),
            seed=seed,
            precision="float32",
            matmul="highest",
            grids=0,
            report_every=100,
        ),
        scoring=Scoring(times=0),
    )
    recipe = recipe.replace(train=recipe.train.replace(health=recipe.train.health.replace(every=0)))
    trainer = Trainer(recipe, source, torch.device("cpu"))
    started = time.perf_counter()
    failed = ""
    try:
        for _ in trainer.run():
            pass
    except RuntimeError as error:  # a loss that is not finite is a result, too
        failed = str(error)
    seconds = time.perf_counter() - started
    toy = toy_of(source.spec)
    assert toy is not None
    metric = Mixture(centres=toy.centres, sigma=toy.sigma, scale=toy.scale)
    judge = Judge(source, metrics=(metric,), features="values")
    values = judge.score(trainer.samples.numbered, num_samples=SAMPLES, seed=seed).values
    return {
        "game": name,
        "set": data_name,
        "seed": seed,
        "steps": trainer.step,
        "modes": values.get("num_modes", 0.0),
        "high_quality": values.get("high_quality", 0.0),
        "reverse_kl": values.get("modes_kl"),
        "seconds": seconds,
        "failed": failed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES), metavar="GAME")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    for name in options.games:
        for data_name in options.sets:
            rows = [play(name, data_name, seed, options.steps) for seed in options.seeds]
            quality, modes = ([float(str(row[key])) for row in rows] for key in ("high_quality", "modes"))
            means = f"modes {statistics.mean(modes):5.1f}  high quality {statistics.mean(quality):.3f}"
            print(f"{name:<40} {data_name:<7} {means}", flush=True)
            if options.out:
                _store(options.out, rows)


def _store(path: Path, rows: list[dict[str, object]]) -> None:
    def key(row: dict[str, object]) -> tuple[object, ...]:
        return row["game"], row["set"], row["seed"]

    new = {key(row) for row in rows}
    held = json.loads(path.read_text()) if path.exists() else []
    both = [row for row in held if key(row) not in new] + rows
    order = list(GAMES)
    both.sort(key=lambda row: (order.index(str(row["game"])), str(row["set"]), int(str(row["seed"]))))
    path.write_text(json.dumps(both, indent=1) + "\n")


if __name__ == "__main__":
    main()
