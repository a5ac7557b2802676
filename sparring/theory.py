"""What is known about these games without training anything: optimal discriminators, the divergences that they measure,
and how the smallest games move.

Densities are float64 arrays on an evenly spaced grid; an integral is a sum times the cell's width, which for smooth
densities that end on the grid is exact to rounding. Logarithms are natural, so information is in nats. Games are
systems of differential equations, z' = v(z), where every player goes down its own gradient.

Goodfellow et al. 2014 (value of the game), Nowozin et al. 2016 (f-GAN, tables 1 and 2), Mao et al. 2017 (least
squares), Lim and Ye 2017 (hinge), Arjovsky et al. 2017 (Wasserstein), Jolicoeur-Martineau 2019 and 2020 (relativistic),
Mescheder et al. 2018 (Dirac-GAN), Gidel et al. 2019 and Daskalakis et al. 2018 (bilinear game).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, rel_entr

Array = npt.NDArray[np.float64]


def normal(x: Array, mean: float = 0.0, std: float = 1.0) -> Array:
    """The density of N(mean, std²) at x."""
    return np.asarray(np.exp(-(((x - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi)), dtype=np.float64)


# Divergences of p from q, both [N] on a grid whose cells are `dx` wide.


def kl(p: Array, q: Array, dx: float) -> float:
    """KL(p ‖ q) = ∫ p ln p/q; infinite where q is 0 and p is not. `kl(q, p, dx)` is the reverse one.

    >>> x = np.linspace(-12, 13, 5001)
    >>> round(kl(normal(x), normal(x, 1.0), 0.005), 6)
    0.5
    """
    return float(rel_entr(p, q).sum() * dx)


def js(p: Array, q: Array, dx: float) -> float:
    """The Jensen-Shannon divergence, KL(p ‖ m)/2 + KL(q ‖ m)/2 with m = (p + q)/2: from 0 to ln 2."""
    m = (p + q) / 2
    return (kl(p, m, dx) + kl(q, m, dx)) / 2


def total_variation(p: Array, q: Array, dx: float) -> float:
    """∫ |p - q| / 2: from 0 to 1."""
    return float(np.abs(p - q).sum() * dx / 2)


def squared_hellinger(p: Array, q: Array, dx: float) -> float:
    """∫ (√p - √q)²: from 0 to 2, without the factor ½ that some put before it."""
    return float(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() * dx)


def pearson(p: Array, q: Array, dx: float) -> float:
    """Pearson's χ², ∫ (p - q)² / q; q is above 0 on the grid."""
    return float(((p - q) ** 2 / q).sum() * dx)


def wasserstein1(p: Array, q: Array, dx: float) -> float:
    """The earth mover's distance of densities on the line: ∫ |F_p - F_q|, with F the distribution functions."""
    return float(np.abs(np.cumsum(p - q)).sum() * dx**2)


def relativistic_js(p: Array, q: Array, dx: float) -> float:
    """JSD(p⊗q, q⊗p): how well pairs (x, y) tell which is the real one. Both above 0; it takes N² memory."""
    ahead = np.outer(p, q)
    return js(ahead, ahead.T, dx**2)


# What the best discriminator answers, and what the game is worth then.


def optimal_logit(p: Array, q: Array) -> Array:
    """ln p/q: of the minimax and the non-saturating game (Goodfellow et al. 2014, proposition 1), whose D = sigmoid of
    it is p / (p + q); and, up to a constant, of the relativistic ones. Both above 0.

    >>> optimal_logit(np.array([0.2, 0.5]), np.array([0.2, 0.25])).round(6).tolist()
    [0.0, 0.693147]
    """
    return np.log(p) - np.log(q)


def optimal_least_squares(p: Array, q: Array, *, a: float = 0.0, b: float = 1.0) -> Array:
    """(b p + a q) / (p + q): what is wanted of real samples is b, of fakes a (Mao et al. 2017, equation 4)."""
    return (b * p + a * q) / (p + q)


def optimal_hinge(p: Array, q: Array) -> Array:
    """sign(p - q) (Lim and Ye 2017)."""
    return np.sign(p - q)


def minimax_value(p: Array, q: Array, dx: float) -> float:
    """V(G, D*) = 2 JSD(p, q) - 2 ln 2 (Goodfellow et al. 2014, theorem 1); D's loss is minus this.

    >>> x = np.linspace(-12, 13, 5001)
    >>> round(minimax_value(normal(x), normal(x, 1.0), 0.005), 6)
    -1.163451
    """
    return 2 * js(p, q, dx) - 2 * math.log(2)


