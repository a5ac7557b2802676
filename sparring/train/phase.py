"""The moves of one step: the only place where gradients are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from sparring.core.game import Clock, Exchange, Phase
from sparring.train.player import Player


def play(
    order: str,
    phases: Sequence[Phase],
    exchange: Exchange,
    players: Mapping[str, Player],
    clock: Clock,
    autocast: AbstractContextManager[object],
) -> None:
    """Makes the moves of one step, in this order: `alternating`, `simultaneous` or `extragradient`."""
    if order == "alternating":
        for phase in phases:
            for _ in range(phase.repeat):
                measure(phase, exchange, players, autocast)
                move(phase, exchange, players, clock)
        return
    starts = None
    if order == "extragradient":
        starts = [[p.detach().clone() for p in players[phase.player].parameters] for phase in phases]
    for phase in phases:
        measure(phase, exchange, players, autocast)
    for phase in phases:
        move(phase, exchange, players, clock)
    if starts is None:
        return
    for phase in phases:
        measure(phase, exchange, players, autocast)
    for phase, start in zip(phases, starts, strict=True):
        for parameter, value in zip(players[phase.player].parameters, start, strict=True):
            parameter.data.copy_(value)
    for phase in phases:
        move(phase, exchange, players, clock)


def measure(
    phase: Phase, exchange: Exchange, players: Mapping[str, Player], autocast: AbstractContextManager[object]
) -> None:
    """The gradient of a phase's loss for its player; nothing else changes.

    Gradients are asked for this player's parameters alone, so the others neither learn nor pay for it, and their
    buffers (BatchNorm's running statistics, say) are put back as they were.
    """
    player = players[phase.player]
    with frozen([buffer for other in players.values() if other is not player for buffer in other.buffers]):
        with autocast:
            loss = phase.loss(exchange)
        # Not torch.autograd.grad: only accumulation promises gradients in the memory layout of their parameters,
        # which the fused optimisers take for granted.
        player.forget()
        torch.autograd.backward(loss, inputs=player.parameters)


def move(phase: Phase, exchange: Exchange, players: Mapping[str, Player], clock: Clock) -> None:
    """Moves a player along the gradient that was measured, within the phase's constraints."""
    players[phase.player].move(clock, phase.constraints)
    exchange.moved(phase.player)


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
