"""How many different samples there are, in effect: the Vendi score (Friedman and Dieng 2023, arXiv:2210.02410, eq. 2).

    exp(−Σ λᵢ log λᵢ),   λ the eigenvalues of K / n,   K the similarities of n samples, 1 on the diagonal

n samples that are all alike count as 1, n that have nothing in common as n. The similarity is the cosine of features.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.distances import finite
from sparring.metrics.metric import Better, Measured, Metric, Setting


class Vendi(Metric):
    """`vendi`, from 1 to the smaller of the numbers of samples and of features; `vendi_real`, that of as many samples
    of the reference (as many as are kept at most). It knows nothing of the reference: noise may score above it."""

    better: ClassVar[dict[str, Better]] = {"vendi": "higher"}

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        return {
            "vendi": vendi_score(fake.features),
            "vendi_real": vendi_score(real.features[: len(fake.features)]),
        }


def vendi_score(features: Tensor) -> float:
    """The Vendi score of features [n, d], n >= 1, in time O(n d min(n, d)).

    With rows of length 1, K = X Xᵀ and the smaller of X Xᵀ and Xᵀ X have the same eigenvalues but for zeros, which add
    nothing. Samples whose features are all 0 have no direction: they count as alike, and as unlike all others.
    Raises `RequestError` for no samples, and for values that are not finite.
    """
    if not len(features):
        raise RequestError("a Vendi score needs at least 1 sample, found 0; ask for more")
    x = finite(features)
    x = x / x.abs().amax(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)  # so that no square under- or overflows
    length = x.norm(dim=1, keepdim=True)
    still = length == 0
    x = torch.cat([x / length.where(~still, 1), still.double()], 1)
    gram = x.T @ x if len(x) >= x.shape[1] else x @ x.T
    values = torch.linalg.eigvalsh(gram / len(x)).clamp(min=0)
    return float(torch.special.entr(values).sum().exp())
