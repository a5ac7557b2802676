"""Games and their parts, all in one place: `from sparring.games import Adversarial, Hinge, R1`."""

from sparring.games import constraints, objectives, penalties, show
from sparring.games.adversarial import Adversarial, Extragradient, Simultaneous
from sparring.games.auxiliary import AuxiliaryClassifier
from sparring.games.constraints import *  # noqa: F403
from sparring.games.history import PastOpponents, Replay
from sparring.games.moves import Balanced, Moves, Pretrained, Switch
from sparring.games.objectives import *  # noqa: F403
from sparring.games.penalties import *  # noqa: F403
from sparring.games.priors import Coins, Gaussian, Uniform
from sparring.games.show import *  # noqa: F403
from sparring.games.unrolled import Unrolled

__all__ = [
    "Adversarial",
    "AuxiliaryClassifier",
    "Balanced",
    "Coins",
    "Extragradient",
    "Gaussian",
    "Moves",
    "PastOpponents",
    "Pretrained",
    "Replay",
    "Simultaneous",
    "Switch",
    "Uniform",
    "Unrolled",
]
__all__ += [*constraints.__all__, *objectives.__all__, *penalties.__all__, *show.__all__]
