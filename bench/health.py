"""Do alarms ring when they should, and only then? Real training runs on MNIST, digits and CIFAR-10.

    python bench/health.py failing [--seeds 0 1 2]     # each run is made to fail in one way: is it said?
    python bench/health.py healthy [--seeds 0 1 2]     # runs of very different recipes: is nothing said?
    python bench/health.py cost                        # what looking costs, in percent of a step's CPU time

The limits in `sparring/train/health.py` were set on seed 100. Budgets are in images, so that the machine's speed does
not change what is found. Reads the data from $SPARRING_DATA. `--only NAME ...` takes some runs, `--out FILE` keeps the
figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparring.core.errors import TrainingError
from sparring.core.protocols import Source
from sparring.data.open import Data
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Minimax
from sparring.games.penalties import R1
from sparring.games.priors import Uniform
from sparring.layers import Activation, Dense
from sparring.networks.given import GivenGenerator
from sparring.networks.layered import Discriminator, Generator
from sparring.recipes.automatic import settle
from sparring.recipes.images import dcgan, mlp
from sparring.train.events import Alarmed
from sparring.train.optimizers import SGD, Optimizers
from sparring.train.recipe import Recipe, Scoring
from sparring.train.schedule import Budget, InverseDecay
from sparring.train.trainer import Trainer

CPU = torch.device("cpu")
MNIST, UNLABELLED = Data(source="mnist"), Data(source="mnist", labels="ignore")

# name: images to train on
HEALTHY = {
    "dcgan mnist": 80_000,
    "dcgan mnist --labels ignore": 80_000,
    "mlp mnist": 130_000,
    "dcgan digits": 80_000,
    "first gan": 400_000,
    "dcgan cifar10": 30_000,
}
# name: (the alarms that must be raised, images to train on)
FAILING: dict[str, tuple[tuple[str, ...], int]] = {
    "first gan, weight · every of 16, lr 0.1": (("non-finite",), 300_000),
    "mlp, no penalty, D 100 times as quick": (("exploding-gradient",), 40_000),
    "dcgan, 200 samples": (("overfitting",), 100_000),
    "first gan, no penalty": (("collapse", "logit-drift"), 600_000),
    "mlp, no penalty, one repeated image": (("collapse",), 80_000),
    "mlp, a generator that reads no label": (("labels-ignored",), 40_000),
    "mlp, minimax, D 100 times as quick": (("vanishing-gradient",), 40_000),
    "mlp, G stands still": (("discriminator-wins", "gradient-ratio"), 80_000),
    "mlp, D stands still": (("generator-wins",), 40_000),
}


class Deaf(nn.Module):
    """A generator that takes labels and leaves them unread."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(nn.Linear(64, 256), nn.LeakyReLU(0.2), nn.Linear(256, 784), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x: Tensor = self.stack(z)
        return x.view(-1, 1, 28, 28)


