"""Networks no larger than their files: a recipe says how large a network is, and only its weights show that it was.

Parameters are counted as they are registered, which is before values are drawn for them: memory that is only reserved
costs nothing. So a recipe that asks for 10^12 numbers, or for a million layers, is refused at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from sparring.core.errors import RequestError

_MOST_TENSORS = 10_000


@contextmanager
def no_larger_than(numbers: int) -> Iterator[None]:
    """Within it, networks are made that have no more than `numbers` numbers in 10,000 parameters, all together.

    A file of as many bytes holds no more. Raises `RequestError` as soon as there are more, and where torch cannot
    reserve the memory.
    """
    tensors, found = 0, 0

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal tensors, found
        tensors, found = tensors + 1, found + (0 if parameter is None else parameter.numel())
        if tensors > _MOST_TENSORS or found > numbers:
            raise RequestError(
                f"the recipe describes networks of more than {numbers:,} numbers in {_MOST_TENSORS:,} tensors, which "
                "its weights cannot hold; expected a recipe and weights that belong together"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(f"the recipe describes a network that cannot be made: {why}") from None
    finally:
        hook.remove()
