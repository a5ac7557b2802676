"""Optimisers by their names in the field: pure steps on explicit state, with torch's fastest kernels.

torch's functional optimisers are called directly, because the bookkeeping of their classes takes 3 to 5 % of a step of
small networks; and a state that is a dictionary of tensors is stored and taken back without translation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock
from sparring.core.spec import Spec
from sparring.train.schedule import Constant, Schedule, half_cosine

State = dict[str, list[Tensor]]


class Optimizer(Spec):
    """How one player learns: the learning rate is `lr` times the schedule's factor."""

    lr: float = 1e-3
    schedule: Schedule = Constant()

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise RequestError(f"{type(self).__name__}: expected lr above 0, found {self.lr}")

    def at(self, clock: Clock) -> Self:
        """The optimiser as it is at this moment, but for its learning rate."""
        return self

    def init(self, parameters: Sequence[Tensor]) -> State:
        """The state before the first step: lists of tensors, one for each parameter, in its memory layout."""
        raise NotImplementedError(f"{type(self).__name__} must define init()")

    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, lr: float) -> None:
        """Moves the parameters and the state in place, at this learning rate; gradients in the parameters' layout."""
        raise NotImplementedError(f"{type(self).__name__} must define step()")


class Adam(Optimizer):
    """Kingma and Ba 2015, algorithm 1.

    Where there is a `final_beta2`, β₂ goes there along half a cosine until the share `until` of the run (Huang et al.
    2024, R3GAN): a short memory for slopes that still change by orders of magnitude, a long one later. As there, the
    bias is corrected as if β₂ had always been what it is now.
    """

    betas: tuple[float, float] = (0.0, 0.99)
    eps: float = 1e-8
    final_beta2: float | None = None
    until: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ends = self.betas if self.final_beta2 is None else (*self.betas, self.final_beta2)
        if not (all(0 <= beta < 1 for beta in ends) and self.eps > 0 and 0 < self.until <= 1):
            raise RequestError(
                f"{type(self).__name__}: expected betas in [0, 1), eps > 0 and until in (0, 1], found "
                f"{', '.join(map(str, ends))}; {self.eps} and {self.until}"
            )

    def at(self, clock: Clock) -> Self:
        if self.final_beta2 is None:
            return self
        beta1, beta2 = self.betas
        return self.replace(betas=(beta1, half_cosine(beta2, self.final_beta2, clock.progress / self.until)))

    def init(self, parameters: Sequence[Tensor]) -> State:
        return {
            "exp_avg": _zeros(parameters),
            "exp_avg_sq": _zeros(parameters),
            "step": [torch.zeros((), device=p.device) for p in parameters],
        }

    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, lr: float) -> None:
        adam(
            list(parameters),
            list(gradients),
            state["exp_avg"],
            state["exp_avg_sq"],
            [],
            state["step"],
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=lr,
            weight_decay=0.0,
            eps=self.eps,
            maximize=False,
        )


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v = momentum · v + gradient, parameter -= lr · v."""

    momentum: float = 0.9

    def init(self, parameters: Sequence[Tensor]) -> State:
        return {"momentum": _zeros(parameters)}

    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, lr: float) -> None:
        sgd(
            list(parameters),
            list(gradients),
            list(state["momentum"]),
            fused=True,
            weight_decay=0.0,
            momentum=self.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


class RMSprop(Optimizer):
    """Hinton 2012, lecture 6e."""

    alpha: float = 0.99
    eps: float = 1e-8

    def init(self, parameters: Sequence[Tensor]) -> State:
        return {"square_avg": _zeros(parameters), "step": [torch.zeros(()) for _ in parameters]}

    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, lr: float) -> None:
        rmsprop(
            list(parameters),
            list(gradients),
            state["square_avg"],
            [],
            [],
            state["step"],
            foreach=True,
            lr=lr,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=0.0,
            momentum=0.0,
            centered=False,
        )


class OptimisticSGD(Optimizer):
    """Daskalakis et al. 2018 ("Training GANs with optimism"), equation 6: parameter -= lr · (2 g_t - g_{t-1}).

    The last gradient stands for the next one, so a step corrects the last one by what it could not know: where plain
    descent circles (a bilinear game) this one spirals inwards, at the cost of one gradient in a step.
    """

    def init(self, parameters: Sequence[Tensor]) -> State:
        return {"previous": _zeros(parameters)}

    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, lr: float) -> None:
        torch._foreach_add_(list(parameters), list(gradients), alpha=-2 * lr)
        torch._foreach_add_(list(parameters), state["previous"], alpha=lr)
        torch._foreach_copy_(state["previous"], list(gradients))


class OptimisticAdam(Adam):
    """Daskalakis et al. 2018, algorithm 1: parameter -= lr · (2 a_t - a_{t-1}), a = Adam's m̂ / (√v̂ + eps)."""

    def init(self, parameters: Sequence[Tensor]) -> State:
        return super().init(parameters) | {"previous": _zeros(parameters)}

    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, lr: float) -> None:
        mean, square, step = state["exp_avg"], state["exp_avg_sq"], state["step"]
        torch._foreach_add_(step, 1)
        torch._foreach_lerp_(mean, list(gradients), 1 - self.betas[0])
        torch._foreach_mul_(square, self.betas[1])
        torch._foreach_addcmul_(square, list(gradients), list(gradients), 1 - self.betas[1])
        # All parameters have made as many steps.
        unbiased = torch._foreach_div(mean, 1 - self.betas[0] ** step[0])
        scale = torch._foreach_sqrt(torch._foreach_div(square, 1 - self.betas[1] ** step[0]))
        torch._foreach_add_(scale, self.eps)
        now = torch._foreach_div(unbiased, scale)
        torch._foreach_add_(list(parameters), now, alpha=-2 * lr)
        torch._foreach_add_(list(parameters), state["previous"], alpha=lr)
        torch._foreach_copy_(state["previous"], list(now))


class Optimizers(Spec):
    """One optimiser for each player."""

    generator: Optimizer
    discriminator: Optimizer


def _zeros(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(p, requires_grad=False) for p in parameters]
