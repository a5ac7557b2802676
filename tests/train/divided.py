"""Games that are played whole and in parts, for `test_divided.py`; run by torchrun, it plays them on several processes.

torchrun --nproc-per-node 2 tests/train/divided.py OUT.safetensors float64 50 NAME ...
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

import sparring.train.ranks
from sparring.core.errors import SourceError, TrainingError
from sparring.core.exchange import Exchange
from sparring.core.protocols import Batch, NetworkSpec, SourceSpec
from sparring.data.tensors import from_arrays
from sparring.games import (
    ADA,
    BEGAN,
    R1,
    R1R2,
    WGANGP,
    Adversarial,
    DiffAugment,
    Extragradient,
    Gaussian,
    Hinge,
    InstanceNoise,
    LeastSquares,
    LeCam,
    Minimax,
    NoisyLabels,
    PathLength,
    Relativistic,
    RelativisticAverage,
    Simultaneous,
    SoftmaxGAN,
    Wasserstein,
    WeightClipping,
)
from sparring.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten
from sparring.networks.autoencoder import AutoencoderDiscriminator
from sparring.networks.layered import Discriminator, Generator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.train.health import Health
from sparring.train.optimizers import SGD, Adam, Optimizers
from sparring.train.ranks import Ranks
from sparring.train.recipe import Recipe, Scoring, Train
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer

CPU = torch.device("cpu")
BATCH = 12
MLP = MLPGenerator(width=16, depth=1), MLPDiscriminator(width=16, depth=1)
DROPPING = (
    MLPGenerator(width=16, depth=1),
    Discriminator(layers=[Flatten(), Dense(16), Activation("relu", leaky_rate=0.2), Dropout(0.3), Dense(1)]),
)
NORMALISED = (
    Generator(layers=[Dense(64), BatchNormalization(), Activation("relu"), Dense(64), Activation("tanh")]),
    Discriminator(layers=[Conv2D(4, 3), Activation("relu", leaky_rate=0.2), Flatten(), Dense(1)]),
)
DROPPED = (
    Generator(layers=[Dense(16), Activation("relu"), Dropout(0.3), Dense(64), Activation("tanh")]),
    MLPDiscriminator(width=16, depth=1),
)

FAMILIES: dict[str, tuple[Adversarial, tuple[NetworkSpec, NetworkSpec]]] = {
    "non-saturating, R1": (Adversarial(penalties=(R1(weight=0.5, every=2),)), MLP),
    "minimax": (Adversarial(objective=Minimax()), MLP),
    "least squares": (Adversarial(objective=LeastSquares()), MLP),
    "relativistic, R1 and R2": (Adversarial(objective=Relativistic(), penalties=(R1R2(weight=0.1),)), MLP),
    "relativistic average": (Adversarial(objective=RelativisticAverage(), penalties=(R1(weight=0.1),)), MLP),
    "softmax": (Adversarial(objective=SoftmaxGAN()), MLP),
    "Wasserstein, gradient penalty": (Adversarial(objective=Wasserstein(), penalties=(WGANGP(),), d_steps=2), MLP),
    "Wasserstein, clipping": (Adversarial(objective=Wasserstein(), constraints=(WeightClipping(),)), MLP),
    "hinge, LeCam": (Adversarial(objective=Hinge(), penalties=(LeCam(weight=0.3),)), MLP),
    "BEGAN": (Adversarial(objective=BEGAN(rate=0.01)), (MLP[0], AutoencoderDiscriminator())),
    "augmented": (Adversarial(show=(DiffAugment(), InstanceNoise(sigma=0.1))), MLP),
    "ADA": (Adversarial(show=(ADA(),)), MLP),
    "noisy labels": (Adversarial(objective=NoisyLabels()), MLP),
    "dropout": (Adversarial(), DROPPING),
    "simultaneous": (Simultaneous(penalties=(R1(weight=0.1),)), MLP),
    "extragradient": (Extragradient(), MLP),
    "batch normalisation": (Adversarial(), NORMALISED),
    "relativistic average, a generator that drops": (
        Adversarial(objective=RelativisticAverage(), show=(InstanceNoise(sigma=0.1),), d_steps=2),
        DROPPED,
    ),
    "path length": (Adversarial(generator_penalties=(PathLength(),)), MLP),
}
ACROSS_PROCESSES = {"batch normalisation", "relativistic average, a generator that drops"}
"""What adds up over processes, but not over moments: means and variances of a batch, and a generator that draws numbers
of its own, whose fakes are made once where they are made together."""
IN_PARTS_TOO = ("augmented", "relativistic average", "hinge, LeCam", "ADA")
"""What several processes play in parts, too."""
BY_ROWS = {"path length"}
"""What is the same on all processes, but not what it is on one."""


class Nowhere(SourceSpec):
    """The data are handed over."""


class Wide(Gaussian):
    """Noise in torch's default precision."""

    def draw(self, count: int, random: torch.Generator, truncation: float | None = None) -> Tensor:
        return super().draw(count, random, truncation).to(torch.get_default_dtype())


