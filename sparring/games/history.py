"""Fakes of earlier in the game for the discriminator, so that it does not forget what it has unlearnt the generator.

`Replay` keeps samples (Shrivastava et al. 2017, "Learning from simulated and unsupervised images through adversarial
training", section 2.3). `PastOpponents` keeps generators, as in fictitious play (Brown 1951) and in "An online learning
approach to generative adversarial networks" (Grnarova et al. 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparring.core.errors import RequestError
from sparring.core.exchange import Clock, Memory
from sparring.core.game import History
from sparring.core.protocols import Batch, DataSpec

WEIGHTS = "weights."


class Replay(History):
    """The last half of the discriminator's fakes, rounded down, is replaced by fakes of a buffer of `size`, drawn with
    replacement, with their labels. After each of its turns half a batch enters: into empty places while there are any,
    then in place of others drawn at random, so that a fake stays for size / (B/2) turns on average.

    Take it where the players chase each other in circles. Its weakness: half of what the discriminator learns is out
    of date. The buffer is float32 and is stored with the run: `size` samples.
    """

    size: int = 1024

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RequestError(f"Replay: expected size >= 1, found {self.size}")

    def start(self, data: DataSpec, generator: nn.Module) -> Memory:
        memory = {"x": torch.zeros(self.size, *data.shape), "held": torch.tensor(0)}
        if data.is_conditional:
            kind = torch.int64 if data.num_classes else torch.float32
            memory["y"] = torch.zeros(self.size, *data.y_shape, dtype=kind)
        return memory

    @torch.no_grad()
    def draw(self, memory: Memory, fake: Batch, generator: nn.Module, z: Tensor) -> Batch:
        kept = len(fake.x) - len(fake.x) // 2
        held = memory["held"]
        picks = torch.randint(2**53, (len(fake.x) - kept,), device=fake.x.device) % held.clamp(min=1)

        def mixed(new: Tensor, old: Tensor) -> Tensor:
            # While nothing is held, the fakes stay: asked on the device, which nobody waits for.
            return torch.cat([new[:kept], torch.where(held > 0, old[picks].to(new.dtype), new[kept:])])

        y = None if fake.y is None else mixed(fake.y, memory["y"])
        return Batch(mixed(fake.x, memory["x"]), y)

    @torch.no_grad()
    def keep(self, memory: Memory, fake: Batch | None, generator: nn.Module, clock: Clock) -> None:
        if fake is None:
            return
        entering = min(len(fake.x) // 2, self.size)
        held, place = memory["held"], torch.arange(self.size, device=fake.x.device)
        # The smallest first: empty places in their order, then the others in a random one.
        rank = torch.where(place < held, 1 + torch.rand(self.size, device=fake.x.device), place / self.size)
        places = rank.topk(entering, largest=False).indices
        for name, new in (("x", fake.x), ("y", fake.y)):
            if new is not None:
                memory[name].index_copy_(0, places, new[:entering].to(memory[name].dtype))
        held.add_(entering).clamp_(max=self.size)


class PastOpponents(History):
    """The last `share` of the discriminator's fakes is made by an earlier generator, one of at most `count`, drawn anew
    for every turn; each is the generator as it was after every `every` steps, and the first as it was before the game.
    When there are more, the oldest goes.

    Take it where the players chase each other in circles; against a long memory the generator has to be good at once
    against all that it ever did. Its weaknesses: `count` generators in memory and in every checkpoint, and a
    forward pass more in every turn of the discriminator.
    """

    every: int = 1000
    count: int = 8
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.every < 1 or self.count < 1 or not 0 < self.share <= 1:
            raise RequestError(
                "PastOpponents: expected every >= 1, count >= 1 and 0 < share <= 1, found "
                f"{self.every}, {self.count}, {self.share}"
            )

    def start(self, data: DataSpec, generator: nn.Module) -> Memory:
        memory = {place: torch.stack([tensor] * self.count) for place, tensor in _weights(generator).items()}
        return memory | {"made": torch.tensor(1)}

    @torch.no_grad()
    def draw(self, memory: Memory, fake: Batch, generator: nn.Module, z: Tensor) -> Batch:
        kept = len(fake.x) - round(self.share * len(fake.x))
        if kept == len(fake.x):
            return Batch(fake.x.detach(), fake.y)
        made = memory["made"]
        pick = torch.randint(2**53, (1,), device=made.device) % made.clamp(max=self.count)
        # Copies, so that what a forward pass changes (running statistics) does not change what is remembered.
        names = [place.removeprefix(WEIGHTS) for place in memory if place.startswith(WEIGHTS)]
        weights = {name: memory[WEIGHTS + name].index_select(0, pick)[0] for name in names}
        # The whole batch, of which a part is shown: so batch normalisation does what it did then.
        old = functional_call(generator, weights, (z, fake.y))[kept:]
        return Batch(torch.cat([fake.x[:kept], old.to(fake.x.dtype)]), fake.y)

    @torch.no_grad()
    def keep(self, memory: Memory, fake: Batch | None, generator: nn.Module, clock: Clock) -> None:
        if (clock.step + 1) % self.every:
            return
        slot = (memory["made"] % self.count).view(1)
        for place, tensor in _weights(generator).items():
            memory[place].index_copy_(0, slot, tensor[None])
        memory["made"].add_(1)


def _weights(generator: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by their place in the memory, without gradients."""
    named = (*generator.named_parameters(), *generator.named_buffers())
    return {WEIGHTS + name: tensor.detach() for name, tensor in named}
