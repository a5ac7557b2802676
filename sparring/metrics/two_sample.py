"""Can a nearest neighbour tell fakes from real samples? Leave-one-out accuracy of the 1-nearest-neighbour classifier.

Lopez-Paz and Oquab 2017 (arXiv:1610.06545) make a classifier a two-sample test; Xu et al. 2018 (arXiv:1806.07755) find
this one the most telling of the sample metrics, in features that fit the data. Of N fakes and N real samples together,
each is called what its nearest other is. Sets of one distribution give (N − 1) / (2N − 1), just below one half, sets
apart give 1, and fakes that are copies of those very real samples give 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.distances import nearest_others
from sparring.metrics.interval import Interval, proportion
from sparring.metrics.metric import Measured, Metric, Setting


class NearestNeighbour(Metric):
    """`nn_accuracy` with its interval; `nn_accuracy_real` and `nn_accuracy_fake`, the shares of the real samples and of
    the fakes that are called right. Of equally many each, drawn by the seed, `most` at most.

    Best is .5: above, the two can be told apart; below, fakes are nearer to real samples than real samples are. So none
    of the three can be ranked by. Where fakes are called right and real samples are not, the fakes lie in tight
    groups around real ones.
    """

    most: int = 5000

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        num = min(len(fake.features), len(real.features), self.most)
        found = nearest_neighbour_accuracy(fake.features, real.features, num, seed=setting.seed)
        shares = {"nn_accuracy_real": found[1], "nn_accuracy_fake": found[2]}
        return found[0].named("nn_accuracy") | shares


def nearest_neighbour_accuracy(fake: Tensor, real: Tensor, num: int, *, seed: int = 0) -> tuple[Interval, float, float]:
    """The accuracy on `num` each of fake [N, d] and real [M, d], and that on the real ones and on the fakes alone.

    Chance decides between equally near neighbours. Two samples that are each other's nearest are right or wrong
    together; the interval is Wilson's for as many independent trials as have the accuracy's variance for sets of one
    distribution, (1 + s) / 4 per sample, where s is the share of samples in such pairs (after Schilling 1986, JASA 81).

    Raises `RequestError` when num is less than 2 or more than there are, and for values that are not finite.
    """
    if not 2 <= num <= min(len(fake), len(real)):
        raise RequestError(
            f"nearest-neighbour accuracy: expected num from 2 to {min(len(fake), len(real))}, the samples there are of "
            f"each kind, found {num}"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = [x[torch.randperm(len(x), generator=generator)[:num]] for x in (fake, real)]
    mixed = torch.randperm(2 * num, generator=generator)
    is_fake = mixed < num
    neighbour = nearest_others(torch.cat(drawn)[mixed], 1).positions[:, 0]
    right = is_fake == is_fake[neighbour]
    accuracy = right.double().mean().item()
    mutual = (neighbour[neighbour] == torch.arange(2 * num)).double().mean().item()
    trials = round(2 * num / (1 + mutual))
    interval = proportion(round(accuracy * trials), trials)._replace(value=accuracy)
    return interval, right[~is_fake].double().mean().item(), right[is_fake].double().mean().item()
