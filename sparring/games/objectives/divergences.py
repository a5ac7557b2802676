"""f-GAN (Nowozin, Cseke and Tomioka 2016, "f-GAN", equations 6 and 7 and tables 2 and 6).

For convex f with f(1) = 0 and conjugate f*(t) = sup_u (u t - f(u)), the divergence D_f(p, q) = E_q f(p/q) is the
largest E_p T - E_q f*(T) over all functions T; the best is T* = f'(p/q), and any other gives less. D's logit v becomes
T = g_f(v) by an activation whose range is where f* is finite.

Some of these need exp(v). Beyond v = 20 its tangent stands in for it, so losses and slopes stay finite. That is the
conjugate of the same f on density ratios up to e^20: what D can bet on one sample has a limit, and the bound holds
wherever no ratio is above it.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import relu, softplus

from sparring.games.objectives.unpaired import Unpaired


class FDivergence(Unpaired):
    """D minimises f*(T) of fakes minus T of real samples: minus that loss is a lower bound of D_f(p, q).

    G maximises T of its fakes (section 3.2, the counterpart of `NonSaturating`), or, `saturating`, minimises the bound
    itself, that is -f*(T): the divergence as it is, but, of all except `ReverseKL`, without a slope where D is sure of
    the fakes.
    """

    saturating: bool = False

    def activation(self, logits: Tensor) -> Tensor:
        """T = g_f(v) [B] of logits v [B]."""
        raise NotImplementedError(f"{type(self).__name__} must define activation()")

    def conjugate(self, logits: Tensor) -> Tensor:
        """f*(g_f(v)) [B] of logits v [B], simplified where the composition allows it."""
        raise NotImplementedError(f"{type(self).__name__} must define conjugate()")

    def real(self, logits: Tensor) -> Tensor:
        return -self.activation(logits)

    def fake(self, logits: Tensor) -> Tensor:
        return self.conjugate(logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -self.conjugate(fake_logits) if self.saturating else -self.activation(fake_logits)


class KL(FDivergence):
    """Kullback-Leibler, E_p log(p/q): f(u) = u log u, T = v, f*(t) = exp(t - 1).

    T* = 1 + log(p/q), so undecided is a logit of 1. Take it to cover all of the data: it is infinite where q leaves
    something out. D's loss is exponential in its logits, so it is noisy and wants small steps.
    """

    def activation(self, logits: Tensor) -> Tensor:
        return logits

    def conjugate(self, logits: Tensor) -> Tensor:
        return _exp(logits - 1)


class ReverseKL(FDivergence):
    """Reverse Kullback-Leibler, E_q log(q/p): f(u) = -log u, T = -exp(-v), f*(t) = -1 - log(-t).

    T* = -q/p, a logit of log(p/q). Take it for likely samples rather than all kinds: it is infinite where q makes what
    p does not have, and leaving something out is cheap. Real samples weigh exponentially where D is wrong, and to G,
    unless it is `saturating`, its fakes do where D is right.
    """

    def activation(self, logits: Tensor) -> Tensor:
        return -_exp(-logits)

    def conjugate(self, logits: Tensor) -> Tensor:
        return logits - 1


class Pearson(FDivergence):
    """Pearson χ², E_q (p/q - 1)²: f(u) = (u - 1)², T = v, f*(t) = t²/4 + t.

    T* = 2 (p/q - 1), so undecided is a logit of 0. A quadratic loss of D, as in `LeastSquares`, with the true
    divergence as its bound. The ratio itself is fitted, so few samples where p is many times q decide.

    This f* is the paper's. As no ratio is below 0, the least that f* can be is -1, from T = -2 downwards. D keeps the
    whole parabola, which draws it back to T >= -2; the `saturating` G would there be led away from the data, so it has
    the constant.
    """

    def activation(self, logits: Tensor) -> Tensor:
        return logits

    def conjugate(self, logits: Tensor) -> Tensor:
        return logits.square() / 4 + logits

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return super().generator(real_logits, fake_logits.clamp(min=-2) if self.saturating else fake_logits)


class SquaredHellinger(FDivergence):
    """Squared Hellinger, ∫ (√p - √q)²: f(u) = (√u - 1)², T = 1 - exp(-v), f*(t) = t/(1 - t).

    T* = 1 - √(q/p), a logit of log(p/q)/2. Between 0 and 2, symmetric, and finite for any p and q: between the two
    KL divergences in what it forgives. D's loss is exponential in its logits on both sides, and so is G's where D is
    sure of the fakes, unless it is `saturating`.
    """

    def activation(self, logits: Tensor) -> Tensor:
        return 1 - _exp(-logits)

    def conjugate(self, logits: Tensor) -> Tensor:
        return _exp(logits) - 1


class TotalVariation(FDivergence):
    """Total variation, ∫ |p - q|/2: f(u) = |u - 1|/2, T = tanh(v)/2, f*(t) = t for |t| <= 1/2.

    T* = sign(p - q)/2, at infinite logits. Both players' gradients vanish where D is sure, right or wrong; take it to
    see that, or where outliers must not count: no sample weighs more than 1/2.
    """

    def activation(self, logits: Tensor) -> Tensor:
        return logits.tanh() / 2

    def conjugate(self, logits: Tensor) -> Tensor:
        return logits.tanh() / 2


class JensenShannon(FDivergence):
    """Twice the Jensen-Shannon divergence: f(u) = u log u - (u + 1) log((u + 1)/2), T = log 2 - softplus(-v),
    f*(t) = -log(2 - exp(t)).

    T* = log(2 p/(p + q)), a logit of log(p/q). The game of `Minimax` and `NonSaturating`, moved so that the bound is 0
    where p = q; take it to read the divergence off the loss.
    """

    def activation(self, logits: Tensor) -> Tensor:
        return math.log(2) - softplus(-logits)

    def conjugate(self, logits: Tensor) -> Tensor:
        return softplus(logits) - math.log(2)


def _exp(v: Tensor) -> Tensor:
    """exp(v), and its tangent beyond v = 20."""
    return v.clamp(max=20).exp() * (1 + relu(v - 20))
