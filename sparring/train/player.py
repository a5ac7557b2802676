"""A player: a network, the optimiser that moves it, and the average of its weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.spec import Spec
from sparring.train.optimizers import Optimizer
from sparring.train.schedule import Clock


class Average(Spec):
    """The exponential moving average of weights (Yazici et al. 2019), measured in images.

    Half of the average comes from the last `half_life` images, or from the last share `ramp` of the images seen where
    that is less (Karras et al. 2020, StyleGAN2-ADA), so that a short run is not held back by its beginning.
    """

    half_life: int = 10_000
    ramp: float = 0.05

    def __post_init__(self) -> None:
        if self.half_life < 0 or not 0 < self.ramp <= 1:
            raise RequestError(
                f"average: expected half_life >= 0 and 0 < ramp <= 1, found {self.half_life}, {self.ramp}"
            )

    def decay(self, images: int, batch: int) -> float:
        """The share of the old average that stays after a step that ends at `images`."""
        half_life = min(self.half_life, self.ramp * images)
        return 0.5 ** (batch / half_life) if half_life > 0 else 0.0


class Player:
    """The training side of one network. `average` is None for players whose average nobody asks for."""

    def __init__(self, net: nn.Module, optimizer: Optimizer, average: Average | None) -> None:
        self.net = net.train()
        self.spec = optimizer
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.buffers = list(net.buffers())
        self.optimizer = optimizer.build(self.parameters)
        self.average_spec = average
        self.average: nn.Module | None = None
        if average is not None:
            self.average = copy.deepcopy(net).eval().requires_grad_(False)
            self._live, self._mean, self._copied = _pairs(net, self.average)

    def set_rate(self, clock: Clock) -> None:
        """The learning rate of this step."""
        rate = self.spec.lr * self.spec.schedule.factor(clock)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def update_average(self, images: int, batch: int) -> None:
        """Moves the average towards the weights; integer buffers are copied."""
        if self.average_spec is None:
            return
        weight = 1 - self.average_spec.decay(images, batch)
        torch._foreach_lerp_(self._mean, self._live, weight)
        for live, mean in self._copied:
            mean.copy_(live)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the player's future depends on, by name; live references, not copies."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items() if v is not None}
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Takes a state back in; raises `RequestError` when it does not fit the networks."""
        parts: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        try:
            self.net.load_state_dict(parts["net"])
            if self.average is not None:
                self.average.load_state_dict(parts["average"])
        except RuntimeError as error:
            raise RequestError(
                f"the checkpoint does not fit the recipe's networks: {error}".replace("\n", " ")
            ) from None
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = _laid_out_like(self.parameters[int(index)], tensor)
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A copy in the parameter's memory layout, which fused optimisers take for granted."""
    if tensor.shape != parameter.shape:
        return tensor.clone()
    return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)


def _pairs(net: nn.Module, average: nn.Module) -> tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]:
    live = [tensor.detach() for tensor in (*net.parameters(), *net.buffers())]
    mean = [tensor.detach() for tensor in (*average.parameters(), *average.buffers())]
    pairs = list(zip(live, mean, strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    return [a for a, _ in floats], [b for _, b in floats], [p for p in pairs if not p[0].is_floating_point()]
