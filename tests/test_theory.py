"""Closed forms against numbers from the papers and from algebra; and the library's own games against the theory."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from sparring.theory import (
    DIRAC_GAMES,
    F_DIVERGENCES,
    Array,
    Order,
    bilinear,
    bilinear_rate,
    dirac,
    dirac_eigenvalues,
    dirac_unrolled,
    hinge_loss,
    jacobian,
    js,
    kl,
    least_squares_loss,
    least_squares_value,
    measured_rate,
    minimax_value,
    normal,
    optimal_hinge,
    optimal_least_squares,
    optimal_logit,
    pearson,
    rate,
    relativistic_js,
    relativistic_loss,
    simulate,
    squared_hellinger,
    step_matrix,
    total_variation,
    wasserstein1,
)

ORDERS: tuple[Order, ...] = ("simultaneous", "alternating", "extragradient", "optimistic")
DX = 0.005
X = np.arange(-12, 15, DX)
COARSE_DX = 0.02
COARSE = np.arange(-8, 9, COARSE_DX)


def pair(mu: float, x: Array = X) -> tuple[Array, Array]:
    """The densities of N(0, 1) and N(mu, 1)."""
    return normal(x), normal(x, mu)


def softplus(t: Array) -> Array:
    return np.logaddexp(0, t)


@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0, 2.0])
def test_divergences_of_two_normals(mu: float) -> None:
    p, q = pair(mu)
    phi = math.erf(mu / 2 / math.sqrt(2))
    assert kl(p, q, DX) == pytest.approx(mu**2 / 2, abs=1e-9)
    assert pearson(p, q, DX) == pytest.approx(math.expm1(mu**2), abs=1e-9)
    assert squared_hellinger(p, q, DX) == pytest.approx(2 * (1 - math.exp(-(mu**2) / 8)), abs=1e-9)
    assert total_variation(p, q, DX) == pytest.approx(phi, abs=1e-5)
    assert wasserstein1(p, q, DX) == pytest.approx(mu, abs=1e-9)


def test_divergences_of_different_widths() -> None:
    """Neither symmetric nor a shift: KL(N(0, 1) ‖ N(0, s²)) = ln s + 1/(2s²) - 1/2, and W1 = √(2/π) |1 - s|."""
    p, q = normal(X), normal(X, 0.0, 1.5)
    assert kl(p, q, DX) == pytest.approx(math.log(1.5) + 1 / (2 * 1.5**2) - 0.5, abs=1e-9)
    assert kl(q, p, DX) == pytest.approx(-math.log(1.5) + 1.5**2 / 2 - 0.5, abs=1e-9)
    assert wasserstein1(p, q, DX) == pytest.approx(math.sqrt(2 / math.pi) * 0.5, abs=1e-5)


def test_where_densities_do_not_meet() -> None:
    p, q = np.where(X < 0, 1.0, 0.0) / 12, np.where(X >= 0, 1.0, 0.0) / 15
    p, q = p / p.sum() / DX, q / q.sum() / DX
    assert js(p, q, DX) == pytest.approx(math.log(2))
    assert minimax_value(p, q, DX) == pytest.approx(0, abs=1e-12)
    assert total_variation(p, q, DX) == pytest.approx(1)
    assert kl(p, q, DX) == math.inf


@pytest.mark.parametrize(
    ("mu", "value"), [(0.0, -1.386294), (0.5, -1.325672), (1.0, -1.163451), (2.0, -0.712633), (3.0, -0.332740)]
)
def test_the_game_s_value_and_its_discriminator(mu: float, value: float) -> None:
    """V(G, D*) = 2 JSD - 2 ln 2 is E ln D + E ln (1 - D) at the logit mu²/2 - mu x, and less at any other."""
    p, q = pair(mu)
    logit = optimal_logit(p, q)
    np.testing.assert_allclose(logit, mu**2 / 2 - mu * X, atol=1e-9)

    def worth(logit: Array) -> float:
        return float((-p * softplus(-logit) - q * softplus(logit)).sum() * DX)

    assert minimax_value(p, q, DX) == pytest.approx(value, abs=1e-6)
    assert worth(logit) == pytest.approx(value, abs=1e-6)
    for other in (logit + 0.1, 1.1 * logit + 0.01, logit + 0.2 * np.sin(X)):
        assert worth(other) < worth(logit)


def test_least_squares() -> None:
    p, q = pair(1.0)
    for a, b in ((0.0, 1.0), (-1.0, 1.0)):
        best = optimal_least_squares(p, q, a=a, b=b)

        def loss(d: Array, a: float = a, b: float = b) -> float:
            return float((p * (d - b) ** 2 + q * (d - a) ** 2).sum() * DX / 2)

        assert least_squares_loss(p, q, DX, a=a, b=b) == pytest.approx(loss(best))
        assert min(loss(best + 0.1), loss(best - 0.1), loss(best + 0.1 * np.sin(X))) > loss(best)
    assert 2 * least_squares_value(p, q, DX) == pytest.approx(pearson(2 * q, p + q, DX))
    assert least_squares_value(p, p, DX) == pytest.approx(0)


def test_hinge() -> None:
    p, q = pair(1.0)
    best = optimal_hinge(p, q)

    def loss(d: Array) -> float:
        return float((p * np.maximum(0, 1 - d) + q * np.maximum(0, 1 + d)).sum() * DX)

    assert hinge_loss(p, q, DX) == pytest.approx(1.234150, abs=1e-5)
    assert loss(best) == pytest.approx(hinge_loss(p, q, DX))
    assert min(loss(0.9 * best), loss(1.2 * best), loss(best + 0.3 * np.sin(X))) > loss(best)


def test_relativistic() -> None:
    """Its least loss is E softplus(-(D(x) - D(y))) at ln p/q, whatever is added to it, and more at any other D."""
    p, q = pair(1.0, COARSE)
    logit = optimal_logit(p, q)
    weights = np.outer(p, q) * COARSE_DX**2

    def loss(logit: Array) -> float:
        return float((weights * softplus(-(logit[:, None] - logit))).sum())

    # The differences of pairs are N(∓1, 2), as far apart as N(0, 1) and N(√2, 1).
    assert relativistic_loss(p, q, COARSE_DX) == pytest.approx(0.491802, abs=1e-6)
    assert relativistic_js(p, q, COARSE_DX) == pytest.approx(js(*pair(math.sqrt(2)), DX), abs=1e-9)
    assert loss(logit + 3.0) == pytest.approx(relativistic_loss(p, q, COARSE_DX))
    assert min(loss(1.1 * logit), loss(0.9 * logit), loss(logit + 0.2 * np.sin(COARSE))) > loss(logit)
    assert relativistic_loss(p, p, COARSE_DX) == pytest.approx(math.log(2))
    single = js(p, q, COARSE_DX)
    assert single < relativistic_js(p, q, COARSE_DX) < 2 * single


VALUES: dict[str, Callable[[Array, Array, float], float]] = {
    "kl": kl,
    "reverse_kl": lambda p, q, dx: kl(q, p, dx),
    "pearson": pearson,
    "squared_hellinger": squared_hellinger,
    "total_variation": total_variation,
    "jensen_shannon": lambda p, q, dx: 2 * js(p, q, dx),
}


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_f_divergences_and_their_bounds(name: str) -> None:
    divergence, (p, q) = F_DIVERGENCES[name], pair(1.0)
    inside = np.abs(X - 0.5) < 8  # so that the ratio is neither 0 nor infinite to rounding
    p, q = p[inside], q[inside]
    best = divergence.slope(p / q)
    value = divergence.value(p, q, DX)
    assert value == pytest.approx(VALUES[name](p, q, DX), rel=1e-6)
    assert divergence.bound(best, p, q, DX) == pytest.approx(value, rel=1e-6)
    # Nearer to T at equal densities is always in the domain of f*, and always less.
    equal = divergence.slope(np.full_like(best, 1.001))
    for share in (0.5, 0.9):
        assert divergence.bound(share * best + (1 - share) * equal, p, q, DX) < value


def test_f_gan_s_discriminators_at_two_normals() -> None:
    """At N(0, 1) and N(1, 1): T* = 1 + ln p/q for KL, 2 (p/q - 1) for Pearson."""
    p, q = pair(1.0)
    np.testing.assert_allclose(F_DIVERGENCES["kl"].slope(p / q), 1.5 - X, atol=1e-8)
    np.testing.assert_allclose(F_DIVERGENCES["pearson"].slope(p / q), 2 * np.expm1(0.5 - X), rtol=1e-8, atol=1e-8)


SLOPE = {
    "minimax": 0.5,
    "non-saturating": 0.5,
    "wasserstein": 1.0,
    "least squares": 1.0,
    "hinge": 1.0,
    "relativistic": 0.5,
}
CURVATURE = {
    "minimax": 0.25,
    "non-saturating": 0.25,
    "relativistic": 0.25,
    "wasserstein": 0.0,
    "least squares": 1.0,
    "hinge": 0.0,
}
"""-f''(0)."""


def same(found: Array, expected: tuple[complex, complex], *, abs: float) -> bool:
    return bool(np.allclose(np.sort_complex(found), np.sort_complex(np.array(expected)), rtol=0, atol=abs))


@pytest.mark.parametrize("name", DIRAC_GAMES)
def test_eigenvalues_of_the_dirac_gan(name: str) -> None:
    slope, game = SLOPE[name], DIRAC_GAMES[name]
    for more, damping in (
        ({}, 0.0),
        ({"r1": 0.3}, 0.3),
        ({"r2": 3.0}, 3.0),
        ({"r1": 0.3, "r2": 0.4}, 0.7),
        ({"noise": 0.25}, 2 * CURVATURE[name] * 0.25**2),
    ):
        found = np.linalg.eigvals(jacobian(dirac(game, **more), (0, 0)))
        assert same(found, dirac_eigenvalues(slope, damping), abs=1e-6)


def test_eigenvalues_as_published() -> None:
    """Mescheder et al. 2018: ±i f'(0), and -γ/2 ± √(γ²/4 - f'(0)²) with f'(0) = ½."""
    assert same(np.array([0.5j, -0.5j]), dirac_eigenvalues(), abs=1e-12)
    assert same(np.array([-0.15 + 0.477j, -0.15 - 0.477j]), dirac_eigenvalues(damping=0.3), abs=5e-4)
    assert same(np.array([-0.5, -0.5]), dirac_eigenvalues(damping=1.0), abs=1e-12)
    assert same(np.array([-0.0858, -2.914]), dirac_eigenvalues(damping=3.0), abs=5e-4)


