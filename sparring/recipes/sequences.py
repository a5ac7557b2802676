"""Recipes for series and for texts; see `sparring.recipes.images` for the way recipes are found."""

from __future__ import annotations

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Text
from sparring.core.protocols import DataSpec, NetworkSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Relativistic
from sparring.games.penalties import R1R2
from sparring.games.priors import Gaussian
from sparring.games.taught import Taught
from sparring.metrics.autocorrelation import Autocorrelation
from sparring.metrics.copied import Copied
from sparring.metrics.cross_correlation import CrossCorrelation
from sparring.metrics.marginals import Marginals
from sparring.metrics.ngrams import NGrams
from sparring.metrics.spectrum import Spectrum
from sparring.metrics.validity import Validity
from sparring.networks.recurrent import RecurrentDiscriminator, RecurrentGenerator
from sparring.networks.temporal import TemporalDiscriminator, TemporalGenerator
from sparring.networks.windowed import WindowedGenerator
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget, Cosine

_LONG = 128
"""Steps beyond which a recurrent generator is too slow: each waits for the one before."""
_NAMES = 32
"""Characters up to which a text is taken for a name or a word."""
_SHORT = 4
"""Steps below which there is nothing to convolve."""


def series(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """Recurrent cells write, convolutions along time judge, in a game of relativistic pairing held by R1 and R2 (Huang
    et al. 2024); more than 128 steps are written by convolutions, too.

    Raises `RequestError` for data that are no series.
    """
    if not isinstance(data.form, Series):
        raise RequestError(f"recipe series: expected series, found {data.name} of shape {list(data.shape)}")
    generator: NetworkSpec = RecurrentGenerator(width=64)
    if data.shape[0] > _LONG:
        generator = TemporalGenerator(width=32)
    return Recipe(
        name="series",
        source=source,
        prior=Gaussian(dim=64),
        generator=generator,
        discriminator=_judge(data, 32),
        game=Adversarial(objective=Relativistic(), penalties=(R1R2(),)),
        optimizers=_adam(2e-3),
        # bfloat16 has 8 bits, and numbers have more digits.
        train=Train(budget=budget, average=Average(half_life=20_000), precision="float32"),
        scoring=Scoring(
            times=5, features="values", metrics=(Spectrum(), Autocorrelation(), CrossCorrelation(), Marginals())
        ),
    )


def text(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """Tokens are drawn one by one by Gumbel-softmax and convolutions judge, in relativistic pairing held by R1 and R2
    (Huang et al. 2024), while the generator is taught by the texts' own likelihood, ever less.

    Up to 32 characters are written by a network that sees the last three alone, because a list of words or names is
    soon learned by heart; longer texts, and words, by recurrent cells, and more than 128 tokens by convolutions along
    time, which have no likelihoods to be taught by. Raises `RequestError` for data that are no texts.
    """
    if not isinstance(data.form, Text):
        raise RequestError(f"recipe text: expected texts, found {data.name} of shape {list(data.shape)}")
    objective, penalties = Relativistic(), (R1R2(),)
    game: Adversarial = Taught(objective=objective, penalties=penalties, teaching=1.0, taught=0.02, until=1.0)
    generator: NetworkSpec = WindowedGenerator()
    if data.shape[0] > _LONG:
        generator, game = TemporalGenerator(width=48), Adversarial(objective=objective, penalties=penalties)
    elif data.shape[0] > _NAMES or data.form.between:
        generator = RecurrentGenerator(width=192, feedback=True)
    return Recipe(
        name="text",
        source=source,
        prior=Gaussian(dim=64),
        generator=generator,
        discriminator=_judge(data, 48),
        game=game,
        optimizers=_adam(2e-3),
        train=Train(batch=128, budget=budget, average=Average(half_life=20_000), precision="float32"),
        scoring=Scoring(times=5, features="tokens", metrics=(NGrams(), Validity(), Copied())),
    )


def _judge(data: DataSpec, width: int) -> NetworkSpec:
    if data.shape[0] < _SHORT:
        return RecurrentDiscriminator(width=width)
    return TemporalDiscriminator(width=width, blocks=0)


def _adam(lr: float) -> Optimizers:
    adam = Adam(lr=lr, betas=(0.0, 0.99), schedule=Cosine())
    return Optimizers(generator=adam, discriminator=adam)
