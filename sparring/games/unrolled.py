"""Unrolled GAN (Metz et al. 2017, "Unrolled generative adversarial networks", arXiv:1611.02163, sections 2.2 and 2.3).

With the discriminator's loss L_D, the generator's L_G and the step size η, the generator minimises

    L_G(θ_G, ψ_K)   where   ψ_0 = ψ,   ψ_{k+1} = ψ_k - η ∂L_D(θ_G, ψ_k)/∂ψ_k

and its gradient goes through all K steps: it feels how the discriminator would answer. The discriminator itself moves
once, from ψ, on its own loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparring.core.errors import RequestError
from sparring.core.exchange import Exchange
from sparring.core.game import Critic
from sparring.core.protocols import Batch
from sparring.games.adversarial import Adversarial

Weights = Mapping[str, Tensor]
"""A player's parameters by name."""


def unroll(
    losses: Callable[[Mapping[str, Weights]], Mapping[str, Tensor]],
    players: Mapping[str, Weights],
    depth: int,
    lr: float,
) -> Mapping[str, Weights]:
    """The weights of each player after `depth` steps of gradient descent, all players at once, each on its own loss.

    `losses` gives a loss [] for each of `players`, at any weights of theirs; whoever else it reads stands still. The
    weights record gradients, and what is returned is differentiable in them and in all else that the losses read.

    >>> weight = torch.tensor(1.0, requires_grad=True)
    >>> after = unroll(lambda now: {"only": now["only"]["w"].square()}, {"only": {"w": weight}}, depth=3, lr=0.25)
    >>> after["only"]["w"].item()
    0.125
    """
    for _ in range(depth):
        found = losses(players)
        players = {name: _stepped(found[name], weights, lr) for name, weights in players.items()}
    return players


def _stepped(loss: Tensor, weights: Weights, lr: float) -> Weights:
    # Weights that the loss does not read have a gradient of zero.
    slopes = torch.autograd.grad(
        loss, list(weights.values()), create_graph=True, allow_unused=True, materialize_grads=True
    )
    return {name: weight - lr * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}


class Unrolled(Adversarial):
    """The generator plays against the discriminator as it would be after `depth` more steps at rate `lr`.

    It is for a generator that runs from mode to mode, or circles: on a bilinear game, where alternating steps go round
    for ever, it adds the damping 2 · depth · lr. The steps are those of plain gradient descent on the discriminator's
    loss, with the penalties that are due, on the batch of this step and the current fakes (never a history's).

    Each step ahead costs two to four turns of the generator, and the graphs of all are held in memory together: a few
    do. With a large `lr` the imagined steps diverge; take about what the discriminator's own step is.
    """

    depth: int = 5
    lr: float = 0.01

    real_logits_depend: ClassVar[bool] = True
    divides: ClassVar[bool] = False  # the imagined steps are of the whole batch

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 0:
            raise RequestError(f"game.depth: expected at least 0, found {self.depth}")
        if not self.lr > 0:
            raise RequestError(f"game.lr: expected more than 0, found {self.lr}")

    def wanted(self, exchange: Exchange, critic: Critic) -> Tensor:
        discriminator = _Loss(critic.net, lambda: self._imagined(exchange, critic))
        generator = _Loss(critic.net, lambda: super(Unrolled, self).wanted(exchange, critic))
        start = {"D": {name: weight for name, weight in critic.net.named_parameters() if weight.requires_grad}}
        after = unroll(lambda now: {"D": discriminator.at(now["D"])}, start, self.depth, self.lr)
        return generator.at(after["D"])

    def _imagined(self, exchange: Exchange, critic: Critic) -> Tensor:
        """The discriminator's mean loss [], differentiable in the fakes."""
        # Tensors of this call's own: the weights of later steps depend on the fakes themselves, which a penalty's
        # derivative in x must not see.
        real_x, fake_x = exchange.real.x.detach().clone().requires_grad_(), exchange.fake().clone()
        y = exchange.real.y
        loss, _, _ = self.judgement(exchange, critic, Batch(real_x, y), Batch(fake_x, y))
        return loss


class _Loss(nn.Module):
    """A loss as a module around a network: so all of it, penalties on weights too, can be had at other weights."""

    def __init__(self, net: nn.Module, loss: Callable[[], Tensor]) -> None:
        super().__init__()
        self.net = net
        self.loss = loss

    def forward(self) -> Tensor:
        return self.loss()

    def at(self, weights: Weights) -> Tensor:
        """The loss [] at these weights of the network, whose own weights and buffers stay as they are."""
        buffers = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        there = {f"net.{name}": tensor for name, tensor in {**buffers, **weights}.items()}
        loss: Tensor = functional_call(self, there, ())
        return loss
