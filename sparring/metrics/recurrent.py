"""A small recurrent network that learns from series for a few seconds: what metrics train, the same every time.

A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), Adam (Kingma and Ba 2015, arXiv:1412.6980), on the CPU in
float32. It sees each value and, in one more column, whether the series is still there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

WINDOW = 64
"""Moments of a series that are looked at: of longer ones a stretch of so many, drawn anew each time."""
BATCH = 128
RATE = 0.02
"""At the first step; it falls along a straight line to 0."""


class Recurrent(nn.Module):
    """Series [B, T, C], NaN after their ends, to `outputs` numbers at each moment: [B, T, outputs]."""

    def __init__(self, columns: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.unit = nn.GRU(columns + 1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, series: Tensor) -> Tensor:
        there = (~series[..., :1].isnan()).to(series.dtype)
        states, _ = self.unit(torch.cat([series.nan_to_num(0), there], 2))
        found: Tensor = self.out(states)
        return found


def trained(
    columns: int, hidden: int, outputs: int, steps: int, seed: int, loss: Callable[[nn.Module, torch.Generator], Tensor]
) -> Recurrent:
    """A network after so many steps down loss(network, random), a scalar of a batch that it draws by `random`.

    torch's own random state is left as it was.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = Recurrent(columns, hidden, outputs)
        weights = list(network.parameters())
        optimizer = torch.optim.Adam(weights, lr=RATE)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
            for weight, slope in zip(weights, torch.autograd.grad(loss(network, random), weights), strict=True):
                weight.grad = slope
            optimizer.step()
    return network.eval()


def standardised(*sets: Tensor) -> tuple[Tensor, ...]:
    """Sets of series [N, T, C], each column less the mean of the last set, in units of its standard deviation."""
    mean, deviation = mean_and_deviation(sets[-1])
    return tuple((series - mean) / deviation for series in sets)


def mean_and_deviation(series: Tensor) -> tuple[Tensor, Tensor]:
    """Of each column of series [N, T, C], NaN aside: [C] each; a column that all but stands still deviates by 1e-3."""
    values = series.flatten(0, 1)
    mean = values.nanmean(0)
    return mean, (values - mean).square().nanmean(0).sqrt().clamp(min=1e-3)


def window(series: Tensor, random: torch.Generator) -> Tensor:
    """The same stretch of at most `WINDOW` moments of all series [B, T, C]."""
    spare = series.shape[1] - WINDOW
    if spare <= 0:
        return series
    start = int(torch.randint(spare + 1, (1,), generator=random))
    return series[:, start : start + WINDOW]
