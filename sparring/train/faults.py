"""What can go wrong in a step, said by the step and answered by the loop: numbers that are none, memory full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

TIMES = 3
"""How often a run goes back because of numbers that are not finite; the next time it ends."""


class NotFiniteError(ArithmeticError):
    """A loss or a gradient is infinite or no number. Nothing has been applied of it.

    `bad` names what it was; `batch` is what the step was made of, for whoever wants to look.
    """

    def __init__(self, phase: str, bad: tuple[str, ...]) -> None:
        super().__init__(f"{phase}: {', '.join(bad)} not finite")
        self.phase = phase
        self.bad = bad
        self.batch: dict[str, Tensor] = {}


class OutOfMemoryError(MemoryError):
    """A step needs more memory than there is. It may have been made in part.

    `agreed` is whether all processes know, and raise it at the same place.
    """

    def __init__(self, said: str, *, agreed: bool = False) -> None:
        super().__init__(said)
        self.agreed = agreed


def refuse_not_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raises `NotFiniteError` that names those of the tensors in which something is infinite or no number."""
    held = {k: v for k, v in tensors.items() if v.is_floating_point() and v.numel()}
    fine = torch.stack([tensor.sum().float() for tensor in held.values()]).isfinite()
    if not bool(fine.all()):
        bad = (name for name, sound in zip(held, fine.tolist(), strict=True) if not sound)
        raise NotFiniteError("weights", tuple(bad))


def without_frames(error: BaseException) -> None:
    """Lets go of the calls that an error came through, which hold everything that their step was made of."""
    error.with_traceback(None)
    error.__context__ = error.__cause__ = None


@contextmanager
def memory_watched() -> Iterator[None]:
    """Turns the several ways in which torch says so into `OutOfMemoryError`."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(str(error).splitlines()[0] if str(error) else "") from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):  # torch has no type of its own for it
            raise OutOfMemoryError(str(error).splitlines()[0]) from None
        raise
