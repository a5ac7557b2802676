"""Players for the rows of tables (Xu et al. 2019, "Modeling tabular data using conditional GAN", section 4.4).

The generator's hidden layers stand one behind the other, h_{i+1} = h_i ⊕ ReLU(BN(FC(h_i))) with h_0 = z ⊕ y, and it
ends block by block: α_c = tanh(FC(h)), and one-hot vectors by Gumbel-softmax at temperature τ (Jang et al. 2017;
Maddison et al. 2017). The discriminator's are LeakyReLU_0.2(FC(h)) with dropout.

Away from the paper: the Gumbel noise comes from z, so that a sample is a function of z; a condition needs no term in
the loss, because the block that is asked for is set to what was asked; and the discriminator sees every number as a
value, too, whichever mode it is written by, because how columns go together shows in values.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, leaky_relu, one_hot

from sparring.core.errors import RequestError
from sparring.core.forms.table import SPAN, Categorical, Continuous, Table
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.networks.labels import count, numbers


class TabularGenerator(NetworkSpec):
    """G(z, y) -> x [B, D]: `depth` hidden layers of `width` units.

    The last numbers of z, one for every number of a softmax, choose categories and modes: through the normal law's
    distribution function they are the Gumbel noise. In evaluation mode what is chosen is exactly one-hot, so a category
    is drawn with the probability that the network gives it.
    """

    width: int = 128
    depth: int = 2
    temperature: float = 0.2

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 0 or not self.temperature > 0:
            raise RequestError(
                "TabularGenerator: expected width >= 1, depth >= 0 and temperature > 0, found "
                f"{self.width}, {self.depth} and {self.temperature}"
            )

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        form = form_of(data, "TabularGenerator")
        chosen = choices(form)
        if z_dim <= chosen:
            raise RequestError(
                f"TabularGenerator: expected a prior of more than {chosen} numbers, as many as draw the categories and "
                f"modes of {data.name}, found {z_dim}; set prior.dim to {chosen + 32}"
            )
        return Writer(data, form, z_dim, self.width, self.depth, self.temperature)


class TabularDiscriminator(NetworkSpec):
    """D(x, y) -> logits [B]: `depth` hidden layers of `width` units, each with `dropout`."""

    width: int = 128
    depth: int = 2
    dropout: float = 0.4

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 0 or not 0 <= self.dropout < 1:
            raise RequestError(
                "TabularDiscriminator: expected width >= 1, depth >= 0 and dropout in [0, 1), found "
                f"{self.width}, {self.depth} and {self.dropout}"
            )

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        return Reader(data, form_of(data, "TabularDiscriminator"), self.width, self.depth, self.dropout)


def form_of(data: DataSpec, who: str) -> Table:
    """What the numbers of rows mean. Raises `RequestError` for data that are no table."""
    if not isinstance(data.form, Table) or data.shape != (data.form.width,):
        raise RequestError(
            f"{who}: expected rows of a table, found {data.name} of shape {list(data.shape)}: take an MLP"
        )
    return data.form


def choices(form: Table) -> int:
    """How many numbers of a row are probabilities, and so how many numbers of z choose among them."""
    return sum(block.width for block in form.blocks() if block.kind == "softmax")


class Writer(nn.Module):
    """The generator's module."""

    def __init__(self, data: DataSpec, form: Table, z_dim: int, width: int, depth: int, temperature: float) -> None:
        super().__init__()
        self.data, self.temperature = data, temperature
        self.free = z_dim - choices(form)
        self.ends = Ends(form)
        widths = [self.free + count(data) + i * width for i in range(depth + 1)]
        self.hidden = nn.ModuleList(nn.Linear(before, width, bias=False) for before in widths[:-1])
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(depth))
        self.out = nn.Linear(widths[-1], form.width)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        c = numbers(y, self.data, z)
        h = torch.cat([z[:, : self.free], c], 1)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            h = torch.cat([h, norm(layer(h)).relu()], 1)
        noise = gumbel(z[:, self.free :])
        x: Tensor = self.ends(self.out(h).to(z.dtype), noise, c, self.temperature, not self.training)
        return x


