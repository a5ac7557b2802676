"""What the loop tells whoever runs it, and what it asks of a judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from sparring.core.exchange import Clock
from sparring.core.protocols import Batch
from sparring.train.health import Alarm
from sparring.train.mend import Mending
from sparring.train.plane import Plane
from sparring.train.teaching import Lesson


class Stepped(NamedTuple):
    """Means since the last report: losses, D(real), D(fake), penalties; and the pace in images per second."""

    clock: Clock
    values: dict[str, float]
    rate: float


class Sampled(NamedTuple):
    """The fixed noise grid through the averaged generator: x [N, *shape] in [-1, 1] on the CPU, y [N] or None.

    `lesson` is what the discriminator, as it is at this moment, would change about the first sample of every row of
    the grid (of ten rows at most), on the CPU. `plane` is there for samples of one or two dimensions.
    """

    clock: Clock
    samples: Batch
    lesson: Lesson
    plane: Plane | None = None


class Scored(NamedTuple):
    """A judgement of the averaged generator; `best` when it is the best so far by the first value that can rank."""

    clock: Clock
    values: dict[str, float]
    provenance: dict[str, Any]
    notes: tuple[str, ...]
    best: bool


class Saved(NamedTuple):
    """A moment to keep: live references to all state, to be stored before the loop goes on.

    Why: a `score` among the best, `time`, `stop` or the `end`.
    """

    clock: Clock
    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    why: str


class Alarmed(NamedTuple):
    """Something goes wrong; said once, when it begins."""

    clock: Clock
    alarm: Alarm


class Faulted(NamedTuple):
    """A step that could not be made, of which nothing was applied: the run goes on at `clock`, an earlier moment.

    `batch` is what the step was made of, on the CPU: `real`, `z`, the positions `index` in the data, and `y` where
    there is one; empty where that tells nothing.
    """

    clock: Clock
    failed: Clock
    alarm: Alarm
    mending: Mending
    batch: dict[str, Tensor]


class Mended(NamedTuple):
    """What the run has changed about itself, as its recipe lets it."""

    clock: Clock
    mending: Mending


Event = Stepped | Sampled | Scored | Saved | Alarmed | Faulted | Mended


class Score(Protocol):
    """What a judge answers."""

    @property
    def values(self) -> dict[str, float]: ...

    @property
    def provenance(self) -> dict[str, Any]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


class Judge(Protocol):
    """Scores samples: `sample(start, count)` gives the samples with numbers start .. start + count - 1.

    `better` says of values that can rank whether lower or higher is better.
    """

    @property
    def better(self) -> Mapping[str, str]: ...

    def score(
        self, sample: Callable[[int, int], Batch], *, num_samples: int, seed: int, weights: str, arithmetic: str
    ) -> Score: ...
