"""A run, said in full: the data, the players, the game, how they learn, how long, and how they are judged."""

from __future__ import annotations

from typing import Literal

from sparring.core.errors import RequestError
from sparring.core.game import Game, Prior
from sparring.core.protocols import NetworkSpec, SourceSpec
from sparring.core.spec import Spec
from sparring.train.health import Health
from sparring.train.mend import Mend
from sparring.train.optimizers import Optimizers
from sparring.train.player import Average
from sparring.train.schedule import Budget
from sparring.train.stopping import Patience


class Scoring(Spec):
    """How often and how the averaged generator is judged.

    At most `times` evaluations are spread evenly over the run, each on `samples` samples, with at least `spacing`
    images trained on for each sample scored in between, so that judging stays a small share of the work; where the
    budget is in seconds, also at most the share `most` of the time so far is spent on it. The end of the run is always
    scored. `metrics` are specs of `sparring.metrics`, and the first value that can rank is what `best` and `patience`
    mean.
    """

    times: int = 5
    samples: int = 5_000
    spacing: float = 10.0
    most: float = 0.1
    features: str = "auto"
    metrics: tuple[Spec, ...] = ()
    patience: Patience = Patience()

    def __post_init__(self) -> None:
        if self.times < 0 or self.samples < 2 or self.spacing < 0 or not 0 < self.most <= 1:
            raise RequestError(
                "scoring: expected times >= 0, samples >= 2, spacing >= 0 and most in (0, 1], found "
                f"{self.times}, {self.samples}, {self.spacing}, {self.most}"
            )


class Train(Spec):
    """How the loop runs: `batch` samples a step, `report_every` steps, `grids` pictures a run, most of them early."""

    batch: int = 64
    budget: Budget
    seed: int = 0
    average: Average = Average()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    matmul: Literal["auto", "highest", "medium"] = "auto"
    report_every: int = 20
    grids: int = 30
    save_seconds: float = 60.0
    health: Health = Health()
    mend: tuple[Mend, ...] = ()

    def __post_init__(self) -> None:
        if self.batch < 1 or self.report_every < 1 or self.grids < 0 or not self.save_seconds > 0:
            raise RequestError(
                f"train: expected batch >= 1, report_every >= 1, grids >= 0, save_seconds > 0, found {self.batch}, "
                f"{self.report_every}, {self.grids}, {self.save_seconds}"
            )
        if self.mend and not self.health.every:
            raise RequestError(
                "train.mend: there is nothing to act on with train.health.every=0; leave one of them out"
            )


class Recipe(Spec):
    """Everything that decides a run; `recipe.json` holds it and reproduces it."""

    name: str
    source: SourceSpec
    prior: Prior
    generator: NetworkSpec
    discriminator: NetworkSpec
    game: Game
    optimizers: Optimizers
    train: Train
    scoring: Scoring = Scoring()
