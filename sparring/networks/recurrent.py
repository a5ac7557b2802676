"""Recurrent players for series [T, C] and texts [T, V], of gated recurrent units or long short-term memory.

The cells are torch's, weight by weight: GRU (Cho et al. 2014, with the reset gate behind the product as in cuDNN) and
LSTM (Hochreiter and Schmidhuber 1997, with the forget gates of Gers et al. 2000). They are written out step by step,
because the fused kernels have no second derivatives, which penalties on gradients take (cuDNN says so; Apple's do not).
On a CPU it is as fast: 5.8 ms for 24 steps of 64 series with 64 units and their gradient, either way.

The generator's cells start from what z says and read, at every step, z, fresh noise, and, with `feedback`, what was
written at the step before (as in "Real-valued medical time series generation with recurrent conditional GANs", Esteban
et al. 2017, and, with feedback, SeqGAN's generator, Yu et al. 2017, here without its reinforcement learning).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.networks.condition import (
    AuxiliaryHead,
    Concatenation,
    Condition,
    Embedding,
    Projection,
    chosen,
)
from sparring.networks.ends import End, Uniforms, end_of
from sparring.networks.judging import Judging, TellingClasses
from sparring.networks.labels import count, numbers, require, table

State = tuple[Tensor, ...]
"""Of a cell: its output h [B, width], and for an LSTM its memory c [B, width]."""


class RecurrentGenerator(NetworkSpec):
    """G(z, y) -> x [B, T, C] in [-1, 1], or tokens [B, T, V].

    `depth` layers of `width` units. `noise` numbers, uniform with variance 1, are read at every step; they are a
    function of z, as said in `sparring.networks.ends`. With `feedback` each step reads what the one before wrote, so
    that a text's next letter follows from those that were drawn. A condition stands beside z.

    >>> from sparring.core.protocols import DataSpec
    >>> sines = DataSpec(name="sines", shape=(24, 5))
    >>> RecurrentGenerator(width=8).build(sines, z_dim=16)(torch.randn(2, 16)).shape
    torch.Size([2, 24, 5])
    """

    cell: Literal["gru", "lstm"] = "gru"
    width: int = 128
    depth: int = 1
    noise: int = 4
    feedback: bool = False
    end: End | None = None
    condition: Concatenation | Embedding | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        _check(data, self.cell, self.width, self.depth, self.noise)
        condition = chosen(self.condition, data, Concatenation())
        if isinstance(condition, Concatenation):
            condition.check_layers("this generator", 0)
        end = end_of(self.end, data)
        return (TokenWriter if end.draws else Writer)(data, z_dim, self, end, condition)


class RecurrentDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B], from the last output of `depth` layers of `width` units and the mean of all.

    Where nothing is said of the condition, a class or a vector is judged by `Projection`, and an image stands, as
    numbers, beside x at every step.

    >>> from sparring.core.protocols import DataSpec
    >>> sines = DataSpec(name="sines", shape=(24, 5))
    >>> RecurrentDiscriminator(width=8).build(sines, z_dim=16)(torch.zeros(2, 24, 5)).shape
    torch.Size([2])
    """

    cell: Literal["gru", "lstm"] = "gru"
    width: int = 128
    depth: int = 1
    condition: Concatenation | Projection | AuxiliaryHead | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        _check(data, self.cell, self.width, self.depth)
        condition = chosen(self.condition, data, Concatenation() if len(data.y_shape) == 3 else Projection())
        if isinstance(condition, Concatenation):
            condition.check_layers("this discriminator", 0)
        if isinstance(condition, AuxiliaryHead):
            return ListenerWithClasses(data, self)
        return Listener(data, self, condition)


class Cell(nn.Module):
    """One layer: `into` are the gates' products with what is read, `again` those with the last output."""

    gates: int
    states: int

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.into, self.again = nn.Linear(inputs, self.gates * width), nn.Linear(width, self.gates * width)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def step(self, read: Tensor, state: State) -> State:
        """The state [B, width] after `read` [B, gates · width], a step's row of `into`."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: State) -> Tensor:
        """The outputs [B, T, width] for x [B, T, inputs]."""
        outputs = []
        for read in self.into(x).unbind(1):
            state = self.step(read, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1)


class GRU(Cell):
    """r = σ(read + again), u = σ(read + again), n = tanh(read + r · again), h' = n + u · (h - n)."""

    gates, states = 3, 1

    def step(self, read: Tensor, state: State) -> State:
        (h,) = state
        read_r, read_u, read_n = read.chunk(3, 1)
        again_r, again_u, again_n = self.again(h).chunk(3, 1)
        reset, update = torch.sigmoid(read_r + again_r), torch.sigmoid(read_u + again_u)
        new = torch.tanh(read_n + reset * again_n)
        return (new + update * (h - new),)


