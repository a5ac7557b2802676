"""Distances between two sets, with intervals, and what real samples get by the same measure.

Most distances between finite sets are biased: also for sets of one law they are above 0, the more the fewer samples.
So each is found several times, of blocks of equally many samples against the rest of the reference: blocks of fakes,
and blocks of the reference itself. Sets of one law then give one number on average, whatever the distance and however
few the samples, and the spread of the blocks gives the interval (Student's, as of independent values; that the blocks
share a reference is not in it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.interval import Interval, from_error

BLOCKS = 5
"""Into which the samples are cut; at most twice as many where the reference makes them smaller."""
FEWEST = 2 * BLOCKS


class Compared(NamedTuple):
    """Distances of blocks to the rest of the reference."""

    fake: Tensor
    """float64 [blocks of fakes, k]: k distances of each."""
    real: Tensor
    """float64 [blocks of the reference, k]."""

    def named(self, name: str) -> dict[str, float]:
        """As a metric's values, the mean of the k distances: `name` with its interval, and `name_real`."""
        return interval_of(self.fake.mean(1)).named(name) | {f"{name}_real": self.real.mean().item()}


def against_rest(fake: Tensor, real: Tensor, distances: Callable[[Tensor, Tensor], Tensor]) -> Compared:
    """distances(block, rest), [k], for blocks of fake [N, ...] and of real [M, ...].

    Blocks have b = min(N // 5, M // 2) samples, and the rest is the reference without the block of it that stands in
    the same place: always M − b samples. Raises `RequestError` for N or M below 10.
    """
    if min(len(fake), len(real)) < FEWEST:
        raise RequestError(
            f"distances of blocks need at least {FEWEST} samples on each side, found {len(fake)} and {len(real)}"
        )
    size = min(len(fake) // BLOCKS, len(real) // 2)
    real_blocks = torch.split(torch.arange(len(real)), size)[: min(BLOCKS, len(real) // size)]
    rests = [torch.cat([real[: block[0]], real[block[-1] + 1 :]]) for block in real_blocks]
    fake_blocks = torch.split(fake, size)[: min(2 * BLOCKS, len(fake) // size)]
    found = [distances(block, rests[place % len(rests)]) for place, block in enumerate(fake_blocks)]
    floor = [distances(real[block], rest) for block, rest in zip(real_blocks, rests, strict=True)]
    return Compared(torch.stack(found).double(), torch.stack(floor).double())


def interval_of(values: Tensor) -> Interval:
    """The mean of independent values >= 0 [B], B >= 2, with Student's interval, from 0 at the least."""
    error = values.std().item() / len(values) ** 0.5
    found = from_error(values.mean().item(), error, len(values) - 1)
    return found._replace(low=max(0.0, found.low))
