"""The recipe for tables; see `sparring.recipes.images` for the way recipes are found."""

from __future__ import annotations

from sparring.core.errors import RequestError
from sparring.core.forms import Table
from sparring.core.protocols import DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Relativistic
from sparring.games.penalties import R1R2
from sparring.games.priors import Gaussian
from sparring.metrics.columns import Columns
from sparring.metrics.pairs import Pairs
from sparring.networks.tabular import TabularDiscriminator, TabularGenerator, choices
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget, Cosine

FREE = 32
"""Numbers of z beside those that choose categories and modes."""

FEW = 2000
"""Rows below which the discriminator has dropout, as it would learn them by heart; with more it would only learn
slower."""


def table(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """Rows written mode by mode and drawn by training by sampling (Xu et al. 2019, CTGAN), in a game of relativistic
    pairing held by R1 and R2 (Huang et al. 2024) in place of that paper's packs under WGAN-GP.

    Raises `RequestError` for data that are no table.
    """
    if not isinstance(data.form, Table):
        raise RequestError(f"recipe table: expected rows of a table, found {data.name} of shape {list(data.shape)}")
    few = 0 < data.form.rows < FEW
    adam = Adam(lr=1e-3, betas=(0.0, 0.99), schedule=Cosine())
    return Recipe(
        name="table",
        source=source,
        prior=Gaussian(dim=FREE + choices(data.form)),
        generator=TabularGenerator(),
        discriminator=TabularDiscriminator(dropout=0.4 if few else 0.0),
        game=Adversarial(objective=Relativistic(), penalties=(R1R2(),)),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        # bfloat16 has 8 bits, and numbers have more digits.
        train=Train(batch=128, budget=budget, average=Average(half_life=20_000), precision="float32"),
        scoring=Scoring(times=5, features="values", metrics=(Pairs(), Columns())),
    )
