"""The order of the data: a pure function of (seed, position), so that a position is all that a resume needs."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.seeds import derive


class Order:
    """An endless sequence of sample numbers: each epoch is a permutation of all of them, drawn from (seed, epoch)."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

    def indices(self, position: int, count: int) -> Tensor:
        """The sample numbers int64 [count] at positions position .. position + count - 1 of the sequence."""
        parts = []
        while count > 0:
            epoch, start = divmod(position, self.num_samples)
            part = self._of(epoch)[start : start + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _of(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            random = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
            self._permutation = torch.randperm(self.num_samples, generator=random)
            self._epoch = epoch
        return self._permutation
