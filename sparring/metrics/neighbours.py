"""The real samples nearest to given ones: found among all of a source, so that a copy of any of them shows."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import Source
from sparring.metrics.distances import Neighbours, finite, nearest
from sparring.metrics.features import FeatureNetwork


@torch.no_grad()
def nearest_in(network: FeatureNetwork, source: Source, x: Tensor, k: int, *, chunk: int = 1000) -> Neighbours:
    """The k samples of a source whose features are nearest to those of x, exactly; equal distances in the source's
    order, though of those as far as the k-th any may be named.

    The source is passed through the network once, `chunk` samples at a time, and no features are kept but x's own: for
    a handful of samples x [n, *shape] in [-1, 1]. A copy has distance 0, but for what the network's rounding makes of
    another batch size. Raises `RequestError` for k outside [1, len(source)], no samples, or features that are not
    finite.
    """
    if not 1 <= k <= len(source) or len(x) == 0:
        raise RequestError(
            f"nearest: expected samples and k from 1 to the {len(source)} of {source.spec.name}, found "
            f"{len(x)} samples and k = {k}"
        )
    wanted = finite(network(x))
    best = Neighbours(torch.empty(len(x), 0, dtype=torch.float64), torch.empty(len(x), 0, dtype=torch.int64))
    for part in torch.split(torch.arange(len(source)), chunk):
        found = nearest(wanted, network(source.take(part).x), min(k, len(part)))
        positions, order = torch.cat([best.positions, part[found.positions]], 1).sort(dim=1)
        distances = torch.cat([best.distances, found.distances], 1).gather(1, order)
        distances, order = distances.sort(dim=1, stable=True)
        best = Neighbours(distances[:, :k], positions.gather(1, order)[:, :k])
    return best
