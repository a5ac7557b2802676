"""What a step needs of memory, found out before the first one, and so how many samples are looked at together.

Nearly all of it is what automatic differentiation keeps from the forward pass (and, under gradient penalties, from the
first backward pass) for the last one. That grows with the samples by the same for each, so two small batches tell what
a large one will take: their turns are measured, in full and in vain, with every tensor counted that is kept.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from sparring.core.errors import RequestError, SourceError
from sparring.core.exchange import START, Exchange
from sparring.core.free import free_bytes
from sparring.train.faults import NotFiniteError, OutOfMemoryError
from sparring.train.phase import Arithmetic, frozen, measure, offer
from sparring.train.trainer import Trainer

SHARE = 0.8
"""Of the free memory, what a step may take: the rest is for samples, scores and pictures."""
BESIDE = 1.75
"""What a step takes, in terms of what it keeps: gradients on their way and the buffers of convolutions come on top."""


class Need(NamedTuple):
    """Bytes that a step takes beside what a trainer already holds: `fixed`, and `each` for every sample."""

    fixed: int
    each: float

    def of(self, rows: int) -> int:
        return round(self.fixed + self.each * rows)


def need(trainer: Trainer) -> Need | None:
    """What the steps of a trainer that has not begun will take; None where the first samples cannot be looked at.

    Nothing of the trainer changes, and random numbers go on as if nobody had asked.
    """
    together = trainer.critic().together
    few = [together * 2, together * 4]
    try:
        kept = [_kept(trainer, rows) for rows in few]
    except (NotFiniteError, OutOfMemoryError, SourceError):  # the run itself will meet it, and say what is done
        return None
    each = max(0.0, (kept[1] - kept[0]) / (few[1] - few[0]))
    state = sum(tensor.nbytes for tensor in trainer.state()[0].values())  # of which a copy is kept
    gradients = sum(p.nbytes for player in trainer.players.values() for p in player.parameters)
    return Need(round(state + gradients + max(0.0, kept[0] - each * few[0])), BESIDE * each)


def fit(trainer: Trainer, free: int | None = None) -> str:
    """Sets how many samples a trainer that has not begun looks at together, so that a step takes at most `SHARE` of
    the `free` bytes (by default, those of its device); says what was found, in one line, "" where nothing was.

    A batch keeps its size: the gradients of its parts are added up. Raises `RequestError` where not even the smallest
    part would fit.
    """
    found = need(trainer)
    if found is None:
        return ""
    free = available(trainer.device) if free is None else free
    together, batch = trainer.critic().together, trainer.recipe.train.batch // trainer.ranks.count
    rows = batch
    while found.of(rows) > SHARE * free and rows > together and trainer.game.divides:
        rows = max(together, rows // 2 // together * together)
    rows = trainer.ranks.tell(rows)
    step, there = _amount(found.of(rows)), _amount(free)
    if found.of(rows) > SHARE * free:
        least = "a step can't be divided" if rows == batch else f"{rows} samples at a time are the fewest"
        raise RequestError(
            f"train.batch: a step takes about {step} of memory, {there} are free, and {least}: take smaller networks, "
            "smaller samples (--size) or a smaller batch (--set train.batch=...)"
        )
    if rows == batch:
        return f"memory: a step takes about {step} of the {there} that are free"
    trainer.micro = rows
    return (
        f"memory: {there} are free, so {rows} samples at a time, which take about {step}; their gradients are added "
        f"up, and a batch is still {trainer.recipe.train.batch}"
    )


def available(device: torch.device) -> int:
    """Bytes that are free on a device, or on the machine where the device does not tell."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return free_bytes()


def _amount(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(1, round(count / 2**20))} MiB"


class _Keeper:
    """Counts the bytes of tensors that are kept at the same time, each storage once."""

    def __init__(self, held: set[int]) -> None:
        self.held = held
        self.now = self.most = 0
        self.uses: Counter[int] = Counter()

    def keep(self, tensor: Tensor) -> _Held:
        return _Held(self, tensor)


class _Held:
    """A tensor that is kept for as long as this object is."""

    __slots__ = ("keeper", "key", "size", "tensor")

    def __init__(self, keeper: _Keeper, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self.keeper, self.tensor, self.key, self.size = keeper, tensor, storage.data_ptr(), storage.nbytes()
        keeper.uses[self.key] += 1
        if keeper.uses[self.key] == 1 and self.key not in keeper.held:
            keeper.now += self.size
            keeper.most = max(keeper.most, keeper.now)

    def __del__(self) -> None:
        self.keeper.uses[self.key] -= 1
        if not self.keeper.uses[self.key] and self.key not in self.keeper.held:
            self.keeper.now -= self.size


def _kept(trainer: Trainer, rows: int) -> int:
    """Bytes that the turns of a step of so many samples keep at the same time, at most."""
    device = trainer.device
    players, memory = trainer.players, trainer.memory
    buffers = [buffer for player in players.values() for buffer in player.buffers]
    held = {p.untyped_storage().data_ptr() for player in players.values() for p in player.net.parameters()}
    keeper = _Keeper(held)
    due = [phase for phase in trainer.phases if phase.when(0, memory)]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), frozen([*buffers, *memory.values()]):
        exchange = Exchange(
            trainer.nets,
            trainer.source.take(trainer.order.indices(0, rows)),
            lambda draw: trainer.noise.draw(rows, 0, "memory", draw),
            clock=START,
            memory=memory,
            generator_moves=any(phase.player == "generator" for phase in due),
        )
        with saved_tensors_hooks(keeper.keep, lambda found: found.tensor):
            offer(exchange, Arithmetic(trainer.arithmetic))
            for phase in due:
                measure(phase, exchange, players, Arithmetic(trainer.arithmetic))
    for player in players.values():
        player.forget()
    return keeper.most