@pytest.mark.parametrize(("gamma", "expected"), [(0.3, 0.9862), (1.0, 0.95), (3.0, 0.9914)])
def test_rates_with_r1(gamma: float, expected: float) -> None:
    field = dirac(DIRAC_GAMES["non-saturating"], r1=gamma)
    predicted = rate(jacobian(field, (0, 0)), 0.1, "simultaneous")
    assert predicted == pytest.approx(expected, abs=5e-5)
    found = measured_rate(simulate(field, (0.01, 0.0), 0.1, 4000, "simultaneous"), 2000)
    assert math.log(found) == pytest.approx(math.log(predicted), rel=0.01)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("more", [{"r1": 0.2}, {"r2": 0.5, "noise": 0.5}])
def test_predicted_rates_are_those_of_the_nonlinear_game(order: Order, more: dict[str, float]) -> None:
    field = dirac(DIRAC_GAMES["minimax"], nodes=8, **more)
    predicted = rate(jacobian(field, (0, 0)), 0.2, order)
    found = measured_rate(simulate(field, (0.01, 0.01), 0.2, 450, order), 50)
    assert predicted < 1
    assert math.log(found) == pytest.approx(math.log(predicted), rel=0.01)


def test_without_a_penalty_simultaneous_steps_spiral_out_and_alternating_ones_go_round() -> None:
    """√(1 + h²/4) in a step: 12.129 fold in 1,999 steps of h = 0.1."""
    field = dirac(DIRAC_GAMES["minimax"])
    away = np.linalg.norm(simulate(field, (0.01, 0.0), 0.1, 1999, "simultaneous"), axis=1)
    assert away[-1] / away[0] == pytest.approx(12.129, rel=2e-4)
    assert away[-1] / away[0] == pytest.approx((1 + 0.1**2 / 4) ** (1999 / 2), rel=2e-4)
    round_ = np.linalg.norm(simulate(field, (0.01, 0.0), 0.1, 2000, "alternating"), axis=1)
    assert 0.97 < round_.min() / round_[0] <= round_.max() / round_[0] < 1.03


