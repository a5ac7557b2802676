"""Spectral normalisation (Miyato et al. 2018, "Spectral normalization for generative adversarial networks").

W̄ = W / σ(W) (equation 8), where σ is the largest singular value of the weights as a matrix with one row per output.
It is found by power iteration (algorithm 1): v = Wᵀu / |Wᵀu|, u = Wv / |Wv|, σ = uᵀWv. The vector u is kept from call
to call, a buffer beside the weights, and moves in training only.

Away from `torch.nn.utils.parametrizations.spectral_norm`: in evaluation the iteration goes on from u instead of taking
u and v as they are. Players are sampled from the average of their weights, where u is an average of vectors that turn
while W learns, and much shorter than 1: σ would come out too small, W̄ several times too large.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.layers.conditional_batchnorm import ConditionalNorm
from sparring.networks.labels import VectorEmbedding

_ITERATIONS_APART = 15
"""Rounds where no earlier call has left u near its end: in evaluation, and at the start."""


class SpectralNorm(NetworkSpec):
    """`network`, with the weights of every linear and convolutional layer divided by their largest singular value; but
    not what is computed of a condition alone, embeddings and the gains of conditional normalisation.

    Then no layer stretches a vector (a convolution at most by the root of its kernel's area), so the whole of a
    discriminator has a bounded slope everywhere, at the price of two products of a matrix and a vector per layer. For
    the hinge loss and deep discriminators; in both players after Zhang et al. 2019 (SAGAN). `iterations` is the number
    of rounds per call in training. Weakness: the bound is loose where layers contract, so that a discriminator with
    few layers may be too flat to teach; and what stays free, those gains and embeddings, is bounded by nothing.

    >>> from sparring.networks.mlp import MLPDiscriminator
    >>> D = SpectralNorm(network=MLPDiscriminator(width=8)).build(DataSpec(name="toy", shape=(2,)), z_dim=4)
    >>> round(torch.linalg.matrix_norm(D.eval().stack[0].weight.detach(), 2).item(), 4)
    1.0
    """

    network: NetworkSpec
    iterations: int = 1

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise RequestError(f"SpectralNorm: expected iterations >= 1, found {self.iterations}")

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        """The network's own module, its layers changed in place; `RequestError` when there is nothing to divide."""
        net = self.network.build(data, z_dim)
        free = {module.affine for module in net.modules() if isinstance(module, ConditionalNorm)}
        layers = {
            name: module
            for name, module in net.named_modules()
            if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
            and not isinstance(module, VectorEmbedding)
            and module not in free
        }
        if not layers:
            raise RequestError(
                f"SpectralNorm: {type(self.network).__name__} has no linear or convolutional layer to normalise; "
                "take the network without SpectralNorm"
            )
        for name, module in layers.items():
            if parametrize.is_parametrized(module, "weight"):
                found = cast(nn.ModuleDict, module.parametrizations)["weight"]
                if isinstance(cast(nn.ModuleList, found)[0], Divided):  # a user's module, built a second time
                    continue
                raise RequestError(
                    f"SpectralNorm: the weights of {name} in {type(self.network).__name__} are already computed from "
                    "others; take the network without SpectralNorm"
                )
            if not module.weight.any():
                raise RequestError(
                    f"SpectralNorm: the weights of {name} in {type(self.network).__name__} start at zero and cannot "
                    "be divided by their largest singular value; take another network, or this one without it"
                )
            outputs = 1 if isinstance(module, nn.modules.conv._ConvTransposeNd) else 0
            parametrize.register_parametrization(module, "weight", Divided(module.weight, outputs, self.iterations))
        return net


class Divided(nn.Module):
    """Weights [..., R, ...], R at dimension `outputs`, to as many, divided by σ of their matrix [R, N]."""

    u: Tensor
    """[R]"""

    def __init__(self, weight: Tensor, outputs: int, iterations: int) -> None:
        super().__init__()
        self.outputs, self.iterations = outputs, iterations
        start = torch.randn(weight.shape[outputs], dtype=weight.dtype, device=weight.device)
        with torch.no_grad():
            self.register_buffer("u", _iterate(self._matrix(weight), start, _ITERATIONS_APART)[0])

    def forward(self, weight: Tensor) -> Tensor:
        # In bfloat16 the iteration would stop where rounding hides what is left.
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self._matrix(weight)
            with torch.no_grad():
                u, v = _iterate(matrix, self.u, self.iterations if self.training else _ITERATIONS_APART)
                if self.training:
                    self.u.copy_(u)
            return weight / (u @ (matrix @ v))

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.outputs, 0).flatten(1)


def _iterate(matrix: Tensor, u: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """u [R] and v [N] of unit length after rounds of power iteration on a matrix [R, N]."""
    for _ in range(rounds):
        v = normalize(matrix.t() @ u, dim=0)
        u = normalize(matrix @ v, dim=0)
    return u, v
