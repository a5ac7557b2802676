"""The moves of one step: the only place where gradients are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparring.core.exchange import Clock, Exchange
from sparring.core.game import Phase
from sparring.train.faults import NotFiniteError, OutOfMemoryError, memory_watched
from sparring.train.player import Player
from sparring.train.ranks import Ranks
from sparring.train.rows import Whole

ALONE = Ranks()
_NOTHING = nullcontext()


class Arithmetic(NamedTuple):
    """How a step is computed: in which precision, by how many processes, and in how many parts.

    `micro` is the most rows of a process that are looked at together, or None for all of them: as much memory as that
    is needed, and the gradients of the parts are added up.
    """

    autocast: AbstractContextManager[object] = nullcontext()
    ranks: Ranks = ALONE
    micro: int | None = None

    def parts(self, exchange: Exchange, *, generator_moves: bool) -> list[Exchange]:
        """What is looked at one after the other."""
        if self.micro is None or self.micro >= len(exchange.real.x):
            return [exchange]
        return exchange.cut(self.micro, generator_moves=generator_moves)


def play(
    order: str,
    phases: Sequence[Phase],
    exchange: Exchange,
    players: Mapping[str, Player],
    clock: Clock,
    arithmetic: Arithmetic = Arithmetic(),  # noqa: B008 - nothing in it changes
) -> None:
    """Makes the moves of one step, in this order: `alternating`, `simultaneous` or `extragradient`.

    Raises `NotFiniteError` instead of making a move along a gradient that is infinite or no number, and
    `OutOfMemoryError`.
    """
    if order == "alternating":
        for phase in phases:
            for _ in range(phase.repeat):
                measure(phase, exchange, players, arithmetic)
                move(phase, exchange, players, clock)
        return
    starts = None
    if order == "extragradient":
        starts = [[p.detach().clone() for p in players[phase.player].parameters] for phase in phases]
    for phase in phases:
        measure(phase, exchange, players, arithmetic)
    for phase in phases:
        move(phase, exchange, players, clock)
    if starts is None:
        return
    for phase in phases:
        measure(phase, exchange, players, arithmetic)
    for phase, start in zip(phases, starts, strict=True):
        for parameter, value in zip(players[phase.player].parameters, start, strict=True):
            parameter.data.copy_(value)
    for phase in phases:
        move(phase, exchange, players, clock)


def offer(exchange: Exchange, arithmetic: Arithmetic) -> None:
    """Makes the fakes before any turn, where the generator is to move and sees them all together.

    It is the generator's own forward pass: in the discriminator's turn its running statistics are frozen. Raises
    `OutOfMemoryError`.
    """
    undivided = arithmetic.micro is None or arithmetic.micro >= len(exchange.real.x)
    if not exchange.generator_moves or not undivided:
        return
    ranks = arithmetic.ranks
    if ranks.count == 1:
        with memory_watched(), arithmetic.autocast:
            exchange.fake()
        return
    waiting = _normalised([exchange.nets["generator"]])
    with memory_watched() if waiting else ranks.as_one(), _as_whole(exchange, ranks), arithmetic.autocast:
        exchange.fake()


def measure(phase: Phase, exchange: Exchange, players: Mapping[str, Player], arithmetic: Arithmetic) -> None:
    """The gradient of a phase's loss for its player, of the whole batch; nothing else changes.

    Gradients are asked for this player's parameters alone, so the others neither learn nor pay for it, and their
    buffers (BatchNorm's running statistics, say) are put back as they were.
    """
    player, ranks = players[phase.player], arithmetic.ranks
    player.forget()
    total, full = None, None
    others = [buffer for other in players.values() if other is not player for buffer in other.buffers]
    try:
        with memory_watched(), frozen(others):
            parts = arithmetic.parts(exchange, generator_moves=phase.player == "generator")
            divided = len(parts) > 1 or ranks.count > 1
            again = _again(parts[0].real.x.device) if divided else None
            if again is not None and phase.logits is not None:
                _meet(phase.logits, parts, players, arithmetic, again)
            for part in parts:
                if again is not None:
                    again()
                with _as_whole(part, ranks) if divided else _NOTHING:
                    with arithmetic.autocast:
                        loss = phase.loss(part) * part.rows.share if divided else phase.loss(part)
                    # Not torch.autograd.grad: only accumulation promises gradients in the memory layout of their
                    # parameters, which the fused optimisers take for granted.
                    torch.autograd.backward(loss, inputs=player.parameters)
                total = loss.detach() if total is None else total + loss.detach()
            if len(parts) > 1:
                exchange.join(parts)
    except OutOfMemoryError as error:
        if ranks.count > 1 and (phase.logits is not None or _normalised(exchange.nets.values())):
            raise  # the others may wait in the middle of the turn, where this process can't join them any more
        full = str(error)  # the others are told before it is raised: they wait for this process's gradients
        player.forget()
    _add_up(phase, player, total, full, ranks)


def move(phase: Phase, exchange: Exchange, players: Mapping[str, Player], clock: Clock) -> None:
    """Moves a player along the gradient that was measured, within the phase's constraints."""
    players[phase.player].move(clock, phase.constraints)
    exchange.moved(phase.player)


def _add_up(phase: Phase, player: Player, total: Tensor | None, full: str | None, ranks: Ranks) -> None:
    """The gradient over all processes, which every one of them finds finite, or none does.

    `total` is this process's part of the loss []; None where it was `full`.
    """
    gradients = [parameter.grad for parameter in player.parameters if parameter.grad is not None]
    if ranks.count > 1:
        for parameter in player.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in player.parameters if parameter.grad is not None]
        trouble = gradients[0].new_tensor(float(full is not None))
        total = gradients[0].new_zeros(()) if total is None else total.to(gradients[0]).clone()
        ranks.add_all([*gradients, total, trouble])
        if full is None and trouble > 0:
            full = "another process is out of memory"
    if full is not None:
        raise OutOfMemoryError(full, agreed=True)
    assert total is not None
    # What torch.amp.GradScaler asks, times 1: one call for all of them, where asking each costs as much as a layer.
    found = torch.zeros((), dtype=torch.float32, device=total.device)
    torch._amp_foreach_non_finite_check_and_unscale_([*gradients, total], found, torch.ones_like(found))
    if not found:
        return
    names = [name for name, parameter in player.net.named_parameters() if parameter.grad is not None]
    bad = [f"gradient of {name}" for name, value in zip(names, gradients, strict=True) if not value.isfinite().all()]
    loss = [] if bool(total.isfinite()) else ["loss"]
    player.forget()
    raise NotFiniteError(phase.name, (*loss, *bad))


