"""What the rooms of the house agree on: a batch, a source of data, and the parts that a recipe is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sparring.core.forms import Form
from sparring.core.spec import Spec


class Batch(NamedTuple):
    """Samples and what they are of: x float32 [B, *shape] in [-1, 1]; y int64 [B], their classes, or float32
    [B, *y_shape], other conditions, or None when unconditional."""

    x: Tensor
    y: Tensor | None


class DataSpec(Spec):
    """What a source holds, as far as networks and pictures need to know it."""

    name: str
    """What people call it: `mnist`, or the folder's name."""
    shape: tuple[int, ...]
    """Shape of one sample as networks see it: (C, H, W) for images, (D,) for vectors and rows of tables, (T, C) for
    series, (T, V) for texts."""
    form: Form | None = None
    """What the numbers mean, where samples are series, texts or rows of a table."""
    levels: int = 256
    """Distinct values of a stored pixel: 256 (8-bit), 65536 (16-bit), or 0 for floats."""
    num_classes: int = 0
    """0 when the source has no labels, or when they are set aside."""
    class_names: tuple[str, ...] = ()
    y_shape: tuple[int, ...] = ()
    """Shape of one sample's condition where it is no class: (D,) for attributes (each 0 or 1) and other vectors,
    (C, H, W) for images in [-1, 1]; () where there is none. Data have classes or these, never both."""
    sha256: str = ""
    """Hash of all samples and labels in order: the same data gives the same hash, wherever it was read from. Data that
    are not held in memory are known by the hashes of their files, so packed in another way they have another hash."""

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    @property
    def is_conditional(self) -> bool:
        """Whether every sample comes with a y."""
        return self.num_classes > 0 or self.y_shape != ()


@runtime_checkable
class Source(Protocol):
    """Data that can be asked for by index."""

    spec: DataSpec
    report: dict[str, Any]
    """What was read, refused and counted: the content of `data.json`."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Batch:
        """The samples at int64 positions [B] in [0, len), on the source's device, normalised to [-1, 1].

        Raises `SourceError` when what could be read at first no longer can.
        """
        ...

    def ahead(self, index: Tensor) -> None:
        """Says which samples, int64 [B], will be taken next. What `take` gives never depends on it, only how soon."""
        ...

    def to(self, device: torch.device) -> Source:
        """The same source, held on a device."""
        ...


class Blocks(NamedTuple):
    """Which samples lie together: consecutive runs, such as parts of a shard, that are cheap to read at one time."""

    lengths: Sequence[int]
    """Samples in each run, at least 1; together all samples of the source, in its order."""
    window: int
    """How many runs, drawn from all, are mixed: what is read from one after the other lies in this many places."""


@runtime_checkable
class InBlocks(Protocol):
    """A source whose samples are not equally near to each other, so that its order keeps to a few runs at a time."""

    blocks: Blocks


@runtime_checkable
class Drawn(Protocol):
    """A source that says itself which samples are trained on next, such as rare ones more often.

    Its `take` knows more positions than [0, len), where each sample lies once: others may be the same samples with
    another y.
    """

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Positions int64 [count] for `take`, each drawn independently, with replacement, from a random generator on
        the CPU."""
        ...


class SourceSpec(Spec):
    """How to get a source again: what `recipe.json` keeps of the data."""

    def load(self) -> Source:
        raise NotImplementedError(f"{type(self).__name__} must define load()")

    def load_held_out(self) -> Source | None:
        """Real samples of the same kind that are not trained on, or None where there are none."""
        return None


class NetworkSpec(Spec):
    """How to build a player's network.

    A generator maps z [B, z_dim] and y to x [B, *data.shape] in [-1, 1]; a discriminator maps x and y to logits [B].
    y is int64 [B] when `data.num_classes > 0`, float32 [B, *data.y_shape] when that is not (), else None.
    A discriminator's module whose logits do not depend on the other samples of a batch may say so with an attribute
    `per_sample = True`: real and fake then share one call. One that also tells classes has a method
    `forward_with_classes(x)`, which gives logits [B] and class logits [B, num_classes].
    """

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        raise NotImplementedError(f"{type(self).__name__} must define build()")
