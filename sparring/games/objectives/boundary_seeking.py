"""Boundary-seeking GAN for continuous data (Hjelm et al. 2018, "Boundary-seeking generative adversarial networks",
section 3)."""

from __future__ import annotations

from torch import Tensor

from sparring.games.objectives.minimax import Minimax


class BoundarySeeking(Minimax):
    """D as in `Minimax`; G minimises E (log D - log(1 - D))²/2 of its fakes, which is the squared logit, halved.

    D*'s logit is log p/q, so G seeks where D cannot tell, and goes no further: it is pulled back from where D takes
    fakes for real. Take it where G overshoots. Its gradient is as large as the logit, so a sure D needs a bound.
    """

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits.square() / 2
