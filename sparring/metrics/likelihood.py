"""Log-likelihood of real samples under a Parzen window over generated ones (Goodfellow et al. 2014, arXiv:1406.2661,
section 5; the estimator of Breuleux, Bengio and Vincent 2011).

    log p(x) = log 1/N Σᵢ exp(−‖x − cᵢ‖² / 2σ²) − D log(σ √(2π))

The N centres cᵢ are generated samples with values in [0, 1]; σ is the one of ten values from 0.1 to 1 under which 1,000
validation samples are likeliest.

A score to reproduce published figures with and to notice regressions by, never a goal: it grows with N, and it rewards
blurred prototypes above real data (Theis et al. 2016, arXiv:1511.01844). With 10,000 real training images of MNIST as
centres it is between 238 and 243, depending on which (`bench/parzen.py`); published models have exceeded that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.interval import from_error
from sparring.metrics.metric import Measured, Metric, Needs, Setting

SIGMAS = tuple(torch.logspace(-1, 0, 10, dtype=torch.float64).tolist())
NUM_VALIDATION = 1000
NUM_CENTRES = 10_000
_CHUNK = 250  # rows of distances held at once: 20 MB beside 10,000 centres


class Parzen(Metric):
    """`parzen`, the mean log-likelihood of the held-out samples in nats, with its interval (of the mean over the
    held-out samples: the centres are taken as given), and `parzen_sigma`, the window's width.

    Asks for the features `values`: the samples' own values in [0, 1]. The centres are the generated samples kept, 8-bit
    data as they would be stored; the window is chosen on the first 1,000 kept samples of the reference. It is ranked by
    nothing. Raises `RequestError` for other features.
    """

    needs = frozenset[Needs]({"held_out"})

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        if setting.network.name != "values":
            raise RequestError(
                f"Parzen measures the samples' own values, found features {setting.network.name!r}; "
                f"use features 'values'"
            )
        if setting.held_out is None:
            raise RequestError("Parzen needs real samples that were not trained on: name them with --held-out")
        sigma = choose_sigma(real.features[:NUM_VALIDATION], fake.features)
        found = log_likelihood(setting.held_out.features, fake.features, (sigma,))[0]
        error = found.std().item() / len(found) ** 0.5
        return from_error(found.mean().item(), error).named("parzen") | {"parzen_sigma": sigma}

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        if len(fake.features) != NUM_CENTRES:
            yield (
                f"parzen of {len(fake.features):,} samples: it grows with their number, and published figures take "
                f"{NUM_CENTRES:,}"
            )


def choose_sigma(validation: Tensor, centres: Tensor, sigmas: tuple[float, ...] = SIGMAS) -> float:
    """The width under which validation samples [M, D] have the greatest mean log-likelihood."""
    means = log_likelihood(validation, centres, sigmas).mean(1)
    return sigmas[int(means.argmax())]


def log_likelihood(x: Tensor, centres: Tensor, sigmas: tuple[float, ...]) -> Tensor:
    """log p of samples x [M, D] under Parzen windows of each width over centres [N, D]: nats, float64 [widths, M].

    Memory does not grow with M. Arithmetic is float64 throughout: squared distances are differences of squared norms,
    and divided by 2σ².
    """
    if x.dim() != 2 or centres.dim() != 2 or x.shape[1] != centres.shape[1] or 0 in (*x.shape, *centres.shape):
        raise RequestError(
            f"a likelihood needs samples [M, D] and centres [N, D], found {list(x.shape)} and {list(centres.shape)}"
        )
    centres = centres.double()
    dim, log_num = x.shape[1], math.log(len(centres))
    half_norms = centres.square().sum(1) / 2
    found = torch.empty(len(sigmas), len(x), dtype=torch.float64)
    for start in range(0, len(x), _CHUNK):
        part = x[start : start + _CHUNK].double()
        # −‖x − c‖²/2 without its term in x alone, which is the same for all centres and joins after the sum.
        closeness = torch.addmm(half_norms, part, centres.T, beta=-1)
        alone = part.square().sum(1) / 2
        for row, sigma in enumerate(sigmas):
            inside = torch.logsumexp(closeness / sigma**2, 1) - alone / sigma**2
            found[row, start : start + _CHUNK] = inside - log_num - dim * math.log(sigma * math.sqrt(2 * math.pi))
    return found
