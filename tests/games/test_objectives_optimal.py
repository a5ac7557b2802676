"""What the best discriminator is, what it reaches, and that training finds it, for p = N(0, 1) and q = N(1, 1), where
log p/q = 1/2 - x. Expectations are sums over a grid, so nothing here is random."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from sparring.core.game import Objective
from sparring.games.objectives import (
    EBGAN,
    KL,
    BoundarySeeking,
    DualContrastive,
    Hinge,
    JensenShannon,
    LeastSquares,
    Minimax,
    NonSaturating,
    OneSidedSmoothing,
    Pearson,
    Relativistic,
    RelativisticAverage,
    ReverseKL,
    SoftmaxGAN,
    SquaredHellinger,
    TotalVariation,
    Wasserstein,
)

TV = 0.382925
BOTH = quad(lambda x: norm.pdf(x) * norm.pdf(x, 1) / (norm.pdf(x) + norm.pdf(x, 1)), -9, 10, epsabs=1e-10)[0]
"""∫ p q/(p + q)."""
SMOOTHED = quad(
    lambda x: (
        -0.9 * norm.pdf(x) * math.log(0.9 * norm.pdf(x) / (norm.pdf(x) + norm.pdf(x, 1)))
        - (0.1 * norm.pdf(x) + norm.pdf(x, 1)) * math.log1p(-0.9 * norm.pdf(x) / (norm.pdf(x) + norm.pdf(x, 1)))
    ),
    -9,
    10,
    epsabs=1e-10,
)[0]
"""The cross-entropy of p with target 0.9 and q with target 0, at 0.9 p/(p + q)."""
FAR = 40.0


class Case(NamedTuple):
    objective: Objective
    best: Callable[[Tensor], Tensor]
    """D*'s logit, of log p/q."""
    least: float
    """D's loss there."""


CASES = [
    Case(Minimax(), lambda r: r, 1.163451),
    Case(NonSaturating(), lambda r: r, 1.163451),
    Case(BoundarySeeking(), lambda r: r, 1.163451),
    Case(LeastSquares(), lambda r: r.sigmoid(), BOTH / 2),
    Case(LeastSquares(a=-1.0, b=1.0, c=0.0), lambda r: (r / 2).tanh(), 4 * BOTH / 2),
    Case(LeastSquares(a=3.0, b=1.0, c=-1.0), lambda r: 3 - 2 * r.sigmoid(), 4 * BOTH / 2),
    Case(Hinge(), lambda r: r.sign(), 1.234150),
    Case(KL(), lambda r: 1 + r, -0.5),
    Case(ReverseKL(), lambda r: r, -0.5),
    Case(Pearson(), lambda r: 2 * r.expm1(), -1.718282),
    Case(SquaredHellinger(), lambda r: r / 2, -0.235006),
    Case(TotalVariation(), lambda r: FAR * r.sign(), -TV),
    Case(JensenShannon(), lambda r: r, -2 * 0.111421),
    Case(EBGAN(margin=2.0), lambda r: -2.0 * (r < 0), 2 * (1 - TV)),
    Case(OneSidedSmoothing(smooth=0.9), lambda r: (0.9 * r.sigmoid()).logit(), SMOOTHED),
]
IDS = [type(case.objective).__name__ for case in CASES]