def least_squares_loss(p: Array, q: Array, dx: float, *, a: float = 0.0, b: float = 1.0) -> float:
    """D's least loss, E_p (D - b)²/2 + E_q (D - a)²/2 at D*: (b - a)²/2 · ∫ p q / (p + q)."""
    return (b - a) ** 2 / 2 * float((p * q / (p + q)).sum() * dx)


def least_squares_value(p: Array, q: Array, dx: float, *, a: float = -1.0, b: float = 1.0, c: float = 0.0) -> float:
    """What G minimises when D is D*: E_p (D* - c)²/2 + E_q (D* - c)²/2 (Mao et al. 2017, equation 5).

    With b - c = 1 and b - a = 2 it is ∫ (p - q)² / (p + q) / 2: half of Pearson's χ² of 2q from p + q (equation 7).
    """
    return float(((p + q) * (optimal_least_squares(p, q, a=a, b=b) - c) ** 2).sum() * dx / 2)


def hinge_loss(p: Array, q: Array, dx: float) -> float:
    """D's least loss, E_p max(0, 1 - D) + E_q max(0, 1 + D) at D*: 2 (1 - TV)."""
    return 2 * (1 - total_variation(p, q, dx))


def relativistic_loss(p: Array, q: Array, dx: float) -> float:
    """D's least loss, E softplus(-(D(x) - D(y))) over pairs x from p, y from q: ln 2 - JSD(p⊗q, q⊗p)."""
    return math.log(2) - relativistic_js(p, q, dx)


class FDivergence(NamedTuple):
    """∫ q f(p/q) of a convex f with f(1) = 0, as Nowozin et al. 2016 write it.

    For any function T of the samples E_p T - E_q f*(T) is a lower bound, which T* = f'(p/q) attains.
    """

    f: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    """T* as a function of the ratio p/q."""
    conjugate: Callable[[Array], Array]
    """f*(t) = sup_u (u t - f(u))."""

    def value(self, p: Array, q: Array, dx: float) -> float:
        """The divergence itself; q is above 0."""
        return float((q * self.f(p / q)).sum() * dx)

    def bound(self, t: Array, p: Array, q: Array, dx: float) -> float:
        """E_p T - E_q f*(T) for the values t [N] of any T on the grid."""
        return float((p * t - q * self.conjugate(t)).sum() * dx)


F_DIVERGENCES = {
    "kl": FDivergence(lambda u: u * np.log(u), lambda u: 1 + np.log(u), lambda t: np.exp(t - 1)),
    "reverse_kl": FDivergence(lambda u: -np.log(u), lambda u: -1 / u, lambda t: -1 - np.log(-t)),
    "pearson": FDivergence(lambda u: (u - 1) ** 2, lambda u: 2 * (u - 1), lambda t: t**2 / 4 + t),
    "squared_hellinger": FDivergence(
        lambda u: (np.sqrt(u) - 1) ** 2, lambda u: 1 - 1 / np.sqrt(u), lambda t: t / (1 - t)
    ),
    "total_variation": FDivergence(lambda u: np.abs(u - 1) / 2, lambda u: np.sign(u - 1) / 2, lambda t: t),
    # Twice the divergence of `js`, as in the paper's table 1.
    "jensen_shannon": FDivergence(
        lambda u: u * np.log(u) - (u + 1) * np.log((u + 1) / 2),
        lambda u: np.log(2 * u / (1 + u)),
        lambda t: -np.log(2 - np.exp(t)),
    ),
}
"""By name: KL, reverse KL, Pearson χ², squared Hellinger, total variation, Jensen-Shannon."""


# Motion: how a game's players move, in the large and in steps.

Field = Callable[[Array], Array]
"""The velocity v(z) [n] of all players' parameters z [n]: minus each one's gradient of its own loss."""
Order = Literal["simultaneous", "alternating", "extragradient", "optimistic"]
Turns = Sequence[Sequence[int]]
"""Which coordinates move at each turn of alternating steps, in order."""

D_FIRST: Turns = ((1,), (0,))
"""Of a state (θ, ψ): the discriminator's ψ, then the generator's θ."""


def jacobian(field: Field, at: Sequence[float], eps: float = 1e-5) -> Array:
    """∂v/∂z [n, n] by central differences, whose error is of order eps²."""
    z = np.asarray(at, dtype=np.float64)
    columns = [(field(z + step) - field(z - step)) / (2 * eps) for step in eps * np.eye(len(z))]
    return np.stack(columns, axis=1)


