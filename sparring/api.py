"""The game from Python: a generator, a discriminator, and one object that trains them.

It builds the same `Recipe` for the same `Trainer` as the command does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.game import Game, Prior
from sparring.core.protocols import NetworkSpec, Source, SourceSpec
from sparring.data.tensors import from_arrays
from sparring.display import EpochBar
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1
from sparring.games.priors import Uniform
from sparring.networks.given import GivenDiscriminator, GivenGenerator
from sparring.pictures.advice import advice_picture
from sparring.pictures.curves import Panel, Series, curves
from sparring.pictures.film import film
from sparring.pictures.grid import sample_grid
from sparring.pictures.ink import BLUE, ORANGE
from sparring.recipes.automatic import settle
from sparring.train import teaching
from sparring.train.events import Alarmed, Sampled, Stepped
from sparring.train.health import Alarm
from sparring.train.optimizers import SGD, Adam, Optimizer, Optimizers, RMSprop
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Train
from sparring.train.samples import GRID_COLUMNS
from sparring.train.schedule import Budget, InverseDecay
from sparring.train.teaching import Lesson
from sparring.train.trainer import Trainer

OptimizerName = Literal["momentum", "momentem", "sgd", "adam", "rmsprop"]


class Arrays(SourceSpec):
    """Data that was handed over in Python; a recipe keeps its hash, not the data."""

    sha256: str

    def load(self) -> Source:
        raise RequestError("this run's data were arrays in Python: go on with it from Python, with the same arrays")


class GAN:
    """A generator and a discriminator that make each other better.

    Args:
        generator, discriminator: `Generator(layers=[...])` and `Discriminator(layers=[...])`, any other network spec,
            or a `torch.nn.Module`: G(z) -> x in [-1, 1], D(x) -> logits.
        lr: learning rate of both players.
        optimizer: momentum (0.9), sgd, adam or rmsprop; or two specs in an `Optimizers`.
        decay_rate: lr falls as lr / (1 + decay_rate · steps made), as in the first Keras.
        prior: the law of the noise; 100 uniform numbers in [-1, 1) unless said otherwise.
        game: what is played; the non-saturating game with R1 unless said otherwise. Without a penalty the
            discriminator of such a game wins within ten epochs, and every noise gives the same image.

    Raises `RequestError` (a `ValueError`) when something does not fit.
    """

    def __init__(
        self,
        generator: NetworkSpec | nn.Module,
        discriminator: NetworkSpec | nn.Module,
        lr: float = 0.01,
        optimizer: OptimizerName | Optimizers = "momentum",
        decay_rate: float = 0.0,
        *,
        prior: Prior | None = None,
        game: Game | None = None,
    ) -> None:
        self.generator = GivenGenerator(generator) if isinstance(generator, nn.Module) else generator
        self.discriminator = (
            GivenDiscriminator(discriminator) if isinstance(discriminator, nn.Module) else discriminator
        )
        self.optimizers = _optimizers(optimizer, lr, decay_rate)
        self.prior = Uniform(dim=100) if prior is None else prior
        self.game = game
        self.trainer: Trainer | None = None
        self.history: dict[str, list[float]] = {}
        """What was reported, by name, beside `images`: lists of one length, a value every 100 steps."""
        self.alarms: list[Alarm] = []
        """What went wrong, each with its likely cause and the way out."""
        self.frames: list[tuple[int, Image.Image]] = []
        """The same noise through the run: (images seen, picture)."""
        self.lesson: Lesson | None = None
        """What the discriminator last said about a few samples."""

    def train(
        self,
        X: NDArray[Any] | Tensor,
        y: NDArray[Any] | Tensor | None = None,
        epoch: int = 1,
        k: int = 1,
        mini_batch_size: int = 100,
        *,
        seed: int = 0,
        verbose: bool = True,
    ) -> GAN:
        """Trains for `epoch` passes over X; called again, it goes on from where it stood.

        X is float [N, D] or [N, H, W(, C)] in [-1, 1], or uint8 images. y makes the game conditional: classes int [N],
        attributes bool [N, D], vectors float [N, D] or images [N, H, W(, C)]. Each of the discriminator's k moves per
        move of the generator sees a new batch. Returns itself.
        """
        source = from_arrays(X, y)
        batch = min(mini_batch_size, len(source))
        if self.trainer is None:
            self.trainer = self._start(source, k, batch, seed)
            done = 0
        else:
            done = self.trainer.clock.images
            self._continue(source, k, batch)
        self.trainer.set_budget(Budget(amount=done + epoch * len(source), unit="images"))
        bar = EpochBar(done // len(source), epoch, len(source)) if verbose else None
        for event in self.trainer.run():
            if isinstance(event, Stepped):
                self._remember(event)
                if bar:
                    bar.show(event)
            elif isinstance(event, Alarmed):
                self.alarms.append(event.alarm)
                if bar:
                    bar.alarm(event)
            elif isinstance(event, Sampled):
                self.lesson = event.lesson
                picture = sample_grid(event.samples.x, GRID_COLUMNS, levels=source.spec.levels)
                self.frames.append((event.clock.images, picture))
        if bar:
            bar.close()
        return self

    def generate(self, noise: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None) -> NDArray[np.float32]:
        """Samples float32 in [-1, 1] of the averaged generator, in the layout of the noise and of the data.

        Noise [n, dim] gives rows [n, D] or images [n, H, W, C]; a column of noise for each sample, [dim, n], gives
        columns [D, n]. (Noise [dim, dim] is taken as rows.) A generator of classes takes them in turn without y; other
        conditions are floats, images in [-1, 1], laid out as in `train`.
        """
        trainer = self._trained()
        z, columns = _from_layout("noise", noise, (self.prior.dim,))
        return _to_layout(trainer.sample(z.to(trainer.device), self._labels(y, len(z))), columns)

    def advice(self, samples: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None) -> NDArray[np.float32]:
        """How each value of some samples should change to look more real to the discriminator: ∂D/∂x of its logit.

        The samples are laid out as `generate` gives them, float in [-1, 1]: rows [n, D], columns [D, n] or images
        [n, H, W, C]; the advice has the same layout. Samples of classes are asked about in turn where y is left out.
        """
        trainer = self._trained()
        x, columns = _from_layout("samples", samples, trainer.source.spec.shape)
        labels = self._labels(y, len(x))
        with trainer.arithmetic:
            found = teaching.advice(trainer.critic(), x.to(trainer.device), labels)
        return _to_layout(found.cpu(), columns)

    def _labels(self, y: ArrayLike | Tensor | None, count: int) -> Tensor | None:
        trainer = self._trained()
        spec = trainer.source.spec
        if spec.y_shape:
            asked = None if y is None else _from_layout("y", y, spec.y_shape)[0].to(trainer.device)
            if asked is None or len(asked) != count:
                found = "none" if asked is None else len(asked)
                raise RequestError(f"y: expected {count} conditions of shape {list(spec.y_shape)}, found {found}")
            return asked
        classes = spec.num_classes
        if not classes:
            if y is not None:
                raise RequestError("y: this GAN was trained without labels; leave them out")
            return None
        labels = torch.arange(count) % classes if y is None else torch.as_tensor(np.asarray(y))
        if (
            labels.shape != (count,)
            or labels.is_floating_point()
            or not bool(((labels >= 0) & (labels < classes)).all())
        ):
            raise RequestError(f"y: expected {count} labels from 0 to {classes - 1}, found {labels.tolist()}")
        return labels.long().to(trainer.device)

    def curves(self, path: str | Path) -> None:
        """Draws the losses over images seen as a PNG."""
        self._trained()
        seen = self.history["images"]
        losses = [("discriminator", "loss_d", BLUE), ("generator", "loss_g", ORANGE)]
        beliefs = [("D(real)", "d_real", BLUE), ("D(fake)", "d_fake", ORANGE)]
        panels = [
            Panel(title, tuple(Series(name, seen, self.history[key], color) for name, key, color in rows))
            for title, rows in (("losses (not a measure of quality)", losses), ("what D believes", beliefs))
        ]
        curves(path, panels)

    def film(self, path: str | Path) -> None:
        """Writes the samples of one fixed noise through the run as a GIF."""
        self._trained()
        film([picture for _, picture in self.frames], [images for images, _ in self.frames], path)

    def advice_picture(self, path: str | Path) -> None:
        """Draws what the discriminator would change about a few samples of the end of training, as a PNG."""
        self._trained()
        lesson = self.lesson
        assert lesson is not None  # training begins with samples
        asked = [] if lesson.y is None or lesson.y.is_floating_point() else [str(label) for label in lesson.y.tolist()]
        advice_picture(path, lesson.x, lesson.advice, lesson.after, lesson.beliefs(), asked)

    def _start(self, source: Source, k: int, batch: int, seed: int) -> Trainer:
        game = Adversarial(penalties=(R1(weight=0.5, every=8),)) if self.game is None else self.game
        if isinstance(game, Adversarial):
            game = game.replace(d_steps=k)
        recipe = Recipe(
            name="python",
            source=Arrays(sha256=source.spec.sha256),
            prior=self.prior,
            generator=self.generator,
            discriminator=self.discriminator,
            game=game,
            optimizers=self.optimizers,
            train=Train(
                budget=Budget(amount=1, unit="images"),
                batch=batch,
                seed=seed,
                report_every=100,
                average=Average(),
            ),
        )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return Trainer(settle(recipe, device).recipe, source, device)

    def _continue(self, source: Source, k: int, batch: int) -> None:
        before = self._trained()
        game = before.recipe.game
        if source.spec.replace(sha256="") != before.source.spec.replace(sha256=""):
            raise RequestError(f"X: expected data like the first call's, {before.source.spec}, found {source.spec}")
        if batch != before.recipe.train.batch or (isinstance(game, Adversarial) and k != game.d_steps):
            raise RequestError("mini_batch_size and k: expected those of the first call, which the clock counts by")
        after = Trainer(before.recipe, source, before.device)
        after.load(*before.state())
        self.trainer = after

    def _remember(self, event: Stepped) -> None:
        for name, value in {"images": float(event.clock.images), **event.values}.items():
            self.history.setdefault(name, []).append(value)

    def _trained(self) -> Trainer:
        if self.trainer is None:
            raise RequestError("this GAN has not been trained yet: call train first")
        return self.trainer


def _from_layout(name: str, given: ArrayLike | Tensor, shape: tuple[int, ...]) -> tuple[Tensor, bool]:
    """What was given, as float32 [n, *shape], n >= 1, and whether it lay in columns.

    Shape [D] may be given as rows [n, D] or columns [D, n], where [D, D] are rows; shape [C, H, W] as [n, H, W, C].
    """
    x = torch.as_tensor(np.asarray(given, dtype=np.float32))
    found = list(x.shape)
    if len(shape) == 3:
        channels, height, width = shape
        expected, columns = f"[n, {height}, {width}, {channels}]", False
        x = x.permute(0, 3, 1, 2) if x.ndim == 4 else x
    else:
        (dim,) = shape
        expected, columns = f"[n, {dim}], or [{dim}, n] for columns", x.ndim == 2 and found[0] == dim != found[1]
        x = x.T.contiguous() if columns else x
    if x.shape[1:] != shape or len(x) == 0:
        raise RequestError(f"{name}: expected shape {expected}, found {found}")
    return x, columns


def _to_layout(x: Tensor, columns: bool) -> NDArray[np.float32]:
    """x [n, *shape] on the CPU as it is handed over: images [n, H, W, C], others in rows or columns."""
    if x.ndim == 4:
        x = x.permute(0, 2, 3, 1)
    elif columns:
        x = x.T
    return np.ascontiguousarray(x.numpy())


def _optimizers(optimizer: str | Optimizers, lr: float, decay_rate: float) -> Optimizers:
    if isinstance(optimizer, Optimizers):
        return optimizer
    schedule = InverseDecay(rate=decay_rate)
    made: dict[str, Optimizer] = {
        "momentum": SGD(lr=lr, schedule=schedule, momentum=0.9),
        "momentem": SGD(lr=lr, schedule=schedule, momentum=0.9),
        "sgd": SGD(lr=lr, schedule=schedule, momentum=0.0),
        "adam": Adam(lr=lr, schedule=schedule, betas=(0.5, 0.999)),
        "rmsprop": RMSprop(lr=lr, schedule=schedule),
    }
    if optimizer not in made:
        raise RequestError(f"optimizer {optimizer!r}: expected one of {', '.join(made)}, or an Optimizers")
    return Optimizers(generator=made[optimizer], discriminator=made[optimizer])