def laws(cells: int, mu: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """x on a grid over [-8, 9] and what p and q weigh there, each 1 in all."""
    x = torch.linspace(-8, 9, cells + 1, dtype=torch.float64)
    p, q = (torch.exp(-((x - m) ** 2) / 2) for m in (0.0, mu))
    return x, p / p.sum(), q / q.sum()


def loss_of(objective: Objective, logits: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """D's expected loss [], where it is a term of a real sample plus one of a fake."""
    zero = torch.zeros_like(logits)
    constant = objective.discriminator(zero[:1], zero[:1])
    return (p * objective.discriminator(logits, zero) + q * (objective.discriminator(zero, logits) - constant)).sum()


def trained(loss: Callable[[Tensor], Tensor], start: Tensor, steps: int = 150) -> Tensor:
    """What gradient descent with a step of its own for each number, longer while its slope keeps its sign and shorter
    when it turns (Riedmiller and Braun 1993, "RPROP"), makes of `start`."""
    values, step, before = start.clone().requires_grad_(), torch.full_like(start, 0.05), torch.zeros_like(start)
    for _ in range(steps):
        (slope,) = torch.autograd.grad(loss(values), values)
        step *= torch.where(slope * before < 0, 0.5, 1.2)
        before = slope
        with torch.no_grad():
            values -= slope.sign() * step.clamp_(1e-7, 50)
    return values.detach()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_loss_at_the_best_discriminator(case: Case) -> None:
    x, p, q = laws(17_000)
    assert float(loss_of(case.objective, case.best(0.5 - x), p, q)) == pytest.approx(case.least, abs=2e-6)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_any_other_discriminator_loses_more(case: Case) -> None:
    x, p, q = laws(1700)
    best = case.best(0.5 - x)
    least = float(loss_of(case.objective, best, p, q))
    for width in (0.5, 1.0, 2.0):
        for size in (-0.2, 0.2):
            for centre in (-1.0, 0.0, 1.5):
                other = best + size * torch.exp(-(((x - centre) / width) ** 2))
                if isinstance(case.objective, EBGAN):
                    other = other.clamp(max=0)  # an energy is never below 0
                if isinstance(case.objective, TotalVariation):
                    other = (best + 200 * (other - best)) / 20
                assert float(loss_of(case.objective, other, p, q)) > least


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_training_finds_the_best_discriminator(case: Case) -> None:
    """A free logit in every cell of a grid, trained from 0: within 0.05 where both p and q matter."""
    x, p, q = laws(340)
    as_logits: Callable[[Tensor], Tensor] = (lambda v: -v.abs()) if isinstance(case.objective, EBGAN) else lambda v: v
    values = trained(lambda v: loss_of(case.objective, as_logits(v), p, q), torch.full_like(x, 0.01))
    logits, best = as_logits(values), case.best(0.5 - x)
    assert float(loss_of(case.objective, logits, p, q)) == pytest.approx(case.least, abs=2e-3)
    if isinstance(case.objective, TotalVariation):
        logits, best = logits.tanh(), best.tanh()  # D* is infinite, T is not
    both_matter = (torch.minimum(p, q) / (x[1] - x[0]) > 0.02) & ((x - 0.5).abs() > 0.01)
    assert int(both_matter.sum()) > 50
    assert float((logits - best)[both_matter].abs().max()) < 0.05


@pytest.mark.parametrize(
    ("mu", "value"), [(0.5, -1.325672), (2.0, -0.712633), (3.0, -0.332740), (0.0, -2 * math.log(2))]
)
def test_value_of_the_minimax_game(mu: float, value: float) -> None:
    """V(D*) = 2 JSD - 2 ln 2."""
    x, p, q = laws(17_000, mu)
    assert float(-loss_of(Minimax(), mu**2 / 2 - mu * x, p, q)) == pytest.approx(value, abs=2e-6)


def test_relativistic_finds_the_log_ratio_and_the_least_loss() -> None:
    """ln 2 - JSD(p⊗q, q⊗p): with s = G(z) - x ~ N(1, 2), that is E softplus(-s)."""
    x, p, q = laws(85)
    weights = p[:, None] * q

    def loss(values: Tensor) -> Tensor:
        return (weights * Relativistic().discriminator(values[:, None], values)).sum()

    values = trained(loss, torch.zeros_like(x))
    both_matter = torch.minimum(p, q) / (x[1] - x[0]) > 0.02
    error = (values - (0.5 - x))[both_matter]
    assert float(error.max() - error.min()) < 0.05, "up to a constant"
    expected = quad(lambda s: norm.pdf(s, 1, math.sqrt(2)) * math.log1p(math.exp(-s)), -12, 14)[0]
    assert expected == pytest.approx(0.4918, abs=5e-5)
    assert float(loss(values)) == pytest.approx(expected, abs=1e-4)


def distance(reals: tuple[float, float], fakes: tuple[float, float]) -> float:
    """What a Wasserstein critic reaches whose slope is tanh of a free value in every cell."""
    x = torch.linspace(-9, 9, 361, dtype=torch.float64)
    p, q = (torch.exp(-(((x - m) / s) ** 2) / 2) for m, s in (reals, fakes))
    p, q = p / p.sum(), q / q.sum()

    def loss(slopes: Tensor) -> Tensor:
        return loss_of(Wasserstein(), slopes.tanh().cumsum(0) * 0.05, p, q)

    return -float(loss(trained(loss, torch.full_like(x, 0.01))))


def test_a_critic_of_slope_at_most_one_measures_the_wasserstein_distance() -> None:
    assert distance((0, 1), (1.5, 1)) == pytest.approx(1.5, abs=1e-4)
    assert distance((0.5, 1), (-0.5, 1)) == pytest.approx(1.0, abs=1e-4)
    assert distance((0, 1.5), (0, 0.5)) == pytest.approx(0.797885 * 1.0, abs=2e-3)


def counts(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """A grid where both laws matter, and how often each of its points is in a batch of about n."""
    x = torch.linspace(-1.5, 2.5, 21, dtype=torch.float64)
    p, q = (torch.exp(-((x - m) ** 2) / 2) for m in (0.0, 1.0))
    return x, (p / p.sum() * n).round().long(), (q / q.sum() * n).round().long()


@pytest.mark.parametrize(
    ("objective", "best"),
    [(SoftmaxGAN(), lambda p, q: (p / (p + q)).log()), (DualContrastive(), lambda p, q: (p / q).log())],
)
def test_training_on_whole_batches_finds_the_best(
    objective: Objective, best: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Up to a constant, for batches in which each point of a grid is as often as it is likely."""
    x, reals, fakes = counts(2000)

    def loss(values: Tensor) -> Tensor:
        return objective.discriminator(values.repeat_interleave(reals), values.repeat_interleave(fakes)).mean()

    values = trained(loss, torch.zeros_like(x), steps=120)
    error = values - best(reals / reals.sum(), fakes / fakes.sum())
    assert float(error.max() - error.min()) < 0.05


def quantiles(count: int) -> Tensor:
    """N(0, 1) as a batch without chance."""
    return torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)


def test_values_of_whole_batches() -> None:
    """Softmax GAN leaves -E_p log p/(p + q), half of the minimax loss here; dual contrastive falls short of 2 log B by
    both KL divergences, mu² together."""
    z = quantiles(20_000)
    real, fake = 0.5 - z, 0.5 - (z + 1)
    soft = SoftmaxGAN().discriminator(real - real.exp().log1p(), fake - fake.exp().log1p()).mean()
    assert float(soft) == pytest.approx(1.163451 / 2, abs=1e-3)
    real, fake = 0.125 - 0.5 * z, 0.125 - 0.5 * (z + 0.5)
    dual = DualContrastive().discriminator(real, fake).mean() - 2 * math.log(len(z))
    assert float(dual) == pytest.approx(-0.25, abs=1e-3)


SMOOTH = [case for case in CASES if not isinstance(case.objective, Hinge | TotalVariation | EBGAN)]
RATIOS = [
    *SMOOTH,
    *(Case(o, lambda r: r, 0.0) for o in (Relativistic(), RelativisticAverage(), DualContrastive(), Wasserstein())),
    Case(SoftmaxGAN(), lambda r: r - r.exp().log1p(), 0.0),
    Case(KL(saturating=True), lambda r: 1 + r, 0.0),
    Case(Pearson(saturating=True), lambda r: 2 * r.expm1(), 0.0),
]


@pytest.mark.parametrize("case", RATIOS, ids=[type(case.objective).__name__ for case in RATIOS])
def test_the_best_discriminator_leads_the_generator_to_the_data(case: Case) -> None:
    """G makes N(m, 1). Against D* its loss falls towards m = 0, from both sides, and there it has no slope."""
    z = quantiles(500)
    fake_z = z[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    for mu in (0.7, 0.0, -0.7):
        m = torch.tensor(mu, dtype=torch.float64, requires_grad=True)
        real, fake = (case.best(mu**2 / 2 - mu * x) for x in (z, fake_z + m))
        (slope,) = torch.autograd.grad(case.objective.generator(real, fake).mean(), m)
        assert float(slope.sign()) == math.copysign(1, mu) * (mu != 0)
