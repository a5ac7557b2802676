"""The order of the data: a pure function of (seed, position), so that a position is all that a resume needs."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.protocols import Blocks, Drawn, InBlocks, Source
from sparring.core.seeds import derive


class Order:
    """An endless sequence of sample numbers: each epoch is a permutation of all of them, drawn from (seed, epoch)."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self._drawn: dict[int, Tensor] = {}
        """Permutations by epoch, those of the last call: they are asked for again where a batch spans two epochs."""

    def indices(self, position: int, count: int) -> Tensor:
        """The sample numbers int64 [count] at positions position .. position + count - 1 of the sequence."""
        parts, drawn = [], dict[int, Tensor]()
        while count > 0:
            epoch, start = divmod(position, self.num_samples)
            drawn[epoch] = self._of(epoch)
            part = drawn[epoch][start : start + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        self._drawn = drawn
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _of(self, epoch: int) -> Tensor:
        found = self._drawn.get(epoch)
        return _shuffled(self.num_samples, derive(self.seed, "order", epoch)) if found is None else found


class BlockOrder:
    """The same for data that lie in blocks: each epoch is a permutation that stays within a few blocks at a time.

    In an epoch the blocks are shuffled and cut into windows of `blocks.window`; within a window all samples are
    shuffled. Any position is reached without those before it, in memory for the lengths of the blocks and one window.
    """

    def __init__(self, blocks: Blocks, seed: int) -> None:
        self.lengths = torch.as_tensor(blocks.lengths, dtype=torch.int64)
        self.first = self.lengths.cumsum(0) - self.lengths
        self.window = blocks.window
        self.num_samples = int(self.lengths.sum())
        self.seed = seed
        self._epoch = -1
        self._blocks = self._ends = torch.empty(0, dtype=torch.int64)
        self._drawn: dict[tuple[int, int], Tensor] = {}
        """Samples of windows by epoch and window, those of the last call."""

    def indices(self, position: int, count: int) -> Tensor:
        """The sample numbers int64 [count] at positions position .. position + count - 1 of the sequence."""
        parts, drawn = [], dict[tuple[int, int], Tensor]()
        while count > 0:
            epoch, start = divmod(position, self.num_samples)
            self._enter(epoch)
            window = int(torch.searchsorted(self._ends, start, right=True))
            start -= int(self._ends[window - 1]) if window else 0
            drawn[epoch, window] = self._within(window)
            part = drawn[epoch, window][start : start + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        self._drawn = drawn
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _enter(self, epoch: int) -> None:
        """Draws the order of the blocks of an epoch, and where each of its windows ends."""
        if epoch == self._epoch:
            return
        self._blocks = _shuffled(len(self.lengths), derive(self.seed, "blocks", epoch))
        ends = self.lengths[self._blocks].cumsum(0)
        at = torch.arange(self.window, len(ends) + self.window, self.window).clamp_(max=len(ends)) - 1
        self._ends = ends[at]
        self._epoch = epoch

    def _within(self, window: int) -> Tensor:
        """The samples of one window of the epoch that was entered, shuffled."""
        found = self._drawn.get((self._epoch, window))
        if found is not None:
            return found
        blocks = self._blocks[window * self.window : (window + 1) * self.window]
        lengths = self.lengths[blocks]
        shift = self.first[blocks] - (lengths.cumsum(0) - lengths)
        numbers = shift.repeat_interleave(lengths) + torch.arange(int(lengths.sum()))
        return numbers[_shuffled(len(numbers), derive(self.seed, "window", self._epoch, window))]


class DrawnOrder:
    """An endless sequence of samples that the source draws, in runs of `RUN`, each from (seed, its number)."""

    RUN = 4096

    def __init__(self, source: Drawn, seed: int) -> None:
        self.source = source
        self.seed = seed
        self._drawn: dict[int, Tensor] = {}
        """Runs by number, those of the last call."""

    def indices(self, position: int, count: int) -> Tensor:
        """The sample numbers int64 [count] at positions position .. position + count - 1 of the sequence."""
        first, last = position // self.RUN, (position + count - 1) // self.RUN
        self._drawn = {run: self._of(run) for run in range(first, last + 1)}
        start = position - first * self.RUN
        return torch.cat([torch.empty(0, dtype=torch.int64), *self._drawn.values()])[start : start + count]

    def _of(self, run: int) -> Tensor:
        found = self._drawn.get(run)
        if found is not None:
            return found
        return self.source.draw(self.RUN, torch.Generator().manual_seed(derive(self.seed, "drawn", run)))


def order_of(source: Source, seed: int) -> Order | BlockOrder | DrawnOrder:
    """The order in which a source is visited: as it draws its samples itself; else all of it shuffled, block by block
    where it lies in blocks."""
    if isinstance(source, Drawn):
        return DrawnOrder(source, seed)
    return BlockOrder(source.blocks, seed) if isinstance(source, InBlocks) else Order(len(source), seed)


def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
