"""The recipe of StyleGAN2 (Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN")."""

from __future__ import annotations

import math

from sparring.core.protocols import DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1, PathLength
from sparring.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from sparring.recipes.images import dcgan
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget, Cosine


def stylegan2(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """StyleGAN2 (Karras et al. 2020): modulated convolutions, lazy R1, style mixing, path length from 64 pixels up."""
    base = dcgan(source, data, budget)
    # γ after StyleGAN2-ADA's rule for data that nobody has tuned it for.
    gamma = 2e-4 * math.prod(data.shape[1:]) / base.train.batch
    # Not for small images, as in StyleGAN2-ADA's configuration for CIFAR-10: its average has to catch up with the
    # lengths first, and until then it takes from styles what they can do. On MNIST at 16×16, with 30,000 images and
    # either weight of R1, it made FID 31 and 33 into 50 and 56.
    small = min(data.shape[1:], default=0) < 64
    adam = Adam(lr=1e-2, betas=(0.0, 0.99), schedule=Cosine())
    return base.replace(
        name="stylegan2",
        generator=StyleGAN2Generator(),
        discriminator=StyleGAN2Discriminator(),
        game=Adversarial(
            penalties=(R1(weight=gamma, every=16),),
            generator_penalties=() if small else (PathLength(),),
        ),
        optimizers=Optimizers(generator=adam, discriminator=adam),
    )
