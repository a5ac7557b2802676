"""Orthogonal regularisation of weights (Brock et al. 2017, "Neural photo editing with introspective adversarial
networks", with absolute values in place of squares; with squares, and without the diagonal: Brock, Donahue and Simonyan
2019, "Large scale GAN training for high fidelity natural image synthesis", section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Memory, Seen
from sparring.core.game import Critic, GeneratorPenalty, Part, Penalty
from sparring.core.protocols import DataSpec

_LAYERS = nn.Linear | nn.modules.conv._ConvNd


class Orthogonal(Penalty):
    """weight · Σ |W Wᵀ ∘ (1 - I)|² over the discriminator's layers, W having one row per output; a number, [].

    Rows are drawn apart but may have any length; with `diagonal`, |W Wᵀ - I|², they are drawn to length 1 as well. Of
    linear layers and convolutions; of the filters of one group where a convolution has groups. Against filters that
    repeat each other, in wide networks. Weakness: a layer with more outputs than inputs cannot reach 0, and it says
    nothing about how steep the discriminator is.
    """

    weight: float = 1e-4
    diagonal: bool = False

    def check(self, data: DataSpec, net: nn.Module) -> None:
        super().check(data, net)
        _check(self, net)

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight * overlap(critic.net, self.diagonal)


class GeneratorOrthogonal(GeneratorPenalty):
    """As `Orthogonal`, of the generator's layers: what lets it stand a truncated prior (Brock et al. 2019)."""

    weight: float = 1e-4
    diagonal: bool = False

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and self.every >= 1):
            found = f"{self.weight} and {self.every}"
            raise RequestError(f"GeneratorOrthogonal: expected weight >= 0 and every >= 1, found {found}")

    def check(self, data: DataSpec, net: nn.Module) -> None:
        _check(self, net)

    def __call__(self, generator: nn.Module, z: Tensor, y: Tensor | None) -> tuple[Tensor, Memory]:
        return self.weight * overlap(generator, self.diagonal), {}


def overlap(net: nn.Module, diagonal: bool) -> Tensor:
    """Σ |W Wᵀ - I|² [] over the layers, without the diagonal unless it is asked for."""
    terms = []
    for module in net.modules():
        if isinstance(module, _LAYERS):
            rows = _rows(module)
            # In bfloat16 rounding would hide how far from orthogonal rows are that nearly are.
            with torch.autocast(rows.device.type, enabled=False):
                gram = rows @ rows.mT
            aim = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
            terms.append((gram - aim if diagonal else gram * (1 - aim)).square().sum())
    # None where a look stands in for the generator with samples that are there already.
    return torch.stack(terms).sum() if terms else torch.zeros(())


def _check(part: Part, net: nn.Module) -> None:
    if not any(isinstance(module, _LAYERS) for module in net.modules()):
        raise RequestError(f"{type(part).__name__}: the network has no linear or convolutional layer; leave it out")


def _rows(module: nn.Linear | nn.modules.conv._ConvNd) -> Tensor:
    """The weights [groups, outputs of a group, inputs of a group · pixels of the kernel]."""
    if isinstance(module, nn.Linear):
        return module.weight[None]
    split = module.weight.view(module.groups, -1, *module.weight.shape[1:])
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        split = split.transpose(1, 2)
    rows: Tensor = split.flatten(2)
    return rows
