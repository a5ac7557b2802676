"""What the players want: pure, unreduced losses on logits. One file per idea; each class says when to take it."""

from sparring.games.objectives.hinge import Hinge
from sparring.games.objectives.least_squares import LeastSquares
from sparring.games.objectives.minimax import Minimax, NonSaturating
from sparring.games.objectives.relativistic import Relativistic, RelativisticAverage
from sparring.games.objectives.unpaired import Unpaired
from sparring.games.objectives.wasserstein import Wasserstein

__all__ = [
    "Hinge",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "Relativistic",
    "RelativisticAverage",
    "Unpaired",
    "Wasserstein",
]
