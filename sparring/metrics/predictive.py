"""Do generated series teach what real ones do? The predictive score (Yoon, Jarrett and van der Schaar 2019,
"Time-series Generative Adversarial Networks", NeurIPS, section 5): a network learns from generated series to foretell
the next moment, and its mean absolute error on real ones is the score.

There it foretells one column from the others. Here it foretells all columns, by what is to be added to the last values,
and beside it stands the error of the same network that learned from as many real series, other than those that both
are tested on.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from sparring.core.seeds import derive
from sparring.metrics.blocks import interval_of
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.recurrent import BATCH, WINDOW, Recurrent, mean_and_deviation, standardised, trained, window
from sparring.metrics.series import series_of


class Predictive(Metric):
    """`predictive`, the mean absolute error, as a share of each column's range, over `repeats` cuts and networks, with
    Student's interval; `predictive_real`, what as many real series teach; `predictive_last`, the error of foretelling
    that nothing changes.

    Both networks learn from half as many series as there are real ones, `most` at most. A generator that shows but a
    few of the kinds of series may teach enough: read it beside a metric that sees what is missing.
    """

    repeats: int = 3
    most: int = 1500
    steps: int = 150
    hidden: int = 24

    better: ClassVar[dict[str, Better]] = {"predictive": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"series"})
    fewest: ClassVar[int] = 20

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        made, given = series_of(fake, setting), series_of(real, setting)
        if given.shape[1] < 2:
            return {}
        unit = mean_and_deviation(given)[1] / 2  # of [-1, 1], as a share of the range
        made, given = standardised(made, given)
        num = min(len(made), len(given) // 2, self.most)
        found = []
        for repeat in range(self.repeats):
            seed = derive(setting.seed, f"cut {repeat}")
            random = torch.Generator().manual_seed(seed)
            order, drawn = (torch.randperm(len(side), generator=random) for side in (given, made))
            tests = given[order[num : 2 * num]]
            networks = [
                learned(side, self.steps, self.hidden, seed) for side in (made[drawn[:num]], given[order[:num]])
            ]
            found.append([(errors(network, tests) * unit).mean() for network in (*networks, None)])
        own, theirs, last = torch.tensor(found).double().unbind(1)
        beside = {"predictive_real": theirs.mean().item(), "predictive_last": last.mean().item()}
        return interval_of(own).named("predictive") | beside


def learned(series: Tensor, steps: int, hidden: int, seed: int) -> Recurrent:
    """A network that learned from series [N, T, C] what is added to the values of each moment until the next."""

    def loss(network: nn.Module, random: torch.Generator) -> Tensor:
        drawn = torch.randint(len(series), (BATCH,), generator=random)
        sums, count = absolute_errors(network, window(series[drawn], random))
        return sums.mean() / max(1, count)

    return trained(series.shape[2], hidden, series.shape[2], steps, seed, loss)


def absolute_errors(network: nn.Module | None, series: Tensor) -> tuple[Tensor, int]:
    """The sum of the absolute errors of foretelling each next moment of series [B, T, C], of each column [C], and of
    how many moments; without a network, of foretelling the last."""
    steps = series[:, 1:] - series[:, :-1]
    foretold = torch.zeros_like(steps) if network is None else network(series)[:, :-1]
    there = ~steps.isnan()
    found = torch.where(there, foretold - steps.nan_to_num(0), 0).abs()
    return found.sum((0, 1)), int(there[..., 0].sum())


@torch.no_grad()
def errors(network: nn.Module | None, series: Tensor) -> Tensor:
    """The mean absolute error on all of series [N, T, C], in stretches of at most 64 moments, of each column: [C]."""
    parts = [absolute_errors(network, part) for part in torch.split(series, WINDOW, 1) if part.shape[1] > 1]
    return torch.stack([sums for sums, _ in parts]).sum(0) / max(1, sum(count for _, count in parts))
