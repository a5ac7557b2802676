"""Texts written by a network that reads the last few tokens alone (Bengio, Ducharme, Vincent and Jauvin 2003, "A neural
probabilistic language model", equation 1), each token drawn by the Gumbel trick (`sparring.networks.ends`):

    x_t ~ softmax(f(x_{t-window} .. x_{t-1}, z, y)),   f fully connected

What was written earlier is forgotten, but for how much it was when a text may end, so it can't recite: for names and
words, of which there are few, and a network with a longer memory would learn the list by heart. Sentences need that
memory (`sparring.networks.recurrent`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from sparring.core.errors import RequestError
from sparring.core.forms import Text
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.networks.condition import Concatenation, Condition, Embedding, chosen
from sparring.networks.ends import GumbelSoftmax, Uniforms
from sparring.networks.labels import count, numbers, require, table


class WindowedGenerator(NetworkSpec):
    """G(z, y) -> tokens x [B, T, V], one-hot.

    `depth` hidden layers of `width` units read the last `window` tokens (before the beginning there are zeros), z, and
    the numbers of a condition.

    >>> from sparring.core.forms import Text
    >>> words = DataSpec(name="words", shape=(8, 3), form=Text(tokens=("", "a", "b")))
    >>> WindowedGenerator(width=8).build(words, z_dim=16)(torch.randn(2, 16)).shape
    torch.Size([2, 8, 3])
    """

    window: int = 3
    width: int = 256
    depth: int = 2
    temperature: float = 1.0
    condition: Concatenation | Embedding | None = None

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        if not isinstance(data.form, Text):
            raise RequestError(f"WindowedGenerator: expected texts, found {data.name} of shape {list(data.shape)}")
        if min(self.window, self.width, self.depth) < 1:
            raise RequestError(
                "WindowedGenerator: expected window, width and depth of at least 1, found "
                f"{self.window}, {self.width} and {self.depth}"
            )
        condition = chosen(self.condition, data, Concatenation())
        if isinstance(condition, Concatenation):
            condition.check_layers("this generator", 0)
        return WindowedWriter(data, z_dim, self, condition)


class WindowedWriter(nn.Module):
    """The generator's module."""

    def __init__(self, data: DataSpec, z_dim: int, spec: WindowedGenerator, condition: Condition | None) -> None:
        super().__init__()
        self.data, self.window = data, spec.window
        self.end = GumbelSoftmax(temperature=spec.temperature)
        length, tokens = data.shape
        self.embedding = table(data, condition.dim) if isinstance(condition, Embedding) else None
        told = z_dim + (condition.dim if isinstance(condition, Embedding) else count(data))
        self.drawn = Uniforms(z_dim, length * tokens)
        self.told = nn.Linear(told, spec.width)
        self.ending = nn.Parameter(torch.zeros(length))
        """What speaks at each place for the token that ends a text; nothing else knows how long it has become."""
        self.read = nn.Linear(spec.window * tokens, spec.width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(spec.width, spec.width) for _ in range(spec.depth - 1))
        self.to_token = nn.Linear(spec.width, tokens)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self._written(z, y, 1.0)

    def truncated(self, z: Tensor, y: Tensor | None, psi: float) -> Tensor:
        """Texts whose tokens are drawn from probabilities to the power 1 / psi: likelier for psi below 1, and less
        varied."""
        return self._written(z, y, psi)

    def _written(self, z: Tensor, y: Tensor | None, psi: float) -> Tensor:
        length, tokens = self.data.shape
        told, uniform = self._told(z, y), self.drawn(z).view(-1, length, tokens)
        seen = [told.new_zeros(len(z), tokens)] * self.window
        written = []
        for t in range(length):
            logits = self._logits(torch.cat(seen, 1), told, self.ending[t]) / psi
            written.append(self.end(logits, uniform[:, t]))
            # Read as it stands: D's gradient says of each token whether another would be better among the rest.
            seen = [*seen[1:], written[-1].detach()]
        return torch.stack(written, 1)

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Of texts x [B, T, V], one-hot, the mean log-probability [B] of their tokens, each after those before it, the
        first that ends a text included."""
        before = torch.cat([x.new_zeros(len(x), self.window, x.shape[2]), x[:, :-1]], 1)
        seen = torch.cat([before[:, i : i + x.shape[1]] for i in range(self.window)], 2)
        logits = self._logits(seen, self._told(z, y)[:, None], self.ending)
        found = (torch.log_softmax(logits.float(), 2) * x).sum(2)
        counts = torch.cat([torch.ones_like(x[:, :1, 0]), 1 - x[:, :-1, 0].cummax(1).values], 1)
        mean: Tensor = (found * counts).sum(1) / counts.sum(1)
        return mean

    def _told(self, z: Tensor, y: Tensor | None) -> Tensor:
        c = numbers(y, self.data, z).flatten(1) if self.embedding is None else self.embedding(require(y, self.data, z))
        told: Tensor = self.told(torch.cat([z, c.to(z.dtype)], 1))
        return told

    def _logits(self, seen: Tensor, told: Tensor, ending: Tensor) -> Tensor:
        x = leaky_relu(self.read(seen) + told, 0.2)
        for layer in self.hidden:
            x = leaky_relu(layer(x), 0.2)
        logits = self.to_token(x)
        return torch.cat([logits[..., :1] + ending[..., None], logits[..., 1:]], -1)
