"""The real samples nearest to given ones: found among all of a source, so that a copy of any of them shows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import Source
from sparring.metrics.features import FeatureNetwork


class Neighbours(NamedTuple):
    """Of n samples the k nearest of a source, nearest first."""

    positions: Tensor
    """In the source: int64 [n, k]."""
    distances: Tensor
    """Euclidean, between features: float64 [n, k]."""


@torch.no_grad()
def nearest_in(network: FeatureNetwork, source: Source, x: Tensor, k: int, *, chunk: int = 1000) -> Neighbours:
    """The k samples of a source whose features are nearest to those of x, exactly; equal distances in the source's
    order.

    The source is passed through the network once, `chunk` samples at a time, and no features are kept but x's own: for
    a handful of samples x [n, *shape] in [-1, 1]. Distances are computed from differences, not from products: a copy
    has distance 0, but for what the network's rounding makes of another batch size. Raises `RequestError` for k outside
    [1, len(source)], no samples, or features that are not finite.
    """
    if not 1 <= k <= len(source) or len(x) == 0:
        raise RequestError(
            f"nearest: expected samples and k from 1 to the {len(source)} of {source.spec.name}, found "
            f"{len(x)} samples and k = {k}"
        )
    wanted = _features(network, x, "samples")
    index = torch.empty(len(x), 0, dtype=torch.int64)
    distances = torch.empty(len(x), 0, dtype=torch.float64)
    for part in torch.split(torch.arange(len(source)), chunk):
        found = _features(network, source.take(part).x, source.spec.name)
        new = torch.stack([(found - one).square().sum(1).sqrt() for one in wanted])
        index, distances = torch.cat([index, part.expand(len(x), -1)], 1), torch.cat([distances, new], 1)
        distances, order = distances.sort(dim=1, stable=True)
        index, distances = index.gather(1, order)[:, :k], distances[:, :k]
    return Neighbours(index, distances)


def _features(network: FeatureNetwork, x: Tensor, name: str) -> Tensor:
    features: Tensor = network(x).cpu().double()
    if not features.isfinite().all():
        raise RequestError(f"nearest: features {network.name} of {name} are not finite; use other features or samples")
    return features
