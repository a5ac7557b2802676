"""Who moves when, in which order, and that a memory survives a stop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Exchange, Memory, Seen
from sparring.core.game import Objective
from sparring.core.protocols import Batch, DataSpec
from sparring.games.adversarial import Adversarial, Extragradient, Simultaneous
from sparring.games.moves import Balanced, Moves, Pretrained, Switch, share_in_order
from sparring.games.objectives import NonSaturating, Relativistic, Wasserstein
from sparring.train.optimizers import SGD
from sparring.train.phase import play
from sparring.train.player import Player

DATA = DataSpec(name="line", shape=(1,), levels=0)


class Scalar(nn.Module):
    """x · w: a Dirac generator of noise that is 1, or the discriminator of Dirac-GAN."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return (x * self.w).flatten()


class Point(Scalar):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x * self.w


def dirac(game: Adversarial, steps: int, lr: float = 0.1) -> list[tuple[float, float]]:
    """(θ, ψ) of G(z) = θ and D(x) = ψ x against a real sample at 0, after each step of plain gradient descent."""
    nets: dict[str, nn.Module] = {"generator": Point(1.0), "discriminator": Scalar(0.5)}
    players = {name: Player(net, SGD(lr=lr, momentum=0.0), None) for name, net in nets.items()}
    one, real = torch.ones(1, 1, dtype=torch.float64), Batch(torch.zeros(1, 1, dtype=torch.float64), None)
    memory = game.start(DATA, nets)
    path = []
    for step in range(steps):
        clock = START._replace(step=step)
        due = [phase for phase in game.phases() if phase.when(step, memory)]
        exchange = Exchange(nets, real, lambda _: one, clock=clock, memory=memory)
        play(game.order, due, exchange, players, clock)
        game.after(exchange)
        path.append((nets["generator"].w.item(), nets["discriminator"].w.item()))  # type: ignore[operator,union-attr]
    return path


def test_orders_of_the_bilinear_game_by_hand() -> None:
    """Wasserstein on Dirac-GAN: D lowers ψθ, G raises it; one step in each order against its own formula."""
    h, theta, psi = 0.1, 1.0, 0.5
    (alternating,) = dirac(Adversarial(objective=Wasserstein()), 1)
    after = psi - h * theta  # D minimises D(fake) - D(real) = ψ θ
    assert alternating == pytest.approx((theta + h * after, after))
    (simultaneous,) = dirac(Simultaneous(objective=Wasserstein()), 1)
    assert simultaneous == pytest.approx((theta + h * psi, psi - h * theta))
    (extra,) = dirac(Extragradient(objective=Wasserstein()), 1)
    ahead = theta + h * psi, psi - h * theta
    assert extra == pytest.approx((theta + h * ahead[1], psi - h * ahead[0]))


def test_growth_and_contraction_of_the_orders() -> None:
    """Per step: simultaneous √(1 + h²), extragradient √((1 − h²)² + h²), alternating bounded."""

    def norm(point: tuple[float, float]) -> float:
        return (point[0] ** 2 + point[1] ** 2) ** 0.5

    h, steps = 0.1, 200
    start = norm((1.0, 0.5))
    for game, rate in ((Simultaneous, (1 + h**2) ** 0.5), (Extragradient, ((1 - h**2) ** 2 + h**2) ** 0.5)):
        end = norm(dirac(game(objective=Wasserstein()), steps, h)[-1])
        assert (end / start) ** (1 / steps) == pytest.approx(rate, rel=1e-9)
    lengths = [norm(point) for point in dirac(Adversarial(objective=Wasserstein()), 2000, h)]
    assert 0.9 * start < min(lengths) <= max(lengths) < 1.1 * start


def due(moves: Moves, steps: int, **more: Any) -> str:
    """D, G, B (both) or - for each step."""
    game = Adversarial(moves=moves, **more)
    d, g = game.phases()
    memory = game.start(DATA, {})
    found = [(d.when(step, memory), g.when(step, memory)) for step in range(steps)]
    return "".join("B" if a and b else "D" if a else "G" if b else "-" for a, b in found)


def test_who_moves() -> None:
    assert due(Moves(), 4) == "BBBB"
    assert due(Moves(), 6, d_steps=3) == "DDBDDB"
    assert due(Pretrained(steps=3), 5) == "DDDBB"
    assert due(Switch(d=2, g=3), 10) == "DDGGGDDGGG"