def step_matrix(jacobian: Array, lr: float, order: Order, turns: Turns = D_FIRST) -> Array:
    """The linear map of one step near an equilibrium, of the state [n]; of (z_t, z_{t-1}) [2n] for optimistic steps.

    With J the Jacobian and h the learning rate:

        simultaneous    I + hJ
        alternating     (I + hP_m J) ... (I + hP_1 J), P_i keeping the coordinates that move at turn i
        extragradient   I + hJ (I + hJ)
        optimistic      z_{t+1} = (I + 2hJ) z_t - hJ z_{t-1}
    """
    n, hJ = len(jacobian), lr * jacobian
    one = np.eye(n)
    if order == "simultaneous":
        return one + hJ
    if order == "extragradient":
        return one + hJ @ (one + hJ)
    if order == "optimistic":
        return np.block([[one + 2 * hJ, -hJ], [one, np.zeros((n, n))]])
    step = one
    for turn in turns:
        move = np.zeros((n, n))
        move[list(turn)] = hJ[list(turn)]
        step = (one + move) @ step
    return step


def rate(jacobian: Array, lr: float, order: Order, turns: Turns = D_FIRST) -> float:
    """By what the distance to the equilibrium is multiplied in a step, in the long run: the spectral radius.

    >>> circle = np.array([[0.0, 0.5], [-0.5, 0.0]])
    >>> [round(rate(circle, 0.1, order), 6) for order in ("simultaneous", "alternating", "extragradient")]
    [1.001249, 1.0, 0.998752]
    """
    return float(np.abs(np.linalg.eigvals(step_matrix(jacobian, lr, order, turns))).max())


def simulate(
    field: Field, start: Sequence[float], lr: float, steps: int, order: Order, turns: Turns = D_FIRST
) -> Array:
    """The path [steps + 1, n] of all parameters. Optimistic steps take 0 for the gradient before the first."""
    z = np.asarray(start, dtype=np.float64)
    path, before = [z], np.zeros_like(z)
    for _ in range(steps):
        if order == "alternating":
            for turn in turns:
                moved = z.copy()
                moved[list(turn)] += lr * field(z)[list(turn)]
                z = moved
        elif order == "extragradient":
            z = z + lr * field(z + lr * field(z))
        elif order == "optimistic":
            now = field(z)
            z, before = z + lr * (2 * now - before), now
        else:
            z = z + lr * field(z)
        path.append(z)
    return np.stack(path)


def measured_rate(path: Array, skip: int) -> float:
    """By what the distance to 0 was multiplied in a step of a path [T, n]: the slope of ln |z| after `skip` steps.

    The slope of the best line, not of the ends: a spiral is not round, so the distance swings within each turn.
    """
    distance = np.log(np.linalg.norm(path[skip:], axis=1))
    return float(np.exp(np.polyfit(np.arange(len(distance)), distance, 1)[0]))


# The Dirac-GAN (Mescheder et al. 2018, section 2): the data is the point 0, the generator makes the point θ, and the
# discriminator is D(x) = ψ x. The state is (θ, ψ).


class Slopes(NamedTuple):
    """A game as the derivatives of its losses in the logits r of a real and f of a fake sample."""

    real: Callable[[Array, Array], Array]
    """∂L_D/∂r."""
    fake: Callable[[Array, Array], Array]
    """∂L_D/∂f."""
    generator: Callable[[Array, Array], Array]
    """∂L_G/∂f."""


def _least_squares(a: float, b: float, c: float) -> Slopes:
    return Slopes(lambda r, f: r - b, lambda r, f: f - a, lambda r, f: f - c)


DIRAC_GAMES = {
    "minimax": Slopes(lambda r, f: -expit(-r), lambda r, f: expit(f), lambda r, f: -expit(f)),
    "non-saturating": Slopes(lambda r, f: -expit(-r), lambda r, f: expit(f), lambda r, f: -expit(-f)),
    "wasserstein": Slopes(lambda r, f: -np.ones_like(r), lambda r, f: np.ones_like(f), lambda r, f: -np.ones_like(f)),
    # Labels on both sides of 0: ψ x has no constant term, with which D could say ½ of the point 0.
    "least squares": _least_squares(-1.0, 1.0, 1.0),
    "hinge": Slopes(
        lambda r, f: -np.asarray(r < 1, dtype=np.float64),
        lambda r, f: np.asarray(f > -1, dtype=np.float64),
        lambda r, f: -np.ones_like(f),
    ),
    "relativistic": Slopes(lambda r, f: -expit(f - r), lambda r, f: expit(f - r), lambda r, f: -expit(r - f)),
}
"""By name. Least squares with a = -1, b = c = 1."""


