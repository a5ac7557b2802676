"""What the players want: pure, unreduced losses on logits. One file per idea; each class says when to take it."""

from sparring.games.objectives.boundary_equilibrium import BEGAN
from sparring.games.objectives.boundary_seeking import BoundarySeeking
from sparring.games.objectives.divergences import (
    KL,
    FDivergence,
    JensenShannon,
    Pearson,
    ReverseKL,
    SquaredHellinger,
    TotalVariation,
)
from sparring.games.objectives.dual_contrastive import DualContrastive
from sparring.games.objectives.energy import EBGAN
from sparring.games.objectives.hinge import Hinge
from sparring.games.objectives.labels import FlippedLabels, NoisyLabels, OneSidedSmoothing
from sparring.games.objectives.least_squares import LeastSquares
from sparring.games.objectives.margin_adaptation import MAGAN
from sparring.games.objectives.minimax import Minimax, NonSaturating
from sparring.games.objectives.relativistic import Relativistic, RelativisticAverage
from sparring.games.objectives.softmax import SoftmaxGAN
from sparring.games.objectives.unpaired import Unpaired
from sparring.games.objectives.wasserstein import Wasserstein

__all__ = [
    "BEGAN",
    "EBGAN",
    "KL",
    "MAGAN",
    "BoundarySeeking",
    "DualContrastive",
    "FDivergence",
    "FlippedLabels",
    "Hinge",
    "JensenShannon",
    "LeastSquares",
    "Minimax",
    "NoisyLabels",
    "NonSaturating",
    "OneSidedSmoothing",
    "Pearson",
    "Relativistic",
    "RelativisticAverage",
    "ReverseKL",
    "SoftmaxGAN",
    "SquaredHellinger",
    "TotalVariation",
    "Unpaired",
    "Wasserstein",
]
