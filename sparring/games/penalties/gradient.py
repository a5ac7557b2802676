"""The gradient of the discriminator in its samples, and the points between real and fake samples where it is taken.

Each sample's logit depends on its own x alone (in a discriminator without batch statistics), so the gradient of the
sum of logits holds every sample's gradient. That is so also where several samples share one logit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.exchange import Seen
from sparring.core.game import Critic


def gradients(logits: Tensor, x: Tensor) -> Tensor:
    """∇D(x) as rows [B, N] of samples x [B, ...], from logits of any number; with a graph of its own."""
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return slope.flatten(1)


def lengths(slopes: Tensor) -> Tensor:
    """|∇D| [B] of rows [B, N]. A slope of exactly 0 gives no gradient, of any order: a norm has none of the first there
    and NaN for the second, which unrolled steps take."""
    flat = (slopes == 0).all(1)
    norms: Tensor = torch.linalg.vector_norm(slopes.masked_fill(flat[:, None], 1), dim=1)
    return norms.masked_fill(flat, 0)


def between(real: Tensor, fake: Tensor) -> Tensor:
    """One point on the line between each real and its fake sample, evenly distributed; detached, in the shape and
    precision of real."""
    share = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
    # A generator that computes in bfloat16 makes its samples in it, too.
    return torch.lerp(fake.detach().to(real.dtype), real.detach(), share)


def gradients_between(critic: Critic, real: Seen, fake: Seen) -> Tensor:
    """∇D [B, N] at points between real and fake samples, which are judged under the labels of the real ones."""
    x = between(real.x, fake.x).requires_grad_()
    return gradients(critic(x, real.y), x)
