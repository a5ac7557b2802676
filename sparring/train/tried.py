"""Networks of the user's own are tried before they are trained: what they give has to have the shape that is asked."""

from __future__ import annotations

import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.train.recipe import Recipe


def check_own(recipe: Recipe, data: DataSpec, generator: nn.Module, discriminator: nn.Module) -> None:
    """Tries both players of a recipe on two inputs of zeros, unless their specs are of this package, in evaluation mode
    so that nothing in them moves.

    Raises `RequestError` where a generator does not give x [B, *data.shape] and a discriminator not logits [B].
    """
    shown = recipe.game.shown(data)
    if not type(recipe.generator).__module__.startswith("sparring."):
        what = f"generator {type(recipe.generator).__name__}"
        _check(what, generator, (2, recipe.prior.dim), (2, *data.shape), data)
    if not type(recipe.discriminator).__module__.startswith("sparring."):
        what = f"discriminator {type(recipe.discriminator).__name__}"
        _check(what, discriminator, (2, *shown.shape), (2,), shown)


def _check(what: str, net: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...], data: DataSpec) -> None:
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    y = torch.zeros(2, dtype=torch.int64, device=device) if data.num_classes else None
    if data.y_shape:
        y = torch.zeros(2, *data.y_shape, device=device)
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found: object = net(torch.zeros(inputs, device=device), y)
    except Exception as error:  # it is the user's code, which may raise anything
        reason = " ".join(str(error).split())[:300]
        raise RequestError(f"{what}: failed on an input of shape {list(inputs)}: {reason}") from error
    finally:
        for module in training:
            module.training = True
    if not isinstance(found, torch.Tensor) or found.shape != outputs:
        given = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise RequestError(f"{what}: expected {list(outputs)} from an input of shape {list(inputs)}, found {given}")
