"""The Wasserstein game (Arjovsky, Chintala and Bottou 2017, "Wasserstein generative adversarial networks", equation 2).

By the duality of Kantorovich and Rubinstein, W1(p, q) is the largest E D(x) - E D(G(z)) over all D of slope at most 1.
"""

from __future__ import annotations

from torch import Tensor

from sparring.games.objectives.unpaired import Unpaired


class Wasserstein(Unpaired):
    """The critic D, the logit itself, minimises E D(G(z)) - E D(x); G minimises -E D(G(z)).

    Minus the critic's loss estimates W1 times the bound on its slope: a curve that falls as samples get better. The
    bound must come from elsewhere (a gradient penalty, clipped weights, spectral normalisation); without one D grows
    for ever. Take it where p and q hardly overlap, with several steps of D for each of G. It is slow, as the critic
    should be near its best throughout. A common shift of all logits changes nothing.
    """

    def real(self, logits: Tensor) -> Tensor:
        return -logits

    def fake(self, logits: Tensor) -> Tensor:
        return logits

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -fake_logits
