"""What the discriminator teaches: how each value of a sample should change to look more real.

    advice(x) = ∂D(x) / ∂x,   D the logit

It is all that a generator ever hears. By the chain rule its loss f(D(G(z))) has the gradient f′(D) · ∂D/∂x · ∂G/∂θ
(Goodfellow et al. 2014, algorithm 1): the advice, times a number for each sample, passed on to the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.game import Critic
from sparring.train.phase import frozen

SIZE = 0.1


class Lesson(NamedTuple):
    """Samples, what the discriminator would change about them, and what it thinks of them before and after.

    All float32, of n samples; `after` are the samples one small step along the advice, in [-1, 1].
    """

    x: Tensor
    """[n, *shape]"""
    advice: Tensor
    """[n, *shape]"""
    after: Tensor
    """[n, *shape]"""
    logits: Tensor
    """D(x) [n]"""
    logits_after: Tensor
    """D(after) [n]"""
    y: Tensor | None = None
    """[n], int64"""

    def beliefs(self) -> list[tuple[float, float]]:
        """How sure the discriminator is that each sample is real, before and after: sigmoid(D), as training reports."""
        return [*zip(self.logits.sigmoid().tolist(), self.logits_after.sigmoid().tolist(), strict=True)]

    def part(self, index: slice) -> Lesson:
        """The lessons of some of the samples, on the CPU."""
        x, advice, after, logits, logits_after = (tensor[index].cpu() for tensor in self[:5])
        return Lesson(x, advice, after, logits, logits_after, None if self.y is None else self.y[index].cpu())


def advice(discriminator: nn.Module | Critic, x: Tensor, y: Tensor | None = None) -> Tensor:
    """∂D/∂x, float32 [n, *shape], of the logits of samples x [n, *shape] and labels y [n] or None.

    The discriminator speaks as it does in training, in the mode and under the autocast that it is called in: with
    batch statistics, what is told to one sample depends on the others, and a sample's advice counts what it does to
    all logits. Nothing of the module changes, no parameter gets a gradient, and random numbers go on as if it had not
    been asked; dropout draws the same mask whenever it is asked with the generator of numbers in the same state.
    """
    return _asked(discriminator, x, y)[1]


def step(x: Tensor, advice: Tensor, size: float = SIZE) -> Tensor:
    """The samples x [n, *shape] after one small step along their advice, clamped to [-1, 1].

    `size` is the root of the mean square change of a sample's values before clamping, 0.1 being 5 % of the way from
    black to white; the same for every sample, whatever the length of its advice. A sample without any stays.
    Raises `RequestError` for a size of 0 or less.
    """
    if not size > 0:
        raise RequestError(f"size of a step: expected more than 0, found {size}")
    length = advice.flatten(1).square().mean(1).sqrt().view(-1, *[1] * (x.dim() - 1))
    return (x + size * advice / length.where(length > 0, 1)).clamp(-1, 1)


def teach(discriminator: nn.Module | Critic, x: Tensor, y: Tensor | None = None, size: float = SIZE) -> Lesson:
    """Samples x [n, *shape] with labels y [n] or None, the advice for them, and what a step of that size along it
    (see `step`) changes in the discriminator's eyes."""
    logits, found = _asked(discriminator, x, y)
    after = step(x, found, size)
    with _unnoticed(discriminator, x.device), torch.no_grad():
        logits_after = _heard(discriminator, after, y)
    return Lesson(x.detach(), found, after, logits, logits_after, y)


def _asked(discriminator: nn.Module | Critic, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logits [n] and their slopes [n, *shape], both detached."""
    with _unnoticed(discriminator, x.device), torch.enable_grad():
        seen = x.detach().clone().requires_grad_()
        logits = _heard(discriminator, seen, y)
        (slope,) = torch.autograd.grad(logits.sum(), seen)
    return logits.detach(), slope


def _heard(discriminator: nn.Module | Critic, x: Tensor, y: Tensor | None) -> Tensor:
    logits = discriminator.each(x, y) if isinstance(discriminator, Critic) else discriminator(x, y)
    return logits.float()


@contextmanager
def _unnoticed(discriminator: nn.Module | Critic, device: torch.device) -> Iterator[None]:
    """Within it the discriminator may be called; its buffers and the random numbers are then put back."""
    devices = [device] if device.type == "cuda" else []
    net = discriminator.net if isinstance(discriminator, Critic) else discriminator
    with frozen(list(net.buffers())), torch.random.fork_rng(devices):
        yield