class Stuck(nn.Module):
    """A generator of one image, whatever the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.zeros(784))

    def forward(self, z: Tensor) -> Tensor:
        return self.image.tanh().expand(len(z), 784).view(-1, 1, 28, 28)


def healthy(name: str) -> tuple[Recipe, Source, Source | None]:
    if name.startswith("first gan"):
        return first_gan(Adversarial(penalties=(R1(weight=0.5, every=8),)), 0.01)
    model, source, *labels = name.split(" ", 2)
    data = Data(source=source, labels="ignore" if labels else "use", hold_out=300 if source == "digits" else 0)
    return built(dcgan if model == "dcgan" else mlp, data)


def failing(name: str) -> tuple[Recipe, Source, Source | None]:
    if name == "first gan, weight · every of 16, lr 0.1":
        return first_gan(Adversarial(penalties=(R1(weight=1.0, every=16),)), 0.1)
    if name == "first gan, no penalty":
        return first_gan(Adversarial(), 0.01)
    if name == "dcgan, 200 samples":
        recipe, source, held_out = built(dcgan, MNIST)
        return recipe, MNIST.load().subset(torch.arange(200), "the first 200"), held_out
    recipe, source, held_out = built(mlp, UNLABELLED if "repeated image" in name else MNIST)
    if name == "mlp, no penalty, D 100 times as quick":
        recipe = rates(recipe.replace(game=Adversarial()), g=1e-3, d=1e-1)
    elif "repeated image" in name:
        recipe = recipe.replace(generator=GivenGenerator(Stuck()))
    elif "reads no label" in name:
        recipe = recipe.replace(generator=GivenGenerator(Deaf()))
    elif "minimax" in name:
        recipe = rates(recipe.replace(game=Adversarial(objective=Minimax())), g=1e-4, d=1e-2)
    elif "G stands still" in name:
        recipe = rates(recipe, g=1e-12, d=1e-3)
    else:
        recipe = rates(recipe, g=1e-3, d=1e-12)
    return recipe, source, held_out


def built(model: Any, data: Data) -> tuple[Recipe, Source, Source | None]:
    source = data.load()
    return model(data, source.spec, Budget(amount=1, unit="images")), source, data.load_held_out()


def first_gan(game: Adversarial, lr: float) -> tuple[Recipe, Source, Source | None]:
    """What `examples/first_gan.py` plays: two small networks, SGD with momentum, uniform noise."""
    recipe, source, held_out = built(mlp, UNLABELLED)
    leaky, sgd = Activation("relu", leaky_rate=0.01), SGD(lr=lr, schedule=InverseDecay(rate=1e-4))
    recipe = recipe.replace(
        prior=Uniform(dim=100),
        generator=Generator(layers=[Dense(256), leaky, Dense(784), Activation("tanh")]),
        discriminator=Discriminator(layers=[Dense(64), leaky, Dense(1), Activation("sigmoid")]),
        game=game,
        optimizers=Optimizers(generator=sgd, discriminator=sgd),
        train=recipe.train.replace(batch=100),
    )
    return recipe, source, held_out


def rates(recipe: Recipe, *, g: float, d: float) -> Recipe:
    players = recipe.optimizers
    return recipe.replace(
        optimizers=players.replace(
            generator=players.generator.replace(lr=g), discriminator=players.discriminator.replace(lr=d)
        )
    )


def train(parts: tuple[Recipe, Source, Source | None], images: int, seed: int) -> dict[str, Any]:
    """The alarms that a run raised, each with the images at which it first did."""
    recipe, source, held_out = parts
    budget = Budget(amount=images, unit="images")
    recipe = recipe.replace(train=recipe.train.replace(budget=budget, seed=seed, grids=0), scoring=Scoring(times=0))
    trainer = Trainer(settle(recipe, CPU).recipe, source, CPU, held_out=held_out)
    alarms: dict[str, int] = {}
    causes: dict[str, str] = {}
    started = time.process_time()
    try:
        for event in trainer.run():
            if isinstance(event, Alarmed):
                alarms.setdefault(event.alarm.name, event.clock.images)
                causes.setdefault(event.alarm.name, event.alarm.cause)
    except TrainingError as error:
        causes["ended"] = str(error)
    seconds = time.process_time() - started
    history = trainer.care.watch.history
    last = history[-1] if history else {}
    return {
        "seed": seed,
        "images": trainer.clock.images,
        "seconds": seconds,
        "alarms": alarms,
        "causes": causes,
        "last": last,
    }


def cost(name: str, *, rounds: int = 15, steps: int = 20) -> dict[str, Any]:
    """A look's CPU time over a step's, measured in turn; the share is at the recipe's own cadence."""
    recipe, source, held_out = healthy(name)
    recipe = recipe.replace(train=recipe.train.replace(budget=Budget(amount=1e9, unit="images"), grids=0))
    trainer = Trainer(settle(recipe, CPU).recipe, source, CPU, held_out=held_out)
    for _ in range(20):
        trainer.take_step()
    trainer.look()
    trainer._read()
    ratios = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(steps):
            trainer.take_step()
        trainer.report.drain()
        middle = time.process_time()
        trainer.look()
        trainer._read()
        ratios.append((time.process_time() - middle) / ((middle - started) / steps))
    every = recipe.train.health.every
    return {"look_in_steps": ratios, "percent": [100 * ratio / every for ratio in ratios]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["failing", "healthy", "cost"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="some of the runs, by the beginnings of their names")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: list[dict[str, Any]] = []
    wrong = 0
    names = FAILING if options.what == "failing" else HEALTHY
    for name in names:
        if options.only and not name.startswith(tuple(options.only)):
            continue
        if options.what == "cost":
            figures.append({"run": name} | cost(name))
            percent = figures[-1]["percent"]
            print(
                f"{name:<42}{statistics.median(percent):6.2f} % ({min(percent):.2f} to {max(percent):.2f})", flush=True
            )
            continue
        for seed in options.seeds:
            torch.manual_seed(seed)  # for the modules that are made here
            if options.what == "failing":
                expected, images = FAILING[name]
                found = train(failing(name), images, seed)
                right = set(expected) <= found["alarms"].keys()
            else:
                expected, found = (), train(healthy(name), HEALTHY[name], seed)
                right = not found["alarms"]
            wrong += not right
            figures.append({"run": name, "expected": expected} | found)
            rung = ", ".join(f"{alarm} at {at:,}" for alarm, at in found["alarms"].items()) or "none"
            print(
                f"{'' if right else 'WRONG '}{name}, seed {seed}: expected {', '.join(expected) or 'none'}; {rung}",
                flush=True,
            )
            if options.out:
                options.out.write_text(json.dumps(figures, indent=1) + "\n")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    if options.what != "cost":
        print(f"{len(figures) - wrong} of {len(figures)} as expected")


if __name__ == "__main__":
    main()