def test_the_flow_of_the_minimax_game_keeps_its_distance() -> None:
    """θ² + ψ² is conserved far from the equilibrium too: steps 100 times smaller drift 100 times less."""
    field = dirac(DIRAC_GAMES["minimax"])
    drift = [
        np.linalg.norm(simulate(field, (1.0, 1.0), lr, round(3 / lr), "simultaneous")[-1]) / math.sqrt(2) - 1
        for lr in (0.1, 0.001)
    ]
    assert drift[0] > 0.01
    assert drift[1] == pytest.approx(drift[0] / 100, rel=0.05)


def test_a_gradient_penalty_about_1_does_not_come_to_rest_at_the_data() -> None:
    """WGAN-GP in small steps: from a point near the equilibrium it moves away; R1 brings the same start home."""
    game = DIRAC_GAMES["wasserstein"]
    start, lr, steps = (0.05, 0.05), 0.02, 3000
    apart = np.abs(simulate(dirac(game, wgan_gp=0.25), start, lr, steps, "alternating")[-1000:, 0])
    home = np.abs(simulate(dirac(game, r1=0.5), start, lr, steps, "alternating")[-1000:, 0])
    assert apart.max() > 0.4
    assert home.max() < 1e-3


@pytest.mark.parametrize("hc", [0.05, 0.3, 0.52, 0.9])
@pytest.mark.parametrize("order", ORDERS)
def test_rates_of_the_bilinear_game(order: Order, hc: float) -> None:
    """The closed form, the spectral radius and a path: the same, with the sign of growth that each is known for."""
    field = bilinear(c=2.0)
    expected = bilinear_rate(hc, order)
    assert rate(jacobian(field, (0, 0)), hc / 2, order) == pytest.approx(expected, rel=1e-9)
    found = measured_rate(simulate(field, (1e-3, 2e-3), hc / 2, 400, order), 100)
    assert math.log(found) == pytest.approx(math.log(expected), rel=0.01, abs=1e-4)
    inwards = {"extragradient": hc < 1, "optimistic": hc < 1 / math.sqrt(3)}.get(order, False)
    assert (expected < 1 - 1e-9) == inwards
    assert (expected > 1 + 1e-9) == (order == "simultaneous" or (order == "optimistic" and not inwards))


