"""A feature network of the user's own: a torch module, or FILE.py:FUNCTION that makes one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.execute import load_function
from sparring.core.protocols import DataSpec
from sparring.metrics.features.network import FeatureNetwork, hash_tensors, in_parts

_AT_ONCE = 100


class Wrapped(FeatureNetwork):
    """A module x [B, *shape] in [-1, 1] -> features [B, dim], called with at most 100 samples at once."""

    num_classes = 0

    def __init__(self, module: nn.Module, name: str, sha256: str, dim: int) -> None:
        super().__init__()
        self.module, self.name, self.sha256, self.dim = module, name, sha256, dim

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, *shape] in [-1, 1] to features float32 [B, dim]."""
        like = next(self.module.parameters(), x)
        return in_parts(self.module, x.to(like.device, torch.float32), _AT_ONCE).float()


def wrap(module: nn.Module, data: DataSpec, *, name: str = "", text: str = "") -> FeatureNetwork:
    """A module as a feature network for some data. It is put into evaluation mode.

    Args:
        module: x [B, *data.shape] in [-1, 1] to features [B, d]; each sample's by itself. A `FeatureNetwork` stays
            one, and is only checked.
        data: what it will look at.
        name: what the scores call it; default: the name of its class.
        text: hashed with its tensors, for what its tensors do not say, such as the source of its code.

    Raises `RequestError` when, given two samples of zeros, it fails or gives something else than finite floating-point
    features [2, d].
    """
    name = name or (module.name if isinstance(module, FeatureNetwork) else type(module).__name__)
    module.eval()
    like = next(module.parameters(), torch.empty(0))
    said = f"features {name}: of 2 samples of zeros, shape {'×'.join(map(str, data.shape))}, expected"
    try:
        with torch.inference_mode():
            found = module(torch.zeros(2, *data.shape, device=like.device))
    except Exception as error:
        raise RequestError(
            f"{said} features of shape 2×d, found {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, Tensor):
        raise RequestError(f"{said} a tensor of features, found {type(found).__name__}")
    if found.dim() != 2 or len(found) != 2 or not found.shape[1]:
        raise RequestError(f"{said} features of shape 2×d, found {'×'.join(map(str, found.shape)) or 'one number'}")
    if not found.is_floating_point():
        raise RequestError(f"{said} floating-point features, found {str(found.dtype).removeprefix('torch.')}")
    if not found.isfinite().all():
        raise RequestError(f"{said} finite features, found NaN or infinity")
    if isinstance(module, FeatureNetwork):
        if found.shape[1] != module.dim:
            raise RequestError(f"{said} as many features as its dim, {module.dim}, found {found.shape[1]}")
        return module
    sha256 = hashlib.sha256(f"{hash_tensors(module.state_dict())} {name} {text}".encode()).hexdigest()
    return Wrapped(module, name, sha256, found.shape[1])


def load_module(name: str, data: DataSpec) -> FeatureNetwork:
    """The network that FUNCTION(data) of FILE.py:FUNCTION returns: a torch module or a `FeatureNetwork`.

    The file is executed, which is what naming it asks for. What the function draws at random is drawn from seed 0, so
    that a network of random weights is the same one each time; torch's global random state stays as it was.

    Raises `RequestError` as `load_function` and `wrap` do, for a function that fails, and for one that returns
    something else.
    """
    function = load_function(name, option="--features", kind="features")
    file, _, called = name.rpartition(":")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        try:
            made = function(data)
        except Exception as error:
            text = " ".join(str(error).split())
            raise RequestError(
                f"--features {name!r}: {called}(data) fails with {type(error).__name__}: {text}"
            ) from error
    if not isinstance(made, nn.Module):
        raise RequestError(
            f"--features {name!r}: expected {called}(data) to return a torch.nn.Module, found {type(made).__name__}"
        )
    own = getattr(made, "name", "") if isinstance(made, FeatureNetwork) else ""
    return wrap(made, data, name=own or f"{Path(file).name}:{called}", text=Path(file).read_text(encoding="utf-8"))
