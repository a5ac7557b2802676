"""What keeps the players in bounds by a term of their losses: one file for each idea."""

from sparring.games.penalties.r1_r2 import R1, R2
from sparring.games.penalties.wgan_gp import WGANGP

__all__ = ["R1", "R2", "WGANGP"]
