"""Path length regularisation (Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", equation
4 and appendix B)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import Memory
from sparring.core.game import GeneratorPenalty
from sparring.core.protocols import DataSpec


class PathLength(GeneratorPenalty):
    """weight · (|Jᵀε| - mean)² per sample [B], with J = ∂G/∂z and ε normal noise in the shape of a sample.

    A generator whose module has `mapped(z, y) -> w` and `synthesised(w, y) -> x`, such as StyleGAN2's, is held by
    J = ∂x/∂w instead, which is the paper's own definition: how a step in z moves w is free.

    ε is divided by the root of the number of pixels, so that lengths do not grow with the image. `mean` is the moving
    average of lengths, which keeps `1 - rate` of itself; given here is the value that it starts from. A step in z
    then changes the sample about equally far from everywhere and in every direction: for generators without batch
    normalisation, where smooth paths between samples or inversion are wanted. Weakness: second derivatives of the
    generator are dear, hence `every`; and the average starts far below the lengths, which at first are just made short.
    """

    weight: float = 2.0
    every: int = 4
    rate: float = 0.01
    mean: float = 0.0

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and self.every >= 1 and 0 < self.rate <= 1):
            raise RequestError(
                "PathLength: expected weight >= 0, every >= 1 and 0 < rate <= 1, found "
                f"{self.weight}, {self.every} and {self.rate}"
            )

    def memory(self, data: DataSpec) -> Memory:
        return {"mean": torch.tensor(self.mean)}

    def check(self, data: DataSpec, net: nn.Module) -> None:
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
            raise RequestError(
                "PathLength: the generator has batch normalisation, through which a sample's path depends on the rest "
                "of its batch; take a generator without it, or leave PathLength out"
            )

    def __call__(self, generator: nn.Module, z: Tensor, y: Tensor | None) -> tuple[Tensor, Memory]:
        mapped: Callable[[Tensor, Tensor | None], Tensor] | None = getattr(generator, "mapped", None)
        if mapped is None:
            start = z.detach().requires_grad_()
            x = generator(start, y).to(z.dtype)
        else:
            start = mapped(z, y)
            synthesised: Callable[[Tensor, Tensor | None], Tensor] = generator.synthesised  # type: ignore[assignment]
            x = synthesised(start, y).to(z.dtype)
        noise = torch.randn(x.shape, dtype=x.dtype, device=x.device) / math.prod(x.shape[2:]) ** 0.5
        # Samples that stand still, as a look at the game holds them, have a path of length 0.
        (path,) = torch.autograd.grad((x * noise).sum(), start, create_graph=True, materialize_grads=True)
        lengths: Tensor = torch.linalg.vector_norm(path, dim=1)
        mean = self.mean + self.rate * (lengths.mean() - self.mean)
        return self.weight * (lengths - mean).square(), {"mean": mean.detach()}
