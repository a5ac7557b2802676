"""What keeps the players in bounds by a term of their losses: one file for each idea."""

from sparring.games.penalties.consistency import BalancedConsistency, Consistency
from sparring.games.penalties.dragan import DRAGAN
from sparring.games.penalties.lecam import LeCam
from sparring.games.penalties.orthogonal import GeneratorOrthogonal, Orthogonal
from sparring.games.penalties.path_length import PathLength
from sparring.games.penalties.r1_r2 import R1, R1R2, R2
from sparring.games.penalties.self_reconstruction import SelfReconstruction
from sparring.games.penalties.wgan_div import WGANDiv
from sparring.games.penalties.wgan_gp import WGANGP
from sparring.games.penalties.zero_gp import ZeroGP

__all__ = [
    "DRAGAN",
    "R1",
    "R1R2",
    "R2",
    "WGANGP",
    "BalancedConsistency",
    "Consistency",
    "GeneratorOrthogonal",
    "LeCam",
    "Orthogonal",
    "PathLength",
    "SelfReconstruction",
    "WGANDiv",
    "ZeroGP",
]
