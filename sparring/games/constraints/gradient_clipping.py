"""Gradient clipping (Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks",
algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.game import Constraint


class GradientNorm(Constraint):
    """Before each move, all gradients of the player are made shorter together where they are longer than `most`.

    Against single steps that throw a player far out. Adam and RMSprop divide by the gradient's usual size anyway: there
    it takes effect only on a gradient that is unusual. Weakness: it hides what makes gradients explode.
    """

    most: float = 1.0

    def __post_init__(self) -> None:
        _check(self, self.most)

    def limit(self, gradients: Sequence[Tensor]) -> None:
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))
        torch._foreach_mul_(list(gradients), (self.most / length).clamp(max=1))


class GradientValue(Constraint):
    """Before each move, every entry g of the player's gradients becomes min(max(g, -most), most).

    Simpler than `GradientNorm`, and changes the direction of the step.
    """

    most: float = 1.0

    def __post_init__(self) -> None:
        _check(self, self.most)

    def limit(self, gradients: Sequence[Tensor]) -> None:
        torch._foreach_clamp_min_(list(gradients), -self.most)
        torch._foreach_clamp_max_(list(gradients), self.most)


def _check(constraint: Constraint, most: float) -> None:
    if not most > 0:
        raise RequestError(f"{type(constraint).__name__}: expected most > 0, found {most}")
