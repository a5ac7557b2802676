"""The recipe for points of one or two dimensions; a toy for people, and the hardest test of fine scales for a game."""

from __future__ import annotations

from sparring.core.protocols import DataSpec, SourceSpec
from sparring.data.toys import toy_of
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Relativistic
from sparring.games.penalties import R1R2
from sparring.games.priors import Coins
from sparring.metrics.divergence import Divergence
from sparring.metrics.metric import Metric
from sparring.metrics.modes import Mixture
from sparring.networks.fourier import FourierDiscriminator
from sparring.networks.mlp import MLPGenerator
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget, Cosine


def toy(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """Relativistic pairing held by R1 and R2 (Huang et al. 2024), noise with coins in it, waves beside D's input.

    The pairing finds every mode, and the penalties, in every step and strong at first, spread the samples over them
    evenly. Then they fade, because the steepness that they bound is the sharpness of the samples: modes a hundredth
    wide call for slopes of a hundred. Coins let the generator go from mode to mode without samples in between, and a
    generator a third as fast as its discriminator stays where it has come to be right. Ranked by the
    modes where they are known, else by the divergence: both see that scale where a Fréchet distance does not.
    """

    def adam(lr: float) -> Adam:
        return Adam(lr=lr, betas=(0.0, 0.99), schedule=Cosine())

    known = toy_of(data)
    metrics: tuple[Metric, ...] = (Divergence(),)
    if known is not None and known.centres:
        metrics = (Mixture(centres=known.centres, sigma=known.sigma, scale=known.scale), *metrics)
    return Recipe(
        name="toy",
        source=source,
        prior=Coins(dim=12, coins=10),
        generator=MLPGenerator(width=128, depth=3),
        discriminator=FourierDiscriminator(),
        game=Adversarial(objective=Relativistic(), penalties=(R1R2(weight=0.7, final=0.001, until=0.75),)),
        optimizers=Optimizers(generator=adam(5e-4), discriminator=adam(1.5e-3)),
        # bfloat16 has 8 bits: rounding in [-1, 1] would be as wide as the modes.
        train=Train(batch=256, budget=budget, average=Average(half_life=10_000_000), precision="float32", grids=16),
        scoring=Scoring(times=5, features="values", metrics=metrics),
    )