def test_a_player_that_is_too_strong_waits_and_comes_back() -> None:
    moves = Balanced(low=0.55, high=0.9, window=4)
    memory = moves.memory(DATA)

    def turn(real: float, fake: float) -> tuple[bool, bool]:
        seen = [Seen(torch.zeros(8, 1), None, torch.full((8,), logit)) for logit in (real, fake)]
        moves.after(memory, *seen)
        return moves.discriminator(0, memory), moves.generator(0, memory)

    assert turn(0.0, 0.0) == (True, True)
    strong = [turn(1.0, -1.0) for _ in range(12)]
    assert strong[-1] == (False, True)
    assert float(memory["strength"]) > 0.9
    waits = 0
    while not moves.discriminator(0, memory):
        moves.waited(memory)
        waits += 1
    assert 1 <= waits <= 4
    weak = [turn(-1.0, 1.0) for _ in range(12)]
    assert weak[-1] == (True, False)


def test_strength_is_an_average_over_about_so_many_turns() -> None:
    """Of a discriminator that is always right, and then waits: each turn and each wait leaves 1 - 1/window of it."""
    moves = Balanced(low=0.6, high=0.8, window=10)
    memory = moves.memory(DATA)
    sure = [Seen(torch.zeros(8, 1), None, torch.full((8,), logit)) for logit in (1.0, -1.0)]
    for turn in range(1, 6):
        moves.after(memory, *sure)
        assert float(memory["strength"]) == pytest.approx(1 - 0.3 * 0.9**turn)
    for wait in range(1, 6):
        moves.waited(memory)
        assert float(memory["strength"]) == pytest.approx(0.5 + (0.5 - 0.3 * 0.9**5) * 0.9**wait)


def test_share_in_order_is_the_area_under_the_curve() -> None:
    real, fake = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.5, 1.0])
    by_hand = [(r > f) + (r == f) / 2 for r in real.tolist() for f in fake.tolist()]
    assert float(share_in_order(real, fake)) == pytest.approx(sum(by_hand) / 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pretrained(steps=-1), "Pretrained: expected steps >= 0, found -1"),
        (lambda: Switch(d=0), "Switch: expected d >= 1 and g >= 1, found 0 and 10"),
        (lambda: Balanced(low=0.9, high=0.8), "0.5 <= low < high <= 1"),
        (lambda: Simultaneous(g_steps=2), "Simultaneous moves both players at once"),
        (lambda: Extragradient(g_steps=3), "can't make 3 moves to one"),
        (
            lambda: Adversarial(objective=Relativistic(), generator_objective=NonSaturating()),
            "Relativistic judges pairs of a real and a fake sample and NonSaturating judges each alone",
        ),
    ],
)
def test_contradictions_are_refused_when_they_are_built(make: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make()


class Counts(Objective):
    """A discriminator's loss whose weight is the number of turns so far."""

    turns: float = 1.0

    def memory(self, data: DataSpec) -> Memory:
        return {"turns": torch.tensor(self.turns)}

    def after(self, memory: Memory, real: Seen, fake: Seen) -> None:
        memory["turns"] += 1

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self.turns * (fake_logits - real_logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -fake_logits


def test_what_a_part_remembers_is_there_in_the_next_step() -> None:
    """ψ falls by h · n · θ in turn n, with θ held: the sum of 1 + 2 + 3."""
    game = Adversarial(objective=Counts(), moves=Pretrained(steps=10))
    path = dirac(game, 3)
    assert [point[1] for point in path] == pytest.approx([0.4, 0.2, -0.1])
    assert all(point[0] == 1.0 for point in path)


def test_a_generator_that_wants_something_else() -> None:
    """Wasserstein's critic, non-saturating generator: dθ = h σ(−ψθ) ψ."""
    game = Adversarial(objective=Wasserstein(), generator_objective=NonSaturating())
    ((theta, psi),) = dirac(game, 1)
    assert psi == pytest.approx(0.4)
    assert theta == pytest.approx(1 + 0.1 * 0.4 * float(torch.sigmoid(torch.tensor(-0.4, dtype=torch.float64))))