def dirac(
    game: Slopes, *, r1: float = 0.0, r2: float = 0.0, wgan_gp: float = 0.0, noise: float = 0.0, nodes: int = 24
) -> Field:
    """The field of the Dirac-GAN, of a state (θ, ψ).

        θ' = -E ∂L_G/∂f · ψ
        ψ' = -E (∂L_D/∂r · x + ∂L_D/∂f · y) - (r1 + r2) ψ - 2 wgan_gp (|ψ| - 1) sign ψ

    with real x = 0 and fake y = θ, r = ψx, f = ψy; `r1` and `r2` are γ of γ/2 |∇D|², `wgan_gp` is λ of λ (|∇D| - 1)².
    Instance noise of standard deviation `noise` is added to both samples, and the expectation taken by Gauss-Hermite
    quadrature with `nodes` points for each.
    """
    at, weight = np.polynomial.hermite_e.hermegauss(nodes if noise else 1)
    weights = np.outer(weight, weight) / weight.sum() ** 2
    x, shift = noise * at[:, None], noise * at[None, :]

    def field(state: Array) -> Array:
        theta, psi = state
        y = theta + shift
        r, f = np.broadcast_arrays(psi * x, psi * y)
        pull = weights * game.generator(r, f)
        push = weights * (game.real(r, f) * x + game.fake(r, f) * y)
        bound = (r1 + r2) * psi + 2 * wgan_gp * (abs(psi) - 1) * np.sign(psi)
        return np.array([-pull.sum() * psi, -push.sum() - bound])

    return field


def dirac_eigenvalues(slope: float = 0.5, damping: float = 0.0) -> tuple[complex, complex]:
    """-c/2 ± √(c²/4 - s²): of the Jacobian at (0, 0), of the Dirac-GAN whose losses have slope s = f'(0) there.

    s is ½ for logistic losses and 1 for the Wasserstein, the hinge and the least-squares game. The damping c is 0
    without a penalty, γ of R1 or R2 (with both, their sum; Mescheder et al. 2018, lemmas 2.3 and 4.1), -2 f''(0) σ²
    with instance noise (lemma 3.2), and 2 K η s² when K steps of rate η are unrolled.

    >>> dirac_eigenvalues(damping=1.0)
    ((-0.5+0j), (-0.5+0j))
    """
    root = cmath.sqrt(damping**2 / 4 - slope**2)
    return -damping / 2 + root, -damping / 2 - root


def dirac_unrolled(slope: float, depth: int, lr: float) -> Array:
    """The Jacobian [2, 2] at (0, 0) of the Dirac-GAN whose generator looks `depth` steps of rate `lr` ahead.

    Near 0, ψ_K = ψ - K η s θ; the generator goes down the gradient of -s ψ_K θ, which is -s ψ + 2 K η s² θ.
    """
    return np.array([[-2 * depth * lr * slope**2, slope], [-slope, 0.0]])


# The bilinear game min_x max_y c x y.


def bilinear(c: float = 1.0) -> Field:
    """x' = -c y, y' = c x, of a state (x, y): rotation about (0, 0)."""
    return lambda state: np.array([-c * state[1], c * state[0]])


def bilinear_rate(hc: float, order: Order) -> float:
    """By what the distance to (0, 0) is multiplied in a step, with hc the learning rate times c.

        simultaneous    √(1 + h²c²): outwards, always
        alternating     1 up to hc = 2: round and round
        extragradient   √(1 - h²c² + h⁴c⁴): inwards below hc = 1
        optimistic      |1 + 2ihc + √(1 - 4h²c²)| / 2: inwards below hc = 1/√3

    >>> round(bilinear_rate(0.1, "optimistic"), 6)
    0.994936
    """
    if order == "simultaneous":
        return math.sqrt(1 + hc**2)
    if order == "extragradient":
        return math.sqrt(1 - hc**2 + hc**4)
    if order == "optimistic":
        return abs(1 + 2j * hc + cmath.sqrt(1 - 4 * hc**2)) / 2
    middle = 1 - hc**2 / 2
    return max(abs(middle + sign * cmath.sqrt(middle**2 - 1)) for sign in (1, -1))
