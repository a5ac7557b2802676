"""Recipes for images and for vectors that hold images; each function returns one `Recipe`.

`sparring train --recipe NAME` finds the public functions of this module by their names; a file of your own may start
from one of them: `return replace(dcgan(source, data, budget), game=...)`.
"""

from __future__ import annotations

from sparring.core.protocols import DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1
from sparring.games.priors import Gaussian
from sparring.metrics.frechet import FID
from sparring.metrics.kernel import KID
from sparring.metrics.modes import Classes
from sparring.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget, Cosine

MINUTE = 60.0


def dcgan(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """Convolutional players (Radford et al. 2016), non-saturating loss with lazy R1, for images of any size."""
    adam = Adam(lr=3e-3, betas=(0.0, 0.99), schedule=Cosine())
    return Recipe(
        name="dcgan",
        source=source,
        prior=Gaussian(dim=64),
        generator=DCGANGenerator(),
        discriminator=DCGANDiscriminator(),
        game=Adversarial(penalties=(R1(weight=_r1_weight(data), every=8),)),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(budget=budget, average=Average()),
        scoring=scoring(budget),
    )


def mlp(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """Fully connected players, for small images and for vectors; the quickest to step, the first to be outgrown."""
    adam = Adam(lr=1e-3, betas=(0.0, 0.99), schedule=Cosine())
    return dcgan(source, data, budget).replace(
        name="mlp",
        generator=MLPGenerator(),
        discriminator=MLPDiscriminator(),
        optimizers=Optimizers(generator=adam, discriminator=adam),
    )


def scoring(budget: Budget) -> Scoring:
    """FID, KID and classes; five times in a run of minutes, so that judging stays a small share of it, else twenty."""
    short = budget.unit == "seconds" and budget.amount <= 5 * MINUTE
    return Scoring(times=5 if short else 20, metrics=(FID(), KID(), Classes()))


def _r1_weight(data: DataSpec) -> float:
    """γ in proportion to the number of pixels, because |∇D|² sums over them; 1 at 28×28."""
    if not data.is_image:
        return 1.0
    _, height, width = data.shape
    return height * width / (28 * 28)
