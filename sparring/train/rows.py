"""A part of a step's batch that stands for itself: what is random, or normalised over the batch, is that of the whole.

A step may be computed in parts, on several processes or one after the other where memory is short. Within
`Whole(rows, sum)`, random numbers that are drawn for the rows of a part are drawn for all rows of the batch and cut, so
a sample meets the same noise, augmentation and dropout however the batch is divided. Batch normalisation takes its
means over the parts that `sum` adds up, which are those of other processes, but not those of other moments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sparring.core.exchange import Rows

_FREE = (torch.rand, torch.randn)
_LIKE = {torch.rand_like: torch.rand, torch.randn_like: torch.randn}


class Whole(TorchFunctionMode):
    """Within it, torch's default random numbers whose first dimension is the number of rows, or a multiple of it as
    where real and fake samples are joined, are cut from those of the whole batch.

    `add` is a differentiable sum of a tensor over the processes; None where there is but one.
    """

    def __init__(self, rows: Rows, add: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.rows = rows
        self.add = add

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named, draw = kwargs or {}, cast(Callable[..., Any], func)
        if func in _FREE and named.get("generator") is None:
            options, sizes = _apart(named, args)
            size = sizes[0] if sizes and isinstance(sizes[0], Sequence) else sizes
            return self._cut(lambda full: func(full, **options), size)
        if func in _LIKE:
            like = args[0]
            options = {"dtype": like.dtype, "device": like.device} | named
            return self._cut(lambda full: _LIKE[func](full, **options), like.shape)
        if func is torch.randint and named.get("generator") is None:
            options, (*bounds, size) = _apart(named, args)
            return self._cut(lambda full: draw(*bounds, size=full, **options), size)
        if func in (functional.dropout, functional.dropout2d):
            return self._dropped(func is functional.dropout2d, *args, **named)
        if func is functional.batch_norm and self.add is not None:
            return self._normalised(func, *args, **named)
        return func(*args, **named)

    def _cut(self, draw: Callable[[list[int]], Tensor], size: Sequence[int]) -> Tensor:
        own = self.rows.stop - self.rows.start
        if not size or size[0] % own:
            return draw(list(size))
        full = draw([size[0] // own * self.rows.total, *size[1:]])
        return full.view(-1, self.rows.total, *size[1:])[:, self.rows.start : self.rows.stop].flatten(0, 1)

    def _dropped(
        self, channels: bool, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return x
        size = [*x.shape[:2], *[1] * (x.dim() - 2)] if channels else list(x.shape)
        kept = self._cut(lambda full: torch.empty(full, dtype=x.dtype, device=x.device).bernoulli_(1 - p), size)
        return x * kept.div_(1 - p)

    def _normalised(
        self,
        func: Any,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return func(x, running_mean, running_var, weight, bias, False, momentum, eps)  # type: ignore[no-any-return]
        assert self.add is not None
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = self.add(wide.new_tensor(float(x.numel() // x.shape[1])))
        mean = self.add(wide.sum(dims)) / count
        away = wide - mean.view(shape)
        var = self.add(away.square().sum(dims)) / count
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.detach().to(running_mean), momentum)
            running_var.lerp_((var.detach() * count / (count - 1)).to(running_var), momentum)
        out = away * (var + eps).rsqrt().view(shape)
        if weight is not None:
            out = out * weight.view(shape)
        if bias is not None:
            out = out + bias.view(shape)
        return out.to(x.dtype)


def _apart(named: dict[str, Any], args: Sequence[Any]) -> tuple[dict[str, Any], Sequence[Any]]:
    """What was given by name, without the size; what was given by place, with it as the last."""
    if "size" not in named:
        return named, args
    return {name: value for name, value in named.items() if name != "size"}, (*args, named["size"])
