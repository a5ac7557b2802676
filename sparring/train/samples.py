"""Samples of the averaged generator: grids, points of a plane, and those that a judge asks for by number.

Each is a function of the seed, its purpose and its place, and draws from a random generator of its own; so looking on
changes nothing of the training.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from sparring.core.game import Critic, Prior
from sparring.core.protocols import Batch, DataSpec, Source
from sparring.core.seeds import derive
from sparring.train.order import order_of
from sparring.train.plane import Plane, survey
from sparring.train.teaching import Lesson, teach

GRID_COLUMNS = 8
POINTS = 1000
_ROWS_TAUGHT = 10
_VALUES_AT_ONCE = 2**22


def at_once(data: DataSpec) -> int:
    """How many samples a generator makes together where only the samples are wanted: fewer of large ones, whose layers
    would fill the memory."""
    return max(1, min(500, _VALUES_AT_ONCE // math.prod(data.shape)))


class Noise:
    """Numbers of a prior, on a device, each a function of a seed, a purpose and a position."""

    def __init__(self, prior: Prior, device: torch.device) -> None:
        self.prior = prior
        self._random = torch.Generator(device)

    def draw(self, count: int, seed: int, purpose: str, *position: int) -> Tensor:
        """z [count, dim]."""
        self._random.manual_seed(derive(seed, purpose, *position))
        return self.prior.draw(count, self._random)


class Samples:
    """What an averaged generator makes of noise, in the arithmetic of its training; labels are those of `source`."""

    def __init__(
        self,
        generator: nn.Module,
        noise: Noise,
        source: Source,
        seed: int,
        device: torch.device,
        arithmetic: AbstractContextManager[object],
    ) -> None:
        self.generator = generator
        self.noise = noise
        self.source = source
        self.seed = seed
        self.device = device
        self.arithmetic = arithmetic
        self._order = order_of(source, seed)

    def of(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Samples float32 [N, *shape] in [-1, 1], on the CPU."""
        chunk = at_once(self.source.spec)
        with torch.inference_mode(), self.arithmetic:
            parts = [
                self.generator(z[i : i + chunk], None if y is None else y[i : i + chunk]).float().cpu()
                for i in range(0, len(z), chunk)
            ]
        return torch.cat(parts).clamp_(-1, 1)

    def numbered(self, start: int, count: int) -> Batch:
        """Samples start .. start + count - 1 of an endless sequence; labels follow the data's own frequencies."""
        z = self.noise.draw(count, self.seed, "score", start)
        y, spec = None, self.source.spec
        if spec.is_conditional:
            picks = torch.Generator().manual_seed(derive(self.seed, "score labels", start))
            y = spec.form.conditions(count, picks) if spec.form is not None else None
            if y is None:
                y = self.source.take(torch.randint(len(self.source), (count,), generator=picks)).y
            y = None if y is None else y.to(self.device)
        return Batch(self.of(z, y), None if y is None else y.cpu())

    def grid(self, critic: Critic) -> tuple[Batch, Lesson]:
        """The same noise through the whole run, a row for each class (of up to 16) or first condition of the data; and
        what the critic would change about the first of every row."""
        spec = self.source.spec
        rows = min(spec.num_classes, 16) or GRID_COLUMNS
        z = self.noise.draw(rows * GRID_COLUMNS, self.seed, "grid")
        y: Tensor | None = torch.arange(rows, device=self.device) if spec.num_classes else None
        if spec.y_shape:
            y = self.source.take(torch.arange(rows) % len(self.source)).y
        y = None if y is None else y.repeat_interleave(GRID_COLUMNS, 0)
        x = self.of(z, y)
        with self.arithmetic:
            # Of the whole grid, because a discriminator may compare the samples of a batch with each other.
            lesson = teach(critic, x.to(self.device), y)
        shown = lesson.part(slice(0, _ROWS_TAUGHT * GRID_COLUMNS, GRID_COLUMNS))
        return Batch(x, None if y is None else y.cpu()), shown

    def plane(self, critic: Critic) -> Plane | None:
        """Where data have one or two dimensions: all of the plane, with points enough to see where they are dense."""
        spec = self.source.spec
        if spec.is_image or math.prod(spec.shape) > 2:
            return None
        real = self.source.take(self._order.indices(0, min(POINTS, len(self.source))))
        count = len(real.x) if real.y is not None else POINTS
        fake = self.of(self.noise.draw(count, self.seed, "plane"), real.y)
        with self.arithmetic:
            return survey(critic, real.x, fake, conditional=real.y is not None)
