"""The two-player game: a discriminator's turn, then a generator's turn."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.game import Exchange, Game, Objective, Penalty, Phase, Seen
from sparring.games.objectives import NonSaturating


class Adversarial(Game):
    """Algorithm 1 of Goodfellow et al. 2014: `d_steps` moves of the discriminator, each on real samples and noise
    never shown before, then `g_steps` moves of the generator.

    The weights stand before the players' losses. They balance the two under SGD; Adam and RMSprop divide a constant
    factor out again, there the learning rates are the balance.
    """

    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    d_steps: int = 1
    g_steps: int = 1
    d_weight: float = 1.0
    g_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("d_steps", "g_steps"):
            if getattr(self, name) < 1:
                raise RequestError(f"game.{name}: expected at least 1, found {getattr(self, name)}")
        for name in ("d_weight", "g_weight"):
            if not getattr(self, name) > 0:
                raise RequestError(f"game.{name}: expected more than 0, found {getattr(self, name)}")

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("discriminator", "discriminator", self.discriminator_loss),
            Phase("generator", "generator", self.generator_loss, every=self.d_steps, repeat=self.g_steps),
        )

    def discriminator_loss(self, exchange: Exchange) -> Tensor:
        """The discriminator's mean loss [] on one batch, with the penalties that are due in this step."""
        discriminator, y = exchange.nets["discriminator"], exchange.real.y
        real_x, fake_x = exchange.real.x, exchange.fake().detach()
        due = [penalty for penalty in self.penalties if exchange.step % penalty.every == 0]
        if due:
            real_x, fake_x = real_x.detach().requires_grad_(), fake_x.requires_grad_()
        # Losses are float32 also where the networks compute in bfloat16.
        if getattr(discriminator, "per_sample", False) and not due:
            # One call instead of two, for a network whose logits do not depend on the rest of the batch.
            both = discriminator(torch.cat([real_x, fake_x]), None if y is None else torch.cat([y, y]))
            real_logits, fake_logits = both.to(real_x.dtype).chunk(2)
        else:
            real_logits = discriminator(real_x, y).to(real_x.dtype)
            fake_logits = discriminator(fake_x, y).to(real_x.dtype)
        real, fake = Seen(real_x, y, real_logits), Seen(fake_x, y, fake_logits)
        loss = self.objective.discriminator(real.logits, fake.logits).mean() * self.d_weight
        exchange.seen |= {
            "loss_d": loss.detach(),
            "real_logits": real.logits.detach(),
            "fake_logits": fake.logits.detach(),
        }
        for penalty in due:
            term = penalty(discriminator, real, fake).mean()
            exchange.seen[type(penalty).__name__.lower()] = term.detach()
            loss = loss + term * penalty.every
        return loss

    def generator_loss(self, exchange: Exchange) -> Tensor:
        """The generator's mean loss [] on one batch of fakes."""
        fake_logits = exchange.nets["discriminator"](exchange.fake(), exchange.real.y).to(exchange.real.x.dtype)
        loss = self.objective.generator(fake_logits).mean() * self.g_weight
        exchange.seen["loss_g"] = loss.detach()
        return loss
