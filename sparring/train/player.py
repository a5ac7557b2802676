"""A player: a network, the optimiser that moves it, and the average of its weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock
from sparring.core.game import Constraint
from sparring.core.spec import Spec
from sparring.train.optimizers import Optimizer
from sparring.train.schedule import half_cosine


class Average(Spec):
    """The exponential moving average of weights (Yazici et al. 2019), measured in images.

    Half of the average comes from the last `half_life` images, or from the last share `ramp` of the images seen where
    that is less (Karras et al. 2020, StyleGAN2-ADA), so that a short run is not held back by its beginning. Over the
    first `burn_in` images the half-life itself grows from 0 along half a cosine (Huang et al. 2024, R3GAN). It is
    brought up to date every few steps, which costs a quarter of doing so in every step and gives the same average.
    """

    half_life: int = 10_000
    ramp: float = 0.05
    every: int = 4
    burn_in: int = 0

    def __post_init__(self) -> None:
        if self.half_life < 0 or not 0 < self.ramp <= 1 or self.every < 1 or self.burn_in < 0:
            raise RequestError(
                "average: expected half_life >= 0, 0 < ramp <= 1, every >= 1 and burn_in >= 0, found "
                f"{self.half_life}, {self.ramp}, {self.every} and {self.burn_in}"
            )

    def decay(self, images: int, passed: int) -> float:
        """The share of the old average that stays when `passed` more images have been seen, `images` in all."""
        grown = half_cosine(0.0, self.half_life, images / self.burn_in) if self.burn_in else self.half_life
        half_life = min(grown, self.ramp * images)
        return float(0.5 ** (passed / half_life)) if half_life > 0 else 0.0


class Player:
    """The training side of one network. `average` is None for players whose average nobody asks for."""

    def __init__(self, net: nn.Module, optimizer: Optimizer, average: Average | None) -> None:
        self.net = net.train()
        self.optimizer = optimizer
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.buffers = list(net.buffers())
        self.memory = optimizer.init(self.parameters)
        self.average_spec = average
        self.average: nn.Module | None = None
        if average is not None:
            self.average = copy.deepcopy(net).eval().requires_grad_(False)
            self._live, self._mean, self._copied = _pairs(net, self.average)

    @torch.no_grad()
    def move(self, clock: Clock, constraints: Sequence[Constraint] = ()) -> None:
        """One step along the gradients, at the clock's learning rate; the gradients are used up."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        for constraint in constraints:
            constraint.limit(gradients)
        rate = self.optimizer.lr * self.optimizer.schedule.factor(clock)
        self.optimizer.at(clock).step(self.parameters, gradients, self.memory, rate)
        for constraint in constraints:
            constraint.project(self.parameters)
        self.forget()

    def forget(self) -> None:
        """Drops the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def update_average(self, step: int, batch: int) -> None:
        """After a step (counted from 1) that is due, moves the average towards the weights; integers are copied."""
        spec = self.average_spec
        if spec is None or step % spec.every:
            return
        torch._foreach_lerp_(self._mean, self._live, 1 - spec.decay(step * batch, spec.every * batch))
        for live, mean in self._copied:
            mean.copy_(live)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the player's future depends on, by name; live references, not copies."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, values in self.memory.items():
            tensors |= {f"optimizer.{name}.{i}": value for i, value in enumerate(values)}
        return tensors

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Takes a state back in; raises `RequestError` when it is not one of these networks and this optimiser."""
        own = self.state()
        odd = sorted(own.keys() ^ tensors.keys()) + [
            k for k in own if k in tensors and own[k].shape != tensors[k].shape
        ]
        if odd:
            raise RequestError(
                f"the checkpoint does not fit the recipe's networks and optimisers: {odd[0]} and {len(odd) - 1} more"
            )
        for name, tensor in own.items():
            # Into the tensors that are there: their memory layout is what fused kernels take for granted.
            tensor.copy_(tensors[name])


def _pairs(net: nn.Module, average: nn.Module) -> tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]:
    live = [tensor.detach() for tensor in (*net.parameters(), *net.buffers())]
    mean = [tensor.detach() for tensor in (*average.parameters(), *average.buffers())]
    pairs = list(zip(live, mean, strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    return [a for a, _ in floats], [b for _, b in floats], [p for p in pairs if not p[0].is_floating_point()]