def test_alternating_steps_of_a_bilinear_game_leave_above_2() -> None:
    assert bilinear_rate(1.99, "alternating") == pytest.approx(1)
    assert bilinear_rate(2.2, "alternating") == pytest.approx(rate(jacobian(bilinear(), (0, 0)), 2.2, "alternating"))
    assert bilinear_rate(2.2, "alternating") > 2


def test_alternating_steps_of_three_players_keep_a_quadratic_form() -> None:
    """Between any number of players a step of a zero-sum game on pairs is an isometry: M' S M = S."""
    random = np.random.default_rng(0)
    skew = random.normal(size=(6, 6))
    skew = skew - skew.T
    for i in range(3):
        skew[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = 0
    step = step_matrix(skew, 0.05, "alternating", turns=((0, 1), (2, 3), (4, 5)))
    lower = np.tril(skew, -1) * 0.05
    form = np.eye(6) - (lower + lower.T) / 2
    np.testing.assert_allclose(step.T @ form @ step, form, atol=1e-12)
    assert np.linalg.eigvalsh(form).min() > 0


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "bench")
        importlib.import_module("bilinear")
        return importlib.import_module("theory")


@pytest.mark.parametrize("name", DIRAC_GAMES)
def test_slopes_are_those_of_the_library_s_objectives(bench: ModuleType, name: str) -> None:
    torch.manual_seed(0)
    real, fake = (3 * torch.randn(2, 50, dtype=torch.float64)).requires_grad_().unbind()
    own, known = bench.OBJECTIVES[name], DIRAC_GAMES[name]
    slopes = torch.autograd.grad(own.discriminator(real, fake).sum(), (real, fake))
    pull = torch.autograd.grad(own.generator(real, fake).sum(), fake)
    expected = [slope(real.detach().numpy(), fake.detach().numpy()) for slope in known]
    np.testing.assert_allclose([slope.numpy() for slope in (*slopes, *pull)], expected, atol=1e-12)


