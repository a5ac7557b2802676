"""Weight clipping (Arjovsky, Chintala and Bottou 2017, "Wasserstein GAN", algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparring.core.errors import RequestError
from sparring.core.game import Constraint
from sparring.core.protocols import DataSpec


class WeightClipping(Constraint):
    """After each move, every parameter w becomes min(max(w, -bound), bound); the bound is the paper's c.

    The critic of the first Wasserstein GAN: its slopes are bounded by a constant that nobody knows. Taken for
    comparison, with RMSprop at 5e-5. Weakness: weights are driven to the two ends, so that the critic is too simple,
    and gradients vanish or explode with depth (Gulrajani et al. 2017, section 3): `WGANGP` is what replaced it.
    """

    bound: float = 0.01

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise RequestError(f"WeightClipping: expected a bound above 0, found {self.bound}")

    def check(self, data: DataSpec, net: nn.Module) -> None:
        names = [name for name, module in net.named_modules() if is_parametrized(module) or _is_hooked(module)]
        if names:
            raise RequestError(
                f"WeightClipping: the weights of {names[0]} in the {self.player} are computed from others, as by "
                "spectral normalisation, so clipping those bounds nothing; take one of the two"
            )

    def project(self, parameters: Sequence[Tensor]) -> None:
        torch._foreach_clamp_min_(list(parameters), -self.bound)
        torch._foreach_clamp_max_(list(parameters), self.bound)


def _is_hooked(module: nn.Module) -> bool:
    """Whether a hook of `torch.nn.utils.spectral_norm` or `weight_norm`, the older ones, computes the weights."""
    return "weight" not in module._parameters and isinstance(getattr(module, "weight", None), Tensor)