def _normalised(nets: Iterable[nn.Module]) -> bool:
    """Whether means are taken over all processes, which then wait for each other in the middle of a forward pass."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for net in nets for module in net.modules())


def _meet(
    logits: Callable[[Exchange], tuple[Tensor, Tensor]],
    parts: Sequence[Exchange],
    players: Mapping[str, Player],
    arithmetic: Arithmetic,
    again: Callable[[], None],
) -> None:
    """Shows every part the logits of the whole batch."""
    found = []
    with torch.no_grad(), frozen([buffer for player in players.values() for buffer in player.buffers]):
        for part in parts:
            again()
            made = part.has_fakes
            with _as_whole(part, arithmetic.ranks), arithmetic.autocast:
                found.append(logits(part))
            if not made:
                # The turn makes them again: so it draws the same random numbers, moves running statistics that are
                # frozen here, and holds the graph of one part at a time.
                part.forget_fakes()
    real, fake = (arithmetic.ranks.gather(torch.cat(side)) for side in zip(*found, strict=True))
    for part in parts:
        part.peers = real, fake


def _as_whole(part: Exchange, ranks: Ranks) -> Whole:
    return Whole(part.rows, ranks.add if ranks.count > 1 else None)


def _again(device: torch.device) -> Callable[[], None]:
    """Sets torch's random numbers back to where they are now, so that every part cuts its rows from the same ones."""
    if device.type == "cuda":
        state = torch.cuda.get_rng_state(device)
        return lambda: torch.cuda.set_rng_state(state, device)
    state = torch.get_rng_state()
    return lambda: torch.set_rng_state(state)


@contextmanager
def frozen(buffers: list[Tensor]) -> Iterator[None]:
    """Within it, whatever writes to these tensors is undone at the end."""
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            # Through .data, which autograd does not count as a change: a graph that is still to be used (the shared
            # fake batch's) may hold on to a buffer that nobody wrote to, and gets its own value back.
            buffer.data.copy_(value)
