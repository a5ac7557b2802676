"""Can a classifier tell generated series from real ones that it has not seen? The discriminative score (Yoon, Jarrett
and van der Schaar 2019, "Time-series Generative Adversarial Networks", NeurIPS, section 5): |accuracy − ½| on a test
set, 0 where it can't, ½ where it always can.

There a network of two GRU layers learns from all data. Here one GRU of 16 units learns 200 steps from three quarters of
at most 1,500 series of each kind, three times from other cuts, so that it takes seconds and the same ones every time:
compare the score with none that was made in another way.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from sparring.core.seeds import derive
from sparring.metrics.blocks import interval_of
from sparring.metrics.metric import Better, Kind, Measured, Metric, Needs, Setting
from sparring.metrics.recurrent import BATCH, WINDOW, Recurrent, standardised, trained, window
from sparring.metrics.series import series_of


class Discriminative(Metric):
    """`discriminative`, |accuracy − ½| averaged over `repeats` cuts and networks, with Student's interval;
    `discriminative_real`, what chance alone gives on a test set of that size.

    It sees whatever a small network finds in 200 steps, so a high score is sure and a low one is not: real series may
    still be told apart by a better network. Of series of more than 64 moments it sees stretches of so many.
    """

    repeats: int = 3
    most: int = 1500
    steps: int = 200
    hidden: int = 16

    better: ClassVar[dict[str, Better]] = {"discriminative": "lower"}
    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    kinds: ClassVar[frozenset[Kind]] = frozenset({"series"})
    fewest: ClassVar[int] = 20

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        made, given = series_of(fake, setting), series_of(real, setting)
        num = min(len(made), len(given), self.most)
        made, given = standardised(made[:num], given[:num])
        tests = len(made) // 4
        seeds = [derive(setting.seed, f"cut {repeat}") for repeat in range(self.repeats)]
        found = [accuracy(made, given, tests, self.steps, self.hidden, seed) for seed in seeds]
        beside = (torch.tensor(found).double() - 0.5).abs()
        return interval_of(beside).named("discriminative") | {"discriminative_real": by_chance(2 * tests)}


def accuracy(fake: Tensor, real: Tensor, tests: int, steps: int, hidden: int, seed: int) -> float:
    """Of a network that learned from all but `tests` of fake and real [N, T, C], on those: in [0, 1]."""
    random = torch.Generator().manual_seed(seed)
    fake, real = (series[torch.randperm(len(series), generator=random)] for series in (fake, real))
    series = torch.cat([fake[tests:], real[tests:]])
    is_real = torch.arange(len(series)) >= len(fake) - tests

    def loss(network: nn.Module, random: torch.Generator) -> Tensor:
        drawn = torch.randint(len(series), (BATCH,), generator=random)
        return F.binary_cross_entropy_with_logits(
            logits(network, window(series[drawn], random)), is_real[drawn].float()
        )

    network = trained(fake.shape[2], hidden, 1, steps, seed, loss)
    with torch.no_grad():
        right = [(whole_logits(network, part[:tests]) > 0) == truth for part, truth in ((fake, False), (real, True))]
    return torch.cat(right).double().mean().item()


def logits(network: nn.Module, series: Tensor) -> Tensor:
    """What a network says of series [B, T, C]: the mean over the moments, those after the end too, [B]."""
    found: Tensor = network(series)[..., 0].mean(1)
    return found


def whole_logits(network: Recurrent, series: Tensor) -> Tensor:
    """The mean of `logits` over the stretches of series [B, T, C], weighted by their moments: [B]."""
    parts = torch.split(series, WINDOW, 1)
    return torch.stack([logits(network, part) * part.shape[1] for part in parts]).sum(0) / series.shape[1]


def by_chance(trials: int) -> float:
    """The mean of |k / trials − ½| where k of the trials come right by chance, each with ½."""
    k = torch.arange(trials + 1).double()
    shares = torch.from_numpy(stats.binom.pmf(k.numpy(), trials, 0.5))
    return float((shares * (k / trials - 0.5).abs()).sum())