class LSTM(Cell):
    """i, f, o = σ(read + again), g = tanh(read + again), c' = f · c + i · g, h' = o · tanh(c')."""

    gates, states = 4, 2

    def step(self, read: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (read + self.again(h)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


CELLS: dict[str, type[Cell]] = {"gru": GRU, "lstm": LSTM}


class Writer(nn.Module):
    """The generator's module."""

    def __init__(
        self, data: DataSpec, z_dim: int, spec: RecurrentGenerator, end: End, condition: Condition | None
    ) -> None:
        super().__init__()
        self.data = data
        self.end, self.feedback, self.noise = end, spec.feedback, spec.noise
        length, channels = data.shape
        self.embedding = table(data, condition.dim) if isinstance(condition, Embedding) else None
        told = z_dim + (condition.dim if isinstance(condition, Embedding) else count(data))
        self.uniforms = Uniforms(z_dim, length * spec.noise) if spec.noise else None
        self.drawn = Uniforms(z_dim, length * channels) if end.draws else None
        cell, inputs = CELLS[spec.cell], told + spec.noise + channels * spec.feedback
        self.start = nn.Linear(told, spec.depth * cell.states * spec.width)
        self.cells = nn.ModuleList(cell(spec.width if i else inputs, spec.width) for i in range(spec.depth))
        self.to_sample = nn.Linear(spec.width, channels)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self._made(z, y, 1.0)

    def _made(self, z: Tensor, y: Tensor | None, psi: float) -> Tensor:
        x, own = self._begun(z, y)
        drawn = None if self.drawn is None else self.drawn(z).view(-1, *self.data.shape)
        if self.feedback:
            return self._write(x, own, drawn, psi)
        for cell, state in zip(self._cells(), own, strict=True):
            x = cell(x, state)
        return self.end(self.to_sample(x) / psi, drawn)

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Of texts x [B, T, V], one-hot, the mean log-probability [B] of their tokens, each after those before it, the
        first that ends a text included; for generators with feedback whose end draws tokens."""
        read, own = self._begun(z, y)
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        read = torch.cat([read, before.to(read.dtype)], 2)
        for cell, state in zip(self._cells(), own, strict=True):
            read = cell(read, state)
        found = (torch.log_softmax(self.to_sample(read).float(), 2) * x).sum(2)
        counts = torch.cat([torch.ones_like(x[:, :1, 0]), 1 - x[:, :-1, 0].cummax(1).values], 1)
        mean: Tensor = (found * counts).sum(1) / counts.sum(1)
        return mean

    def _begun(self, z: Tensor, y: Tensor | None) -> tuple[Tensor, list[State]]:
        """What is read at every step beside what was written, and the states before the first."""
        length = self.data.shape[0]
        told = (
            numbers(y, self.data, z).flatten(1) if self.embedding is None else self.embedding(require(y, self.data, z))
        )
        told = torch.cat([z, told.to(z.dtype)], 1)
        states = list(torch.tanh(self.start(told)).chunk(sum(cell.states for cell in self._cells()), 1))
        own: list[State] = [tuple(states.pop() for _ in range(cell.states)) for cell in self._cells()]
        x = told[:, None].expand(-1, length, -1)
        if self.uniforms is not None:
            noise = (self.uniforms(z).view(-1, length, self.noise) - 0.5) * 12**0.5
            x = torch.cat([x, noise.to(z.dtype)], 2)
        return x, own

    def _write(self, x: Tensor, states: list[State], drawn: Tensor | None, psi: float) -> Tensor:
        """Step by step, each with what was written before it."""
        written = [x.new_zeros(len(x), self.data.shape[1])]
        for t in range(self.data.shape[0]):
            # A token that was drawn is read as it stands: so D's gradient says of each whether another would be better
            # among the rest as they are. What the rest would become reaches it through all straight-through estimates
            # on the way, and taught less.
            last = written[-1].detach() if self.end.draws else written[-1]
            read = torch.cat([x[:, t], last], 1)
            for i, cell in enumerate(self._cells()):
                states[i] = cell.step(cell.into(read), states[i])
                read = states[i][0]
            written.append(self.end(self.to_sample(read) / psi, None if drawn is None else drawn[:, t]))
        return torch.stack(written[1:], 1)

    def _cells(self) -> list[Cell]:
        return list(self.cells)  # type: ignore[arg-type]


class TokenWriter(Writer):
    """`Writer` of tokens that are drawn."""

    def truncated(self, z: Tensor, y: Tensor | None, psi: float) -> Tensor:
        """Texts whose tokens are drawn from probabilities to the power 1 / psi."""
        return self._made(z, y, psi)


class Listener(Judging):
    """The discriminator's module."""

    per_sample = True

    def __init__(self, data: DataSpec, spec: RecurrentDiscriminator, condition: Condition | None = None) -> None:
        super().__init__()
        self.data = data
        self.beside = isinstance(condition, Concatenation)
        cell, inputs = CELLS[spec.cell], data.shape[1] + count(data) * self.beside
        self.states, self.width = cell.states, spec.width
        self.cells = nn.ModuleList(cell(spec.width if i else inputs, spec.width) for i in range(spec.depth))
        self.end_in(data, 2 * spec.width, condition)

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """φ(x) [B, 2 · width]: the last output and the mean of all."""
        if self.beside:
            told = numbers(y, self.data, x).flatten(1)
            x = torch.cat([x, told[:, None].expand(-1, x.shape[1], -1)], 2)
        for cell in self.cells:
            x = cell(x, (x.new_zeros(len(x), self.width),) * self.states)
        return torch.cat([x[:, -1], x.mean(1)], 1)


class ListenerWithClasses(TellingClasses, Listener):
    """`Listener` that does not see classes and tells them."""


def _check(data: DataSpec, cell: str, width: int, depth: int, noise: int = 0) -> None:
    if len(data.shape) != 2:
        raise RequestError(
            f"recurrent: expected series [T, C] or texts [T, V], found {data.name} of shape {list(data.shape)}"
        )
    if cell not in CELLS:
        raise RequestError(f"recurrent: expected a cell of {' or '.join(CELLS)}, found {cell!r}")
    if not (width >= 1 and 1 <= depth <= 8 and noise >= 0):
        raise RequestError(
            f"recurrent: expected width >= 1, depth from 1 to 8 and noise >= 0, found {width}, {depth} and {noise}"
        )
