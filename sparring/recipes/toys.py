"""The recipe for points of one or two dimensions; a toy for people, and the hardest test of fine scales for a game."""

from __future__ import annotations

from sparring.core.protocols import DataSpec, SourceSpec
from sparring.data.toys import toy_of
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Relativistic
from sparring.games.penalties import R1, R2
from sparring.games.priors import Gaussian
from sparring.metrics.divergence import Divergence
from sparring.metrics.metric import Metric
from sparring.metrics.modes import Mixture
from sparring.networks.fourier import FourierDiscriminator, FourierGenerator
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget, Cosine


def toy(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """Relativistic pairing held by R1 and R2 (Huang et al. 2024), with waves at the input, for points of a plane.

    The pairing finds every mode and the penalties, in every step, keep what is found: at a fifth of their first weight
    two of a grid's 25 modes were lost. They fade, because the steepness that they bound is the sharpness of the
    samples: modes a hundredth wide call for slopes of a hundred.
    Ranked by the divergence, which sees that scale where a Fréchet distance does not.
    """
    adam = Adam(lr=3e-3, betas=(0.0, 0.99), schedule=Cosine())
    known = toy_of(data)
    metrics: tuple[Metric, ...] = (Divergence(),)
    if known is not None and known.centres:
        metrics += (Mixture(centres=known.centres, sigma=known.sigma, scale=known.scale),)
    return Recipe(
        name="toy",
        source=source,
        prior=Gaussian(dim=2),
        generator=FourierGenerator(),
        discriminator=FourierDiscriminator(),
        game=Adversarial(
            objective=Relativistic(), penalties=(R1(weight=0.05, final=5e-4), R2(weight=0.05, final=5e-4))
        ),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        # bfloat16 has 8 bits: rounding in [-1, 1] would be as wide as the modes.
        train=Train(batch=256, budget=budget, average=Average(half_life=10_000_000), precision="float32", grids=16),
        scoring=Scoring(times=5, features="values", metrics=metrics),
    )
