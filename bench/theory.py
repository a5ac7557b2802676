"""What two normal densities are worth in each game; and the Dirac-GAN predicted, simulated, and played by the library.

    python bench/theory.py --out docs/figures/theory.json

`values`: D's least loss, and the earth mover's distance, for N(0, 1) and N(mu, 1).
`moves`: predicted is the spectral radius of the linear map of a step at the equilibrium (`sparring.theory`), simulated
the slope of ln |(θ, ψ)| along a path of numpy's, played the same along a path of the library's own games, optimisers
and moves, with two networks of one parameter each. A minute on one thread.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sparring.core.exchange import START, Exchange
from sparring.core.protocols import Batch
from sparring.games.adversarial import Adversarial, Extragradient, Simultaneous
from sparring.games.objectives import Hinge, LeastSquares, Minimax, NonSaturating, Relativistic, Wasserstein
from sparring.games.penalties import R1, R2
from sparring.games.unrolled import Unrolled
from sparring.theory import (
    DIRAC_GAMES,
    Array,
    Field,
    Order,
    dirac,
    dirac_unrolled,
    hinge_loss,
    jacobian,
    least_squares_loss,
    measured_rate,
    minimax_value,
    normal,
    rate,
    relativistic_loss,
    simulate,
    wasserstein1,
)
from sparring.train.optimizers import SGD, OptimisticSGD, Optimizer
from sparring.train.phase import play
from sparring.train.player import Player

OBJECTIVES = {
    "minimax": Minimax(),
    "non-saturating": NonSaturating(),
    "wasserstein": Wasserstein(),
    "least squares": LeastSquares(a=-1.0, b=1.0, c=1.0),
    "hinge": Hinge(),
    "relativistic": Relativistic(),
}
LR = 0.1
STEPS = 3000
START_AT = (1e-9, 0.0)
"""Close to the equilibrium, where the linear map says all."""


class Point(nn.Module):
    """A generator that makes the point θ of any noise."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.theta.expand(len(z), 1)


class Line(nn.Module):
    """The discriminator D(x) = ψ x."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return (self.psi * x).sum(1)


def played(game: Adversarial, start: Sequence[float], steps: int, optimizer: Optimizer) -> Array:
    """The path [steps + 1, 2] of (θ, ψ) in the library's own hands; the data is the point 0."""
    nets = {"generator": Point(start[0]), "discriminator": Line(start[1])}
    players = {name: Player(net, optimizer, None) for name, net in nets.items()}
    zero = torch.zeros(1, 1, dtype=torch.float64)
    parameters = [parameter for net in nets.values() for parameter in net.parameters()]
    path = [[parameter.item() for parameter in parameters]]
    for step in range(steps):
        exchange = Exchange(nets, Batch(zero, None), lambda draw: zero, clock=START._replace(step=step))
        play(game.order, game.phases(), exchange, players, exchange.clock)
        path.append([parameter.item() for parameter in parameters])
    return np.array(path)


class Case(NamedTuple):
    """One row: a game, how it moves, what is known of its field, and the library's own of the same."""

    game: str
    more: str
    order: Order
    jacobian: Array
    field: Field
    own: Adversarial
    optimizer: Optimizer = SGD(lr=LR, momentum=0.0)


def cases() -> list[Case]:
    found = []
    for name, objective in OBJECTIVES.items():
        field = dirac(DIRAC_GAMES[name])
        slopes = jacobian(field, (0, 0))
        for order, game in (("simultaneous", Simultaneous), ("alternating", Adversarial)):
            found.append(Case(name, "", order, slopes, field, game(objective=objective)))
    field, own = dirac(DIRAC_GAMES["wasserstein"]), Wasserstein()
    slopes = jacobian(field, (0, 0))
    found.append(Case("wasserstein", "", "extragradient", slopes, field, Extragradient(objective=own)))
    optimistic = OptimisticSGD(lr=LR)
    found.append(Case("wasserstein", "", "optimistic", slopes, field, Simultaneous(objective=own), optimistic))
    ahead = dirac_unrolled(1.0, 5, 0.05)
    unrolled = Unrolled(objective=own, depth=5, lr=0.05)
    found.append(
        Case("wasserstein", "unrolled, 5 steps of 0.05", "alternating", ahead, lambda state: ahead @ state, unrolled)
    )
    for gamma in (0.3, 1.0, 3.0):
        field = dirac(DIRAC_GAMES["non-saturating"], r1=gamma)
        own_game = Simultaneous(objective=NonSaturating(), penalties=(R1(weight=gamma),))
        found.append(Case("non-saturating", f"R1, {gamma:g}", "simultaneous", jacobian(field, (0, 0)), field, own_game))
    for order, game in (("simultaneous", Simultaneous), ("alternating", Adversarial)):
        field = dirac(DIRAC_GAMES["relativistic"], r1=0.15, r2=0.15)
        penalties = (R1(weight=0.15), R2(weight=0.15))
        own_game = game(objective=Relativistic(), penalties=penalties)
        slopes = jacobian(field, (0, 0))
        found.append(Case("relativistic", "R1 and R2, 0.15 each", order, slopes, field, own_game))
    return found


def row(case: Case, steps: int = STEPS) -> dict[str, Any]:
    """The rates of one case: what the distance to the equilibrium is multiplied by in a step."""
    return {
        "game": case.game,
        "more": case.more,
        "order": case.order,
        "predicted": rate(case.jacobian, LR, case.order),
        "simulated": measured_rate(simulate(case.field, START_AT, LR, steps, case.order), steps // 2),
        "played": measured_rate(played(case.own, START_AT, steps, case.optimizer), steps // 2),
    }


def value(mu: float) -> dict[str, Any]:
    """What D's loss is at best between N(0, 1) and N(mu, 1), by game; for the Wasserstein game the distance."""
    x = np.linspace(-9, 13, 22_001)
    p, q, dx = normal(x), normal(x, mu), 0.001
    tenth = slice(None, None, 10)  # pairs take the square of the memory
    return {
        "mu": f"{mu:g}",
        "minimax": -minimax_value(p, q, dx),
        "relativistic": relativistic_loss(p[tenth], q[tenth], 10 * dx),
        "least squares": least_squares_loss(p, q, dx),
        "hinge": hinge_loss(p, q, dx),
        "wasserstein": wasserstein1(p, q, dx),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Predicted, simulated and played rates of the smallest games.")
    parser.add_argument("--out", type=Path, help="where to store the rows as JSON")
    options = parser.parse_args()
    values = [value(mu) for mu in (0.0, 0.5, 1.0, 2.0, 4.0)]
    moves = []
    for case in cases():
        moves.append(row(case))
        print("  ".join(f"{v:.5f}" if isinstance(v, float) else f"{v:<14}" for v in moves[-1].values()), flush=True)
    if options.out:
        options.out.write_text(json.dumps({"values": values, "moves": moves}, indent=1) + "\n")


if __name__ == "__main__":
    main()
