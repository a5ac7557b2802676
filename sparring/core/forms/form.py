"""A form says how samples of some kind are laid out as numbers, and so how numbers become such samples again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparring.core.spec import Spec


class Form(Spec):
    """What samples x [N, *shape] stand for. It is part of a `DataSpec`, so a generator knows it without its data."""

    def decode(self, x: Tensor) -> Any:
        """The samples as they would have come in; the least known value where x stands between two."""
        raise NotImplementedError(f"{type(self).__name__} must define decode()")

    def conditions(self, count: int, random: torch.Generator) -> Tensor | None:
        """Conditions [count, *y_shape] as frequent as in the data, for samples of which nothing is asked; None where
        the form knows of none."""
        return None
