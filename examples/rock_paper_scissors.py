"""Three players of rock, paper, scissors: plain gradient steps go round for ever, looking ahead brings peace.

    python examples/rock_paper_scissors.py

Each player is a network of its own (three logits, a mixed strategy), with an optimiser and a loss of its own: it plays
against both others, and its loss is what it can expect to lose. Nobody can gain any more when all play each hand one
time in three, and only then. Under alternating steps the players chase each other around that point; when each plays
against the others as they would be a few steps later (unrolling, Metz et al. 2017), they end there.
"""

import torch
from torch import Tensor, nn

from sparring.core.exchange import START, Exchange
from sparring.core.game import Game, Phase
from sparring.core.protocols import Batch
from sparring.games.unrolled import unroll
from sparring.train.optimizers import SGD
from sparring.train.phase import play
from sparring.train.player import Player

NAMES = ("Ann", "Bob", "Cem")
WIN = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
"""What a hand (row: rock, paper, scissors) wins against another (column)."""


class Strategy(nn.Module):
    """How often a player shows each hand."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self) -> Tensor:
        return self.logits.softmax(0)


class RockPaperScissors(Game):
    """Everybody plays against everybody else, as the others would be after `depth` more steps at rate `lr`."""

    depth: int = 0
    lr: float = 1.0

    def phases(self) -> tuple[Phase, ...]:
        return tuple(Phase(name, name, lambda exchange, name=name: self.loss(exchange, name)) for name in NAMES)

    def loss(self, exchange: Exchange, name: str) -> Tensor:
        logits = {player: exchange.nets[player].logits for player in NAMES}

        def losses(others: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
            now = logits | {other: weights["logits"] for other, weights in others.items()}
            return {player: lost(player, now) for player in NAMES}

        others = unroll(losses, {n: {"logits": logits[n]} for n in NAMES if n != name}, self.depth, self.lr)
        return losses(others)[name]


def lost(name: str, logits: dict[str, Tensor]) -> Tensor:
    """What a player can expect to lose [] against the two others."""
    shown = {player: each.softmax(0) for player, each in logits.items()}
    return -sum(shown[name] @ WIN @ shown[other] for other in NAMES if other != name)


def distances(game: Game, steps: int, lr: float = 1.0) -> list[float]:
    """After each step the largest distance of a player's strategy from (1/3, 1/3, 1/3)."""
    starts = ([0.6, 0.0, -0.6], [-0.3, 0.5, -0.2], [0.0, -0.4, 0.4])
    nets = {name: Strategy(logits) for name, logits in zip(NAMES, starts, strict=True)}
    players = {name: Player(net, SGD(lr=lr, momentum=0.0), None) for name, net in nets.items()}
    nothing = torch.empty(0)
    exchange = Exchange(nets, Batch(nothing, None), lambda draw: nothing)
    found = []
    for _ in range(steps):
        play(game.order, game.phases(), exchange, players, START)
        with torch.no_grad():
            found.append(max(float((net() - 1 / 3).norm()) for net in nets.values()))
    return found


def main() -> None:
    steps = 300
    plain, ahead = (distances(RockPaperScissors(depth=depth), steps) for depth in (0, 5))
    print("distance from (1/3, 1/3, 1/3)\n  step   alternating   looking 5 steps ahead")
    for step in range(0, steps, 25):
        print(f"{step + 1:6}{plain[step]:14.4f}{ahead[step]:24.6f}")
    print(f"{steps:6}{plain[-1]:14.4f}{ahead[-1]:24.6f}")


if __name__ == "__main__":
    main()
