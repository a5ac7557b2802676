"""The recipes of R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN! A modern GAN baseline"): relativistic
pairing held by R1 and R2 in every step, players without normalisation, schedules that burn in along half a cosine.

See `sparring.recipes.images` for the way recipes are found.
"""

from __future__ import annotations

from typing import NamedTuple

from sparring.core.protocols import DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Relativistic
from sparring.games.penalties import R1R2
from sparring.games.priors import Gaussian
from sparring.games.show import ADA, BLIT, COLOUR, GEOMETRY
from sparring.networks.r3gan import CIFAR10, FFHQ64, FFHQ256, Pair, R3GANDiscriminator, R3GANGenerator
from sparring.recipes.images import scoring
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Train
from sparring.train.schedule import Budget, Cosine

HOUR = 3600.0
FALL = 10 / 3
BURN_IN = 0.2
"""As for the published Stacked MNIST: 2 of 10 million images."""


def r3gan(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """R3GAN's players, small enough for images of 28×28 on two cores of a CPU, and wider where there is more than an
    hour; its game and its burn-ins, with a rate that falls to 0 over the run. `r3gan_published` is the paper's own.

    On a CPU `dcgan` is the better choice for minutes: a step costs three to five times as much here, and a generator
    without normalisation learns less from as many images.
    """
    adam = Adam(lr=2e-3, betas=(0.0, 0.9), final_beta2=0.99, until=BURN_IN, schedule=Cosine())
    gamma = _gamma(data)
    pair = _small_pair(data, budget)
    return Recipe(
        name="r3gan",
        source=source,
        prior=Gaussian(dim=64),
        generator=pair.generator,
        discriminator=pair.discriminator,
        game=_game(gamma, BURN_IN, FALL),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(budget=budget, average=Average()),
        scoring=scoring(budget),
    )


class Published(NamedTuple):
    """What the paper's runs on images of a size differ in; γ and p are those at the end of the burn-in."""

    pair: Pair
    batch: int
    gamma: float
    p: float
    half_life: int
    burn_in: float


PUBLISHED = {
    32: Published(CIFAR10, 512, 0.005, 0.55, 5_000_000, 20 / 250),
    64: Published(FFHQ64, 256, 0.2, 0.3, 500_000, 0.1),
    256: Published(FFHQ256, 256, 15.0, 0.3, 500_000, 0.1),
}
"""By the longer side up to which they are taken: CIFAR-10, FFHQ-64 and FFHQ-256 of the paper's code."""


def r3gan_published(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """R3GAN as it was published for CIFAR-10 (up to 32 pixels), FFHQ-64 (up to 64) and FFHQ-256: 42 to 46 million
    parameters, for days on several GPUs."""
    size = max(data.shape[1:], default=0)
    found = PUBLISHED[next((limit for limit in PUBLISHED if size <= limit), 256)]
    adam = Adam(
        lr=2e-4,
        betas=(0.0, 0.9),
        final_beta2=0.99,
        until=found.burn_in,
        schedule=Cosine(final=0.25, until=found.burn_in),
    )
    policy = (*BLIT, *GEOMETRY, *COLOUR, "cutout")
    show = ADA(policy=policy, paired=True, final=found.p, until=found.burn_in, colour=0.5)
    return r3gan(source, data, budget).replace(
        name="r3gan_published",
        generator=found.pair.generator,
        discriminator=found.pair.discriminator,
        game=_game(found.gamma, found.burn_in).replace(show=(show,)),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(
            batch=found.batch,
            budget=budget,
            average=Average(half_life=found.half_life, ramp=1.0, burn_in=20_000_000),
        ),
    )


def _small_pair(data: DataSpec, budget: Budget) -> Pair:
    if budget.unit == "seconds" and budget.amount > HOUR:
        return Pair(R3GANGenerator(width=32, max_width=256), R3GANDiscriminator(width=32, max_width=256))
    width = (
        32 if max(data.shape[1:], default=0) <= 16 else 16
    )  # a step costs its pixels times the square of its channels
    return Pair(
        R3GANGenerator(width=width, max_width=128, blocks=1), R3GANDiscriminator(width=width, max_width=128, blocks=1)
    )


def _game(gamma: float, until: float, fall: float = 10.0) -> Adversarial:
    """From `fall` times γ down to γ."""
    return Adversarial(objective=Relativistic(), penalties=(R1R2(weight=fall * gamma, final=gamma, until=until),))


def _gamma(data: DataSpec) -> float:
    """γ at the end, in proportion to the number of pixels, over which |∇D|² sums; 12 at 28×28.

    Much more than the published: with small networks and batches and a tenth of these weights the discriminator wins,
    and samples of a class are all alike.
    """
    if not data.is_image:
        return 1.0
    _, height, width = data.shape
    return 12 * height * width / (28 * 28)