def trainer(name: str, ranks: Ranks | None = None) -> Trainer:
    """A run of a family in torch's default precision."""
    game, (generator, discriminator) = FAMILIES[name]
    random = np.random.default_rng(0)
    source = from_arrays(random.integers(0, 256, (48, 8, 8), dtype=np.uint8))
    # What judges differences of logits has no say about the discriminator's last bias, and normalisation none about the
    # bias before it: such a gradient is rounding and nothing else, of which Adam would make steps.
    level_free = game.objective.paired or isinstance(game.objective, Wasserstein) or name in ACROSS_PROCESSES
    adam = SGD(lr=0.02) if level_free else Adam(lr=1e-3, betas=(0.0, 0.9))
    recipe = Recipe(
        name=name,
        source=Nowhere(),
        prior=Wide(dim=4),
        generator=generator,
        discriminator=discriminator,
        game=game,
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(
            batch=BATCH, budget=Budget(amount=10_000, unit="images"), precision="float32", matmul="highest", grids=0
        ),
        scoring=Scoring(times=0),
    )
    playing = Trainer(recipe, source, CPU, ranks=ranks)
    take = playing.source.take

    def wide(index: Tensor) -> Batch:
        x, y = take(index)
        return Batch(x.to(torch.get_default_dtype()), y)

    playing.source.take = wide  # type: ignore[method-assign]
    return playing


def played(name: str, steps: int, ranks: Ranks | None = None, micro: int | None = None) -> dict[str, Tensor]:
    """The players and the memory after so many steps."""
    playing = trainer(name, ranks)
    playing.micro = micro
    for _ in range(steps):
        playing.take_step()
    return {key: tensor.clone() for key, tensor in playing._positions().items()}


def eventful(name: str, ranks: Ranks, at: int) -> tuple[list[str], Trainer, Callable[[], bool]]:
    """A run of 15 steps that saves after every 5; whether the second process is at a step before memory is divided."""
    playing = trainer(name, ranks)
    playing.recipe = playing.recipe.replace(
        train=playing.recipe.train.replace(report_every=5, save_seconds=1e-9, health=Health(every=0))
    )
    playing.set_budget(Budget(amount=15 * BATCH, unit="images"))
    return [], playing, lambda: ranks.rank == 1 and playing.step == at and not playing.micro


def troubles(ranks: Ranks) -> None:
    """What happens to one of two processes happens to both, and nobody waits for who does not come."""
    usual = ["Stepped 5", "Saved 5", "Stepped 10", "Saved 10", "Stepped 15", "Saved 15", "Saved 15"]

    def told(playing: Trainer, heard: list[str]) -> list[str]:
        heard.extend(f"{type(event).__name__} {event.clock.step}" for event in playing.run())
        return heard

    def failing(playing: Trainer, now: Callable[[], bool], error: Exception) -> None:
        take = playing.source.take

        def oops(index: Tensor) -> Batch:
            if now():
                raise error
            return take(index)

        playing.source.take = oops  # type: ignore[method-assign]

    def filling(playing: Trainer, now: Callable[[], bool]) -> None:
        def full(exchange: Exchange, loss: Callable[[Exchange], Tensor]) -> Tensor:
            if now():
                raise torch.OutOfMemoryError("CUDA out of memory")
            return loss(exchange)

        playing.phases = tuple(
            phase._replace(loss=lambda exchange, loss=phase.loss: full(exchange, loss)) for phase in playing.phases
        )

    heard, playing, now = eventful("minimax", ranks, 3)
    failing(playing, now, torch.OutOfMemoryError("CUDA out of memory"))
    assert told(playing, heard) == ["Faulted 0", *usual], heard
    assert playing.micro == BATCH // 4

    heard, playing, now = eventful("minimax", ranks, 3)
    filling(playing, now)
    assert told(playing, heard) == ["Faulted 0", *usual], heard

    heard, playing, now = eventful("minimax", ranks, 3)
    generator = playing.nets["generator"]
    generator.register_forward_pre_hook(lambda *_: fail() if now() else None)
    assert told(playing, heard) == ["Faulted 0", *usual], heard

    heard, playing, now = eventful("minimax", ranks, 3)
    failing(playing, now, SourceError("shard-1.tar cannot be read"))
    try:
        told(playing, heard)
    except TrainingError as error:
        assert "shard-1.tar" in str(error) or ranks.first  # noqa: PT017
    assert heard == ["Saved 3"], heard

    heard, playing, _ = eventful("minimax", ranks, 0)
    for event in playing.run():
        heard.append(f"{type(event).__name__} {event.clock.step}")
        if heard[-1] == "Saved 5" and ranks.first:
            playing.stop()  # between two steps, on one process
    assert heard == ["Stepped 5", "Saved 5", "Saved 6"], heard

    # The last, for after it they are apart: the others wait in the middle of a forward pass.
    heard, playing, now = eventful("batch normalisation", ranks, 3)
    filling(playing, now)
    try:
        told(playing, heard)
    except TrainingError as error:
        assert ("lost the others" if ranks.first else "process 1 of 2 is out of memory") in str(error)  # noqa: PT017
    assert heard == [], heard


def fail() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def main() -> None:
    out, dtype, steps, *names = sys.argv[1:]
    sparring.train.ranks._PATIENCE = timedelta(seconds=100)
    torch.set_num_threads(1)
    torch.set_default_dtype(getattr(torch, dtype))
    ranks = Ranks.start(CPU)
    found = {}
    for name in names or FAMILIES:
        states = played(name, int(steps), ranks)
        for key, tensor in states.items():
            everyone = ranks.gather(tensor.reshape(1, -1))
            assert bool((everyone == everyone[0]).all()), f"{name}: {key} is not the same on all processes"
        found |= {f"{name}|{key}": tensor.contiguous() for key, tensor in states.items()}
    for name in IN_PARTS_TOO:
        states = played(name, int(steps), ranks, micro=2)
        found |= {f"parts of {name}|{key}": tensor.contiguous() for key, tensor in states.items()}
    if ranks.first:
        save_file(found, Path(out))
    if ranks.count == 2:
        troubles(ranks)
    ranks.leave()


if __name__ == "__main__":
    main()
