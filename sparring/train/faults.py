"""What can go wrong in a step, said by the step and answered by the loop: numbers that are none, memory full."""

from __future__ import annotations

from collections.abc import Mapping

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
    held = {k: v for k, v in tensors.items() if v.is_floating_point()}
    fine = torch.stack([tensor.isfinite().all() for tensor in held.values()])
    if not bool(fine.all()):
        bad = (name for name, sound in zip(held, fine.tolist(), strict=True) if not sound)
        raise NotFiniteError("weights", tuple(bad))


def without_frames(error: BaseException) -> None:
    """Lets go of the calls that an error came through, which hold everything that their step was made of."""
    error.with_traceback(None)
    error.__context__ = error.__cause__ = None


class memory_watched:  # noqa: N801 - read as a function, and four times as quick as one, in every step
    """Turns the several ways in which torch says that memory is full into `OutOfMemoryError`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, OutOfMemoryError):
            return
        full = isinstance(error, torch.OutOfMemoryError | MemoryError)
        # torch has no type of its own for the processor's.
        if full or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)):
            raise OutOfMemoryError(str(error).splitlines()[0] if str(error) else "") from None
