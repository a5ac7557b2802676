"""Samples in one or two dimensions and the discriminator's opinion of every place around them, to be drawn."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparring.core.game import Critic
from sparring.train.teaching import teach

CELLS = 48
"""Of the part that is looked at, in each direction."""
_ROOM = 0.1  # around the data, as a share of their extent


class Plane(NamedTuple):
    """Real samples [N, d], fakes [M, d], and D at the centres of equal cells of a square around the real ones; float32,
    on the CPU."""

    real: Tensor
    fake: Tensor
    low: tuple[float, ...]
    """The least value of each coordinate that is looked at, and"""
    high: tuple[float, ...]
    """the greatest."""
    logits: Tensor | None = None
    """[CELLS] or [CELLS, CELLS], the first coordinate first; None where D needs more than x to answer."""
    slopes: Tensor | None = None
    """∂D/∂x there: [CELLS, 1] or [CELLS, CELLS, 2]."""


def survey(critic: Critic, real: Tensor, fake: Tensor, *, conditional: bool = False) -> Plane:
    """What the discriminator thinks of the places around real samples [N, d], d of 1 or 2, and of the fakes [M, d].

    `conditional` says that it also asks for a y, which a place does not have.
    """
    least, greatest = real.amin(0), real.amax(0)
    half = (greatest - least).amax() * (0.5 + _ROOM)
    half, middle = half if half > 0 else torch.ones_like(half), (least + greatest) / 2
    low, high = middle - half, middle + half
    plane = Plane(real.cpu(), fake.cpu(), tuple(low.tolist()), tuple(high.tolist()))
    if conditional:
        return plane
    shares = (torch.arange(CELLS, device=real.device) + 0.5) / CELLS
    axes = [a + shares * (b - a) for a, b in zip(low, high, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    lesson = teach(critic, places.flatten(0, -2))
    if lesson.logits.numel() != lesson.x.shape[0]:  # samples are shown in packs
        return plane
    logits, slopes = lesson.logits.reshape(places.shape[:-1]).cpu(), lesson.advice.reshape(places.shape).cpu()
    return plane._replace(logits=logits, slopes=slopes)
