"""One move of one player: the only place where gradients are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from sparring.core.game import Exchange, Phase
from sparring.train.player import Player
from sparring.train.schedule import Clock


def play(
    phase: Phase,
    exchange: Exchange,
    players: Mapping[str, Player],
    clock: Clock,
    autocast: AbstractContextManager[object],
) -> None:
    """Moves `phase.player` once along its loss; nothing else changes.

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
    player.move(clock)
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
