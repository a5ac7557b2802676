"""Bounds on a player that no loss expresses: on its gradients before it moves, on its weights afterwards."""

from sparring.games.constraints.gradient_clipping import GradientNorm, GradientValue
from sparring.games.constraints.weight_clipping import WeightClipping

__all__ = ["GradientNorm", "GradientValue", "WeightClipping"]
