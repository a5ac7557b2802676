"""What a run's health is read from: a few numbers about both players, measured on one batch every so many steps.

Nothing here moves anything: gradients are asked for at the samples alone, the buffers of both players are put back,
and all stays on the device until somebody reads it. One look costs about as much as one step.

Slopes of the discriminator at real and at fake samples tell of divergence and of overfitting (Huang et al. 2024, "The
GAN is dead; long live the GAN!", appendix; Fang et al. 2022, "DigGAN"), its accuracy on samples that it was not
trained on of learning by heart (Brock et al. 2019, BigGAN, section 4.2; Karras et al. 2020, StyleGAN2-ADA, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from sparring.core.exchange import Exchange
from sparring.core.game import Critic
from sparring.core.protocols import Batch
from sparring.train.phase import frozen

Signals = dict[str, float]

_TINY = 1e-12


def look(
    exchange: Exchange,
    critic: Critic,
    generator_loss: Callable[[Exchange], Tensor],
    held_out: Batch | None,
) -> dict[str, Tensor]:
    """The signals, each a float32 tensor [] on the device, by these names.

    - `grad_real`, `grad_fake`: mean of |∇D(x)|² at real and at fake samples, summed over values; `grad_ratio`: the
      former over the latter.
    - `gap`: mean of D(real) minus mean of D(fake), in logits. `d_pairs`: how often D(real) > D(fake), over all pairs;
      a tie is half. `d_zero`: how often the logit has the right sign.
    - `gap_held`: mean of D(real) minus mean of D(held out). `d_pairs_held`: as `d_pairs`, with held-out samples.
    - `g_grad`: mean over fakes of |∂L/∂x|, L the sample's share of the generator's loss times the batch. `g_slope`:
      mean of |∂L/∂logit|, weighted by |∇D(x)|.
    - `spread`: mean distance of two real samples; `diversity`: that of two fakes over it. Both within the same label,
      where the batch holds a label twice.
    - `label_effect`: |G(z, y) - G(z, y')| over |G(z, y) - G(z', y)|, means over y' ≠ y and z' ≠ z.
    - `d_weights`, `g_weights`: the norm of all parameters.

    Those of labels and of held-out samples are missing where there are none. The exchange shows at least
    two real samples; `critic` is the discriminator as it sees them, and `held_out` a batch of theirs.
    """
    nets, real, z = exchange.nets, exchange.real, exchange.z()
    generator, discriminator = nets["generator"], nets["discriminator"]
    y, count = real.y, len(real.x)
    with frozen([buffer for net in nets.values() for buffer in net.buffers()]):
        with torch.no_grad():
            fake = generator(z, y).float()
            others = None if y is None else (generator(z.roll(1, 0), y), generator(z, y.roll(1, 0)))
        real_slope, real_logits = _slope(critic, real)
        fake_slope, fake_logits = _slope(critic, Batch(fake, y))
        pull = _pull(exchange, generator_loss, Batch(fake, y))
        with torch.no_grad():
            held_logits = None if held_out is None else critic.each(held_out.x, held_out.y)
    with torch.no_grad():
        grad_real, grad_fake = real_slope.square().mean(), fake_slope.square().mean()
        spread = _spread(real.x, y)
        signals = {
            "grad_real": grad_real,
            "grad_fake": grad_fake,
            "grad_ratio": grad_real / grad_fake.clamp_min(_TINY),
            "gap": real_logits.mean() - fake_logits.mean(),
            "d_pairs": _pairs(real_logits, fake_logits),
            "d_zero": ((real_logits > 0).float().mean() + (fake_logits < 0).float().mean()) / 2,
            "g_grad": pull.mean() * count,
            "g_slope": pull.sum() * count / fake_slope.sum().clamp_min(_TINY),
            "spread": spread,
            "diversity": _spread(fake, y) / spread.clamp_min(_TINY),
            "d_weights": _norm(discriminator.parameters()),
            "g_weights": _norm(generator.parameters()),
        }
        if held_logits is not None:
            signals["gap_held"] = real_logits.mean() - held_logits.mean()
            signals["d_pairs_held"] = _pairs(held_logits, fake_logits)
        if y is not None and others is not None:
            signals["label_effect"] = _label_effect(
                fake, *others, differs=(y != y.roll(1, 0)).reshape(len(y), -1).any(1)
            )
    return signals


class Shown(nn.Module):
    """Stands in for the generator: answers any noise with samples that are there already."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.x


def _slope(critic: Critic, batch: Batch) -> tuple[Tensor, Tensor]:
    """|∇D(x)| [B] and D(x) [B]."""
    x = batch.x.detach().requires_grad_()
    logits = critic.each(x, batch.y).float()
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    return gradient.flatten(1).norm(dim=1), logits.detach()


def _pull(exchange: Exchange, generator_loss: Callable[[Exchange], Tensor], fake: Batch) -> Tensor:
    """|∂L/∂x| [B] of the generator's mean loss L at its samples x, whatever the game."""
    x = fake.x.detach().requires_grad_()
    nets = {**exchange.nets, "generator": Shown(x)}
    shown = Exchange(
        nets,
        Batch(exchange.real.x, fake.y),
        lambda _: exchange.z(),
        clock=exchange.clock,
        memory=exchange.memory,
    )
    (gradient,) = torch.autograd.grad(generator_loss(shown), x)
    length: Tensor = gradient.flatten(1).norm(dim=1)
    return length


def _pairs(higher: Tensor, lower: Tensor) -> Tensor:
    difference = higher[:, None] - lower
    return ((difference > 0).float() + (difference == 0).float() / 2).mean()


def _spread(x: Tensor, y: Tensor | None) -> Tensor:
    """The mean distance of two different samples; within the same label, where any label is there twice."""
    distance = torch.cdist(x.flatten(1).float(), x.flatten(1).float())
    pairs = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    if y is not None:
        labels = y.reshape(len(y), -1).float()
        same = pairs & (torch.cdist(labels, labels, torch.inf) == 0)
        pairs = torch.where(same.any(), same, pairs)
    mean: Tensor = (distance * pairs).sum() / pairs.sum()
    return mean


def _label_effect(x: Tensor, other_noise: Tensor, other_label: Tensor, differs: Tensor) -> Tensor:
    by_noise = (x - other_noise).flatten(1).float().norm(dim=1).mean()
    by_label = ((x - other_label).flatten(1).float().norm(dim=1) * differs).sum() / differs.sum().clamp_min(1)
    # A batch of a single label says nothing of what labels do.
    return torch.where(differs.any(), by_label / by_noise.clamp_min(_TINY), torch.ones_like(by_label))


def _norm(parameters: Iterable[Tensor]) -> Tensor:
    norm: Tensor = torch.stack(torch._foreach_norm([p.detach() for p in parameters])).norm()
    return norm.float()
