"""What one step shows to the players, and the clock and the memory that it is shown by; whole, or in parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sparring.core.protocols import Batch

Memory = dict[str, Tensor]
"""What a part or a game remembers from step to step, by name; brought up to date in place."""


class Clock(NamedTuple):
    """Where a run stands: steps made, images seen, passes over the data, share of the run that is done."""

    step: int
    images: int
    epoch: float
    progress: float


START = Clock(0, 0, 0.0, 0.0)


class Seen(NamedTuple):
    """Samples as the discriminator saw them: x [B, ...] before anything that is done to them for show, y [B, ...] or
    None, and its logits [B]."""

    x: Tensor
    y: Tensor | None
    logits: Tensor


class Rows(NamedTuple):
    """Rows start .. stop - 1 of a batch of `total`: what of a step is looked at in one place or at one time."""

    start: int
    stop: int
    total: int

    @property
    def share(self) -> float:
        """The part of the whole, in (0, 1]."""
        return (self.stop - self.start) / self.total


class Exchange:
    """What one step shows to the players, each thing made once: real samples, noise, and the fakes made from it.

    The fake batch keeps its graph when the generator moves in the same step, so its turn needs no second forward
    pass; the discriminator sees it detached.

    An exchange may hold only some `rows` of the step's batch (all, if not said): the step's loss is then the sum of the
    losses of its parts, each times its rows' share.
    """

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        real: Batch,
        noise: Callable[[int], Tensor],
        *,
        clock: Clock = START,
        memory: Memory | None = None,
        generator_moves: bool = True,
        rows: Rows | None = None,
    ) -> None:
        self.nets = nets
        self.real = real
        self.rows = Rows(0, len(real.x), len(real.x)) if rows is None else rows
        self.peers: tuple[Tensor, Tensor] | None = None
        """Real and fake logits of the step's whole batch, without gradients, where a loss compares all of them."""
        self.clock = clock
        self.memory: Memory = {} if memory is None else memory
        self.seen: dict[str, Tensor] = {}
        """What the step reports: name -> detached tensor of any shape, averaged when it is read."""
        self.generator_moves = generator_moves
        self.judged: tuple[Seen, Seen] | None = None
        """Real and fake samples of the discriminator's last turn, without gradients."""
        self.offered: Batch | None = None
        """The generator's fakes in the discriminator's last turn, before any of earlier were mixed in."""
        self.remembered: Memory = {}
        """New values for the memory, found while losses were computed, to be taken up after the step."""
        self._noise = noise
        self._draws = 0
        self._fake: Tensor | None = None
        self._z: Tensor | None = None

    def z(self) -> Tensor:
        """The noise [B, dim] of the current fakes."""
        if self._z is None:
            self._z = self._noise(self._draws)
            self._draws += 1
        return self._z

    def fake(self) -> Tensor:
        """The current fakes [B, ...], one for each label of the real batch."""
        if self._fake is None:
            with torch.set_grad_enabled(self.generator_moves):
                # In the data's precision, also where networks compute in bfloat16.
                self._fake = self.nets["generator"](self.z(), self.real.y).to(self.real.x.dtype)
        return self._fake

    def cut(self, size: int, *, generator_moves: bool) -> list[Exchange]:
        """The exchange in parts of `size` rows, or fewer in the last."""
        parts = []
        for start in range(0, len(self.real.x), size):
            own = slice(start, start + size)
            x, y = self.real
            real = Batch(x[own], None if y is None else y[own])
            part = Exchange(
                self.nets,
                real,
                lambda _, own=own: self.z()[own],  # type: ignore[misc]
                clock=self.clock,
                memory=self.memory,
                generator_moves=generator_moves,
                rows=Rows(self.rows.start + start, self.rows.start + start + len(real.x), self.rows.total),
            )
            parts.append(part)
        return parts

    def join(self, parts: Sequence[Exchange]) -> None:
        """Takes over what was found in the parts that it was cut into."""
        shares = [len(part.real.x) / len(self.real.x) for part in parts]

        def taken_up(found: Sequence[Tensor]) -> Tensor:
            if found[0].dim():
                return torch.cat(list(found))
            return torch.stack([value * share for value, share in zip(found, shares, strict=True)]).sum()

        self.seen |= {name: taken_up([part.seen[name] for part in parts]) for name in parts[0].seen}
        self.remembered |= {name: taken_up([part.remembered[name] for part in parts]) for name in parts[0].remembered}
        judged = [part.judged for part in parts if part.judged is not None]
        if judged:
            real, fake = (Seen(*map(_joined, zip(*side, strict=True))) for side in zip(*judged, strict=True))
            self.judged = real, fake
        offered = [part.offered for part in parts if part.offered is not None]
        if offered:
            self.offered = Batch(*map(_joined, zip(*offered, strict=True)))

    def gather(self, gathered: Callable[[Tensor], Tensor]) -> None:
        """Brings together what was found of the rows that others have, which are as many, for what the game remembers
        of all of them."""
        if self.judged is not None:
            real, fake = (
                Seen(*(None if t is None else gathered(t) for t in seen))  # type: ignore[arg-type]
                for seen in self.judged
            )
            self.judged = real, fake
        if self.offered is not None:
            x, y = self.offered
            self.offered = Batch(gathered(x), None if y is None else gathered(y))
        self.remembered = {name: gathered(value[None]).mean(0) for name, value in self.remembered.items()}

    def among(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of the step's whole batch, of which these are this exchange's rows and record gradients."""
        if self.peers is None:
            return real_logits, fake_logits
        whole = []
        for own, peers in zip((real_logits, fake_logits), self.peers, strict=True):
            first = self.rows.start * len(peers) // self.rows.total  # packs have one logit for several rows
            whole.append(torch.cat([peers[:first], own, peers[first + len(own) :]]))
        return whole[0], whole[1]

    @property
    def has_fakes(self) -> bool:
        """Whether the current fakes have been made."""
        return self._fake is not None

    def forget_fakes(self) -> None:
        """The fakes are made again when they are asked for, from the same noise."""
        self._fake = None

    def moved(self, player: str) -> None:
        """Forgets the fakes when the generator has moved: they came from weights that are no more."""
        if player == "generator":
            self._fake = self._z = None


def _joined(parts: Sequence[Any]) -> Any:
    """The rows of all parts; None where they have none, as unlabelled samples have no y."""
    return None if parts[0] is None else torch.cat(list(parts))
