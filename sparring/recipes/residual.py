"""The recipe for residual players; see `sparring.recipes.images` for the way recipes are found."""

from __future__ import annotations

from sparring.core.protocols import DataSpec, SourceSpec
from sparring.networks.resnet import ResidualDiscriminator, ResidualGenerator
from sparring.recipes.images import dcgan
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget, Cosine


def resnet(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """Residual players (Gulrajani et al. 2017, Miyato et al. 2018), non-saturating loss with lazy R1."""
    adam = Adam(lr=3e-3, betas=(0.0, 0.99), schedule=Cosine())
    return dcgan(source, data, budget).replace(
        name="resnet",
        generator=ResidualGenerator(width=8),
        discriminator=ResidualDiscriminator(width=8),
        optimizers=Optimizers(generator=adam, discriminator=adam),
    )