class Ends(nn.Module):
    """The ends of all blocks at once: probabilities of blocks of different widths stand in rows of one matrix."""

    def __init__(self, form: Table) -> None:
        super().__init__()
        places = list(form.places())
        tanh = [place.start for place in places if place.block.kind == "tanh"]
        softmax = [place for place in places if place.block.kind == "softmax"]
        asked = sum(place.block.width for place in softmax if isinstance(place.column, Categorical))
        widest = max((place.block.width for place in softmax), default=1)
        # Numbers of a row, then noise, then the condition, for every block in a row of `widest`; what is behind the end
        # of a block is read from one more number, which is -inf, 0 and 0.
        read = torch.full((len(softmax), widest), form.width)
        draws = torch.full((len(softmax), widest), choices(form))
        wanted = torch.full((len(softmax), widest), asked)
        back = torch.zeros(form.width, dtype=torch.int64)
        back[tanh] = torch.arange(len(tanh))
        drawn = want = 0
        for row, place in enumerate(softmax):
            width = place.block.width
            read[row, :width] = torch.arange(place.start, place.start + width)
            draws[row, :width] = torch.arange(drawn, drawn + width)
            back[place.slice] = len(tanh) + row * widest + torch.arange(width)
            drawn += width
            if isinstance(place.column, Categorical):
                wanted[row, :width] = torch.arange(want, want + width)
                want += width
        self.shape = (len(softmax), widest)
        for name, index in {"tanh": torch.tensor(tanh, dtype=torch.int64), "read": read, "draws": draws}.items():
            self.register_buffer(name, index.flatten(), persistent=False)
        self.register_buffer("wanted", wanted.flatten(), persistent=False)
        self.register_buffer("back", back, persistent=False)

    def forward(self, out: Tensor, noise: Tensor, c: Tensor, temperature: float, hard: bool) -> Tensor:
        """x [B, D] of what the last layer gives [B, D], Gumbel noise [B, choices] and a condition c [B, categories]."""
        index = cast(dict[str, Tensor], self._buffers)
        numbers = out.index_select(1, index["tanh"]).tanh()
        logits = self._rows(out, index["read"], -torch.inf)
        soft = ((logits + self._rows(noise, index["draws"], 0.0)) / temperature).softmax(2)
        if hard:
            soft = one_hot(soft.argmax(2), self.shape[1]).to(soft) + soft - soft.detach()
        if c.shape[1]:
            asked = self._rows(c, index["wanted"], 0.0)
            soft = soft * (1 - asked.sum(2, keepdim=True)) + asked
        return torch.cat([numbers, soft.flatten(1)], 1).index_select(1, index["back"])

    def _rows(self, x: Tensor, index: Tensor, behind: float) -> Tensor:
        """Numbers of x [B, n] by block: [B, blocks, widest]."""
        return torch.cat([x, x.new_full((len(x), 1), behind)], 1).index_select(1, index).view(len(x), *self.shape)


def gumbel(z: Tensor) -> Tensor:
    """Gumbel noise from standard normal numbers: -log(-log Φ(z)), Φ cut at what float32 tells from 0 and 1."""
    uniform = (0.5 * (1 + torch.erf(z / math.sqrt(2)))).clamp(1e-6, 1 - 1e-6)
    return -(-uniform.log()).log()


class Reader(nn.Module):
    """The discriminator's module."""

    per_sample = True

    def __init__(self, data: DataSpec, form: Table, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.data, self.dropout = data, dropout
        self.values = Values(form)
        widths = [form.width + self.values.count + count(data), *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = torch.cat([x, self.values(x), numbers(y, self.data, x)], 1)
        for layer in self.hidden:
            h = dropout(leaky_relu(layer(h), 0.2), self.dropout, self.training)
        logits: Tensor = self.head(h).squeeze(1)
        return logits


class Values(nn.Module):
    """Every number as it is meant, whichever mode it is written by: Σ_k p_k (η_k + 4φ_k α), in deviations of its column
    from the column's mean; 0 where it is missing."""

    def __init__(self, form: Table) -> None:
        super().__init__()
        places = list(form.places())
        alphas, owners, modes = list[int](), list[int](), list[int]()
        means, scales = list[float](), list[float]()
        for at, place in enumerate(places):
            column = place.column
            if place.block.kind != "tanh" or not isinstance(column, Continuous):
                continue
            mean, deviation = column.moments()
            several = column.modes > 1
            for k, (eta, phi) in enumerate(zip(column.means, column.deviations, strict=True)):
                owners.append(len(alphas))
                modes.append(places[at + 1].start + k if several else form.width)
                means.append((eta - mean) / deviation)
                scales.append(SPAN * phi / deviation)
            alphas.append(place.start)
        self.count = len(alphas)
        self.register_buffer("alphas", torch.tensor(alphas, dtype=torch.int64), persistent=False)
        self.register_buffer("owners", torch.tensor(owners, dtype=torch.int64), persistent=False)
        self.register_buffer("modes", torch.tensor(modes, dtype=torch.int64), persistent=False)
        self.register_buffer("means", torch.tensor(means), persistent=False)
        self.register_buffer("scales", torch.tensor(scales), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, D] as values [B, numbers]."""
        own = cast(dict[str, Tensor], self._buffers)
        if not self.count:
            return x[:, :0]
        shares = torch.cat([x, x.new_ones(len(x), 1)], 1).index_select(1, own["modes"])
        alpha = x.index_select(1, own["alphas"].index_select(0, own["owners"]))
        parts = shares * (own["means"] + own["scales"] * alpha)
        return x.new_zeros(len(x), self.count).index_add(1, own["owners"], parts.to(x.dtype))
