"""The recipe for few images (Liu et al. 2021, "Towards faster and stabilized GAN training for high-fidelity few-shot
image synthesis", FastGAN)."""

from __future__ import annotations

from sparring.core.protocols import DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Hinge
from sparring.games.penalties.self_reconstruction import SelfReconstruction
from sparring.games.show import DiffAugment
from sparring.networks.fastgan import FastGANDiscriminator, FastGANGenerator
from sparring.networks.spectral import SpectralNorm
from sparring.recipes.images import dcgan
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget


def fastgan(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """FastGAN (Liu et al. 2021) for few images: light players, hinge loss, DiffAugment, an encoding discriminator."""
    base = dcgan(source, data, budget)
    # The paper's batch is 8 and its rate 2e-4, for 50,000 steps; here runs are shorter.
    adam = Adam(lr=1e-3, betas=(0.5, 0.999))
    return base.replace(
        name="fastgan",
        generator=SpectralNorm(network=FastGANGenerator()),
        discriminator=SpectralNorm(network=FastGANDiscriminator(decoders=True)),
        game=Adversarial(objective=Hinge(), penalties=(SelfReconstruction(),), show=(DiffAugment(),)),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=base.train.replace(batch=16),
    )
