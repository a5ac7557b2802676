"""MAGAN (Wang, Cully, Chang and Demiris 2017, "MAGAN: margin adaptation for generative adversarial networks",
algorithm 1)."""

from __future__ import annotations

import torch

from sparring.core.errors import RequestError
from sparring.core.exchange import Memory, Seen
from sparring.core.protocols import DataSpec
from sparring.games.objectives.energy import EBGAN


class MAGAN(EBGAN):
    """`EBGAN` whose margin follows the real samples' energy downwards.

    The means of both energies are taken over `window` turns of the discriminator. After each window the margin becomes
    the real mean where that is below the margin and below the fakes' mean, and the fakes' mean is above that of the
    window before: G no longer gains. The paper's window is a pass over the data, and its first margin is the real
    mean after D was trained alone for two; here it is `margin`, which should lie above it, as it only falls.
    """

    window: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1:
            raise RequestError(f"MAGAN: expected a window of at least 1 turn, found {self.window}")

    def memory(self, data: DataSpec) -> Memory:
        return {
            "margin": torch.tensor(self.margin),
            "turns": torch.tensor(0),
            "real_energy": torch.tensor(0.0),
            "fake_energy": torch.tensor(0.0),
            # More than any energy: the first window has none before it. Not infinite, as what a run stores is finite.
            "fake_energy_before": torch.tensor(torch.finfo(torch.float32).max),
        }

    def after(self, memory: Memory, real: Seen, fake: Seen) -> None:
        # Means so far: no sum grows with the window. No number leaves the device.
        memory["turns"] += 1
        for name, seen in (("real_energy", real), ("fake_energy", fake)):
            memory[name] += (-seen.logits.mean() - memory[name]) / memory["turns"]
        margin, before = memory["margin"], memory["fake_energy_before"]
        real_energy, fake_energy = memory["real_energy"], memory["fake_energy"]
        full = memory["turns"] >= self.window
        narrows = full & (real_energy < margin) & (real_energy < fake_energy) & (before < fake_energy)
        margin.copy_(torch.where(narrows, real_energy, margin))
        before.copy_(torch.where(full, fake_energy, before))
        memory["turns"] *= ~full