def test_the_library_s_own_games_move_as_the_theory_says(bench: ModuleType) -> None:
    """From far away, step by step: paths of all objectives, orders, penalties and of looking ahead."""
    for case in bench.cases():
        start = (0.6, -0.4)
        expected = simulate(case.field, start, bench.LR, 40, case.order)
        found = bench.played(case.own, start, 40, case.optimizer)
        np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=f"{case.game} {case.more} {case.order}")
        assert np.abs(expected[-1] - expected[0]).max() > 0.1


def test_the_library_s_own_rates(bench: ModuleType) -> None:
    """The spiral out without a penalty; the way home with R1, an extra gradient, optimism, and looking ahead."""
    wanted = {
        ("minimax", "", "simultaneous"): 1.001249,
        ("wasserstein", "", "extragradient"): 0.995038,
        ("wasserstein", "", "optimistic"): 0.994936,
        ("non-saturating", "R1, 0.3", "simultaneous"): 0.986154,
        ("non-saturating", "R1, 3", "simultaneous"): 0.991421,
        ("wasserstein", "unrolled, 5 steps of 0.05", "alternating"): 0.974679,
    }
    cases = {(case.game, case.more, case.order): case for case in bench.cases()}
    for name, predicted in wanted.items():
        case = cases[name]
        assert rate(case.jacobian, bench.LR, case.order) == pytest.approx(predicted, abs=1e-6)
        # The distance of an oval spiral swings, which takes some turns to even out.
        steps = 700 if case.more == "R1, 0.3" else 270
        found = measured_rate(bench.played(case.own, (1e-3, 0.0), steps, case.optimizer), 70)
        assert math.log(found) == pytest.approx(math.log(predicted), rel=0.01), name


@pytest.mark.parametrize("lr", [0.1, 0.3])
@pytest.mark.parametrize("order", ORDERS)
def test_the_bilinear_game_in_the_library_s_hands(bench: ModuleType, order: Order, lr: float) -> None:
    measured, predicted = importlib.import_module("bilinear").rates(order, lr, steps=120)
    assert math.log(measured) == pytest.approx(math.log(predicted), rel=0.01, abs=2e-4)


def test_looking_ahead_damps_what_alternating_steps_only_turn() -> None:
    """Damping 2 K η s² on the generator's side: eigenvalues as with a penalty of that weight on the discriminator's."""
    for slope in (0.5, 1.0):
        found = np.linalg.eigvals(dirac_unrolled(slope, 5, 0.05))
        assert same(found, dirac_eigenvalues(slope, 2 * 5 * 0.05 * slope**2), abs=1e-12)
    assert rate(dirac_unrolled(1.0, 0, 0.05), 0.1, "alternating") == pytest.approx(1)
    assert rate(dirac_unrolled(1.0, 5, 0.05), 0.1, "alternating") < 0.98
