"""A `torch.nn.Module` of the user's own as a player.

The module itself is trained, not a copy: afterwards it holds the trained weights. It cannot be written to a recipe,
as nothing read from disk is run; the recipe keeps its class's name, and such a run is resumed from Python with the
same module.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec

NOTE = "a module made in Python: resume from Python with the same module"


class Given(NetworkSpec):
    """What `GivenGenerator` and `GivenDiscriminator` share: the module, and its class's name as all that is stored."""

    module_class: str
    note: str

    # Subclasses take this constructor over by name: left out, a spec is given one that asks for all of its fields.
    def __init__(self, module: object = None, *, module_class: str = "", note: str = NOTE) -> None:
        if module is None:
            raise RequestError(
                f"{type(self).__name__}: expected the module itself, found only the name of its class, "
                f"{module_class!r}: resume this run from Python with the same module"
            )
        if not isinstance(module, nn.Module):
            made = ": make one of it" if isinstance(module, type) else ""
            raise RequestError(f"{type(self).__name__}: expected a torch.nn.Module, found {module!r}{made}")
        object.__setattr__(self, "module", module)
        object.__setattr__(self, "module_class", f"{type(module).__module__}.{type(module).__qualname__}")
        object.__setattr__(self, "note", note)


class GivenGenerator(Given):
    """`forward(z)` or `forward(z, y)` to x [B, *data.shape] in [-1, 1], or a vector of as many numbers.

    A tiny batch is tried when the network is built. `RequestError` when the output does not fit, when the module
    ends in a sigmoid (data lie in [-1, 1]: tanh), or when the data have conditions and it takes none.
    """

    __init__ = Given.__init__

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        module: nn.Module = getattr(self, "module")  # noqa: B009  (no field: fields are what JSON holds)
        adapted = Adapted(module, _takes_labels(module, data), data.shape)
        out = _try(module, adapted, (z_dim,), data)
        found = tuple(out.shape)
        if found not in ((2, *data.shape), (2, math.prod(data.shape))):
            raise RequestError(
                f"generator {self.module_class}: expected x of shape {(2, *data.shape)} from a z of shape "
                f"{(2, z_dim)}, found {found}"
            )
        if _ends_in_sigmoid(out):
            raise RequestError(
                f"generator {self.module_class} ends in a sigmoid, whose range is [0, 1]: data lie in [-1, 1], "
                "end it with tanh"
            )
        return adapted


class GivenDiscriminator(Given):
    """`forward(x)` or `forward(x, y)` to logits [B] or [B, 1].

    A module that has a method `forward_with_classes(x)`, to logits [B] and class logits [B, num_classes], tells classes
    (see the game `AuxiliaryClassifier`); its `forward` need not take y. A tiny batch is tried when the network is
    built. `RequestError` when the output does not fit, when the module ends in a sigmoid (losses work on logits), or
    when the data have conditions, and it neither takes nor tells them.
    """

    __init__ = Given.__init__

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        module: nn.Module = getattr(self, "module")  # noqa: B009
        tells = data.num_classes > 0 and hasattr(module, "forward_with_classes")
        adapted = AdaptedWithClasses(module, False, ()) if tells else Adapted(module, _takes_labels(module, data), ())
        out = _try(module, adapted, data.shape, data)
        if out.numel() != 2 or len(out) != 2:
            raise RequestError(
                f"discriminator {self.module_class}: expected one logit per sample, [2] or [2, 1] from an x of shape "
                f"{(2, *data.shape)}, found {list(out.shape)}"
            )
        if _ends_in_sigmoid(out):
            raise RequestError(
                f"discriminator {self.module_class} ends in a sigmoid: losses work on logits, remove the sigmoid"
            )
        if isinstance(adapted, AdaptedWithClasses):
            with _evaluating(module):
                logits, classes = adapted.forward_with_classes(out.new_zeros(2, *data.shape))
            if (logits.shape, classes.shape) != ((2,), (2, data.num_classes)):
                raise RequestError(
                    f"discriminator {self.module_class}: expected forward_with_classes to give logits [2] and class "
                    f"logits [2, {data.num_classes}], found {list(logits.shape)} and {list(classes.shape)}"
                )
        return adapted


class Adapted(nn.Module):
    """The user's module with the signature and shapes that players have; what to pass was decided when built."""

    def __init__(self, module: nn.Module, takes_labels: bool, out_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.module = module
        self.takes_labels, self.out_shape = takes_labels, out_shape

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        out: Tensor = self.raw(x, y)
        return out.reshape(-1, *self.out_shape)

    def raw(self, x: Tensor, y: Tensor | None) -> Tensor:
        out: Tensor = self.module(x, y) if self.takes_labels else self.module(x)
        return out


class AdaptedWithClasses(Adapted):
    """The same for a discriminator that does not see classes and tells them."""

    def forward_with_classes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B] and class logits [B, num_classes]."""
        logits, classes = cast(Any, self.module).forward_with_classes(x)
        return logits.flatten(), classes


def _takes_labels(module: nn.Module, data: DataSpec) -> bool:
    """Whether forward is to be called with y, from its signature."""
    parameters = inspect.signature(module.forward).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not data.is_conditional:
        return len(positional) > 1 and positional[1].default is inspect.Parameter.empty
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        has = f"{data.num_classes} classes" if data.num_classes else f"conditions of shape {list(data.y_shape)}"
        raise RequestError(
            f"{type(module).__qualname__}: expected forward to take labels y after its input, as {data.name} has "
            f"{has}, found {inspect.signature(module.forward)}: add y, or set the labels aside"
        )
    return True


def _try(module: nn.Module, adapted: Adapted, in_shape: tuple[int, ...], data: DataSpec) -> Tensor:
    """The module's own output for two inputs of zeros, in evaluation mode so that no running statistics move."""
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    x = torch.zeros(2, *in_shape, dtype=like.dtype, device=like.device, requires_grad=True)
    y = torch.zeros(2, dtype=torch.int64, device=like.device) if data.num_classes else None
    if data.y_shape:
        y = torch.zeros(2, *data.y_shape, dtype=like.dtype, device=like.device)
    with _evaluating(module):
        try:
            out: object = adapted.raw(x, y)
        except Exception as error:
            raise RequestError(
                f"{type(module).__qualname__}: forward failed on an input of shape {tuple(x.shape)}: {error}"
            ) from error
    if not isinstance(out, Tensor):
        raise RequestError(
            f"{type(module).__qualname__}: expected forward to return a tensor, found {type(out).__name__}"
        )
    return out


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for m in training:
            m.training = True


def _ends_in_sigmoid(out: Tensor) -> bool:
    """Whether the last operation, apart from changes of shape, was a sigmoid: read from the graph of gradients."""
    node = out.grad_fn
    reshapes = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice")
    while node is not None and node.name().startswith(reshapes):
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith("Sigmoid")
