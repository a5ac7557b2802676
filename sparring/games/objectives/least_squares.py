"""LSGAN (Mao et al. 2017, "Least squares generative adversarial networks", equation 2)."""

from __future__ import annotations

from torch import Tensor

from sparring.core.errors import RequestError
from sparring.games.objectives.unpaired import Unpaired


class LeastSquares(Unpaired):
    """D minimises E (D(x) - b)²/2 + E (D(G(z)) - a)²/2, and G minimises E (D(G(z)) - c)²/2, with D the logit itself.

    D* = (b p + a q)/(p + q). The defaults are the paper's equation 9; with a = -1, b = 1, c = 0 (equation 8) G
    minimises ½ ∫ (p - q)²/(p + q), half of Pearson's χ² of 2 q from p + q, but for a term in which it has no say.
    Fakes that are far on D's right side are pulled back too, so the gradient does not vanish. Take it for a plain,
    steady loss without a penalty. D's outputs are no odds, and an outlying logit weighs as its square.
    """

    a: float = 0.0
    """What D wants of fakes."""
    b: float = 1.0
    """What D wants of real samples."""
    c: float = 1.0
    """What G wants D to say of fakes."""

    def __post_init__(self) -> None:
        middle = (self.a + self.b) / 2
        if not (self.a != self.b and (self.c - middle) * (self.b - self.a) >= 0):
            raise RequestError(
                "LeastSquares: expected a and b to differ and c to be their middle or on the side of b, as G would "
                f"else be led away from the data, found a={self.a}, b={self.b}, c={self.c}: take a=0, b=1, c=1"
            )

    def real(self, logits: Tensor) -> Tensor:
        return (logits - self.b).square() / 2

    def fake(self, logits: Tensor) -> Tensor:
        return (logits - self.a).square() / 2

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return (fake_logits - self.c).square() / 2
