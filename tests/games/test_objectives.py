from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sparring.core.game import Objective
from sparring.games.objectives import (
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    RelativisticAverage,
    Wasserstein,
)

LOGISTIC = [Minimax(), NonSaturating()]
ALL = [*LOGISTIC, LeastSquares(), Hinge(), Wasserstein(), Relativistic(), RelativisticAverage()]


def grid_densities(mu: float) -> tuple[Tensor, Tensor, Tensor, float]:
    """x on a grid, the densities of N(0, 1) and N(mu, 1), and the width of a cell."""
    x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    return x, normal.log_prob(x).exp(), normal.log_prob(x - mu).exp(), 24 / 24_000


@pytest.mark.parametrize(
    ("mu", "value"), [(0.5, -1.325672), (1.0, -1.163451), (2.0, -0.712633), (0.0, -2 * math.log(2))]
)
@pytest.mark.parametrize("objective", LOGISTIC)
def test_value_at_the_optimal_discriminator(objective: Objective, mu: float, value: float) -> None:
    """V(G, D*) = 2 JSD - 2 ln 2 for p = N(0, 1), q = N(mu, 1), where D*'s logit is mu²/2 - mu x."""
    x, p, q, cell = grid_densities(mu)
    logits = mu**2 / 2 - mu * x
    zero = torch.zeros_like(logits)
    # Each half alone: the loss at a logit of 0 for the other side is ln 2.
    real = objective.discriminator(logits, zero) - math.log(2)
    fake = objective.discriminator(zero, logits) - math.log(2)
    assert float((p * real + q * fake).sum() * cell) == pytest.approx(-value, abs=1e-5)


@pytest.mark.parametrize("objective", LOGISTIC)
def test_the_optimal_discriminator_is_stationary(objective: Objective) -> None:
    x, p, q, cell = grid_densities(1.0)
    logits = (0.5 - x).requires_grad_()
    zero = torch.zeros_like(x)
    loss = (p * objective.discriminator(logits, zero) + q * objective.discriminator(zero, logits)).sum() * cell
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(gradient.abs().max()) < 1e-12


def test_against_the_formula_with_probabilities() -> None:
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    for objective in LOGISTIC:
        torch.testing.assert_close(objective.discriminator(real, fake), -d_real.log() - (1 - d_fake).log())
    torch.testing.assert_close(Minimax().generator(fake, fake), (1 - d_fake).log())
    torch.testing.assert_close(NonSaturating().generator(fake, fake), -d_fake.log())


def test_gradient_ratio_of_the_two_generator_losses() -> None:
    """Non-saturating over saturating is (1 - D) / D: what the trick buys where D is sure."""
    fake = torch.randn(50, dtype=torch.float64, requires_grad=True)
    (saturating,) = torch.autograd.grad(Minimax().generator(fake, fake).sum(), fake)
    (other,) = torch.autograd.grad(NonSaturating().generator(fake, fake).sum(), fake)
    d = fake.detach().sigmoid()
    torch.testing.assert_close(other / saturating, (1 - d) / d)


@pytest.mark.parametrize("objective", ALL)
def test_finite_and_unreduced_at_extreme_logits(objective: Objective) -> None:
    logits = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], requires_grad=True)
    for loss in (objective.discriminator(logits, -logits), objective.generator(logits, logits)):
        assert loss.shape == logits.shape
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("objective", ALL)
def test_gradients_by_finite_differences(objective: Objective) -> None:
    real, fake = torch.randn(2, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(objective.discriminator, (real.requires_grad_(), fake.requires_grad_()))
    assert torch.autograd.gradcheck(objective.generator, (fake, fake))
