"""Euclidean distances between sets of features: exact in float64, in memory that grows with the sets and not with their
product.

The product form ‖x‖² + ‖y‖² − 2 x·y is many times as fast as differences, and wrong by about 1e-16 (‖x‖ + ‖y‖)²: near
0, where copies are, nothing of it is left. Here it only finds candidates. Its error has a bound, of the kind of
Higham's (Accuracy and Stability of Numerical Algorithms, 2002, §3.1); whatever lies within that bound of a decision is
decided by differences. So a copy has distance 0, equal distances are equal, and results do not depend on how the work
was cut.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sparring.core.errors import RequestError

ROWS, COLUMNS = 256, 2000
"""Distances held at once."""
SPARE = 8
"""Candidates beyond the k nearest, so that few rows are left where the error could have hidden a nearer one."""


class Neighbours(NamedTuple):
    """The k nearest of each sample, nearest first; of equally distant ones any may be named."""

    distances: Tensor
    """float64 [N, k]."""
    positions: Tensor
    """In the set they were looked for in: int64 [N, k]."""


def nearest(x: Tensor, y: Tensor, k: int = 1) -> Neighbours:
    """The k nearest samples of y [M, d] to each of x [N, d], k >= 1.

    Raises `RequestError` for fewer than k samples in y, and for values that are not finite.
    """
    return _nearest(x, y, k, others=False)


def nearest_others(x: Tensor, k: int = 1) -> Neighbours:
    """The k nearest to each of x [N, d] among the others of x, k >= 1: a sample is not its own neighbour, its copy is.

    Raises `RequestError` for k samples or fewer, and for values that are not finite.
    """
    return _nearest(x, x, k, others=True)


def in_any_ball(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Whether each of points [N, d] lies in some ball around centres [M, d] with radii float64 [M]: bool [N].

    A point on the surface lies inside. Raises `RequestError` for values that are not finite.
    """
    points, centres = finite(points), finite(centres)
    rest = centres.square().sum(1) - radii.square()
    depth = torch.full((len(points),), torch.inf, dtype=torch.float64)
    for rows in torch.split(torch.arange(len(points)), ROWS):
        for columns in torch.split(torch.arange(len(centres)), COLUMNS):
            product = torch.addmm(rest[columns], points[rows], centres[columns].T, alpha=-2)
            depth[rows] = torch.minimum(depth[rows], product.amin(1))
    depth += points.square().sum(1)
    bound = _error_bound(points, centres)
    inside = depth <= 0
    for rows in torch.split((depth.abs() <= bound).nonzero()[:, 0], ROWS):
        inside[rows] = (_distances(points[rows], centres) <= radii).any(1)
    return inside


class Held(NamedTuple):
    """What lies strictly inside which balls."""

    balls: Tensor
    """In how many balls each point lies: int64 [N]."""
    points: Tensor
    """How many points each ball holds: int64 [M]."""


def held_by_balls(points: Tensor, centres: Tensor, radii: Tensor) -> Held:
    """Which of points [N, d] lie in which balls around centres [M, d] with radii float64 [M], counted both ways.

    A point on the surface lies outside. Raises `RequestError` for values that are not finite.
    """
    points, centres = finite(points), finite(centres)
    rest = centres.square().sum(1) - radii.square()
    square, bound = points.square().sum(1), _error_bound(points, centres)
    found = Held(torch.zeros(len(points), dtype=torch.int64), torch.zeros(len(centres), dtype=torch.int64))
    for rows in torch.split(torch.arange(len(points)), ROWS):
        surely, perhaps = (-square[rows] - bound[rows])[:, None], (-square[rows] + bound[rows])[:, None]
        for columns in torch.split(torch.arange(len(centres)), COLUMNS):
            product = torch.addmm(rest[columns], points[rows], centres[columns].T, alpha=-2)
            inside = product < surely
            unsure = inside ^ (product <= perhaps)
            if unsure.any():
                for pairs in torch.split(unsure.nonzero(), ROWS * COLUMNS // 32):
                    i, j = rows[pairs[:, 0]], columns[pairs[:, 1]]
                    inside[pairs[:, 0], pairs[:, 1]] = _distances(points[i], centres[j][:, None])[:, 0] < radii[j]
            found.balls[rows] += inside.sum(1)
            found.points[columns] += inside.sum(0)
    return found


def finite(features: Tensor) -> Tensor:
    """Features [N, d] as float64 on the CPU. Raises `RequestError` when some are not finite."""
    features = features.detach().cpu().double().contiguous()
    broken = int((~features.isfinite().all(1)).sum())
    if broken:
        raise RequestError(f"{broken} of {len(features)} samples have features that are not finite; leave them out")
    return features


def _nearest(x: Tensor, y: Tensor, k: int, *, others: bool) -> Neighbours:
    x, y = finite(x), finite(y)
    if len(y) < k + others:
        raise RequestError(f"{k} nearest neighbours need at least {k + others} samples, found {len(y)}; ask for more")
    listed = min(len(y), k + others + SPARE)
    search = NearestNeighbors(n_neighbors=listed, algorithm="brute").fit(y.numpy())
    rough, indices = (torch.from_numpy(found) for found in search.kneighbors(x.numpy()))
    parts = zip(torch.split(x, ROWS), torch.split(indices, ROWS), strict=True)
    distances = torch.cat([_distances(part, y[index]) for part, index in parts])
    if others:
        distances[indices == torch.arange(len(x))[:, None]] = torch.inf
    distances, order = distances.sort(1)
    distances, indices = distances[:, :k].contiguous(), indices.gather(1, order)[:, :k].contiguous()
    if listed < len(y):
        # Nothing left out is nearer than the last candidate less its error; nothing at all is nearer than 0.
        limit = rough[:, k - 1 + others].square() + 2 * _error_bound(x, y)
        unsure = (rough[:, -1].square() <= limit) & (distances[:, -1] > 0)
        for rows in torch.split(unsure.nonzero()[:, 0], ROWS):
            exact = _distances(x[rows], y)
            if others:
                exact[torch.arange(len(rows)), rows] = torch.inf
            distances[rows], indices[rows] = exact.topk(k, largest=False)
    return Neighbours(distances, indices)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Of x [N, d] to y [M, d], or to M samples for each, y [N, M, d], by differences: float64 [N, M]."""
    if y.dim() == 2:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.cdist(x[:, None], y, compute_mode="donot_use_mm_for_euclid_dist")[:, 0]


def _error_bound(x: Tensor, y: Tensor) -> Tensor:
    """What a squared distance to any of y, or its excess over the square of a distance within y, is wrong by at most
    when it is computed as a product: [N]."""
    reach = x.square().sum(1).sqrt() + 2 * y.square().sum(1).max().sqrt()
    return 2 * (x.shape[1] + 8) * torch.finfo(torch.float64).eps * reach.square()
