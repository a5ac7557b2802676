"""What the steps report, kept on the device until it is read: reading is the only thing that waits."""

from __future__ import annotations

import torch
from torch import Tensor


class Report:
    """Collects each step's tensors and gives their means; logits become D(real) and D(fake) when they are read."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Tensor]] = {}

    def add(self, seen: dict[str, Tensor]) -> None:
        """Takes one step's detached tensors of any shape."""
        for name, tensor in seen.items():
            self._kept.setdefault(name, []).append(tensor.reshape(-1))

    def drain(self) -> dict[str, float]:
        """The mean of everything since the last call, by name, and forgets it."""
        values = {}
        for name, tensors in sorted(self._kept.items()):
            together = torch.cat(tensors).float()
            if name.endswith("_logits"):
                values[f"d_{name.removesuffix('_logits')}"] = together.sigmoid().mean()
            else:
                values[name] = together.mean()
        self._kept = {}
        return {name: float(value) for name, value in values.items()}

    def state(self) -> dict[str, Tensor]:
        """What has been collected and not yet read, by name and in the order of the names: what was loaded from a file
        comes in another order in every process, and processes must speak of the same thing."""
        return {name: torch.cat(tensors) for name, tensors in sorted(self._kept.items())}

    def load(self, tensors: dict[str, Tensor]) -> None:
        self._kept = {name: [tensor] for name, tensor in tensors.items()}
