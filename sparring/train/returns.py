"""What a run does differently after it has gone back, so that it does not fail in the same way again."""

from __future__ import annotations

from sparring.core.errors import TrainingError
from sparring.train.faults import TIMES, NotFiniteError, OutOfMemoryError
from sparring.train.health import Alarm, Means, not_finite


def with_other_numbers(fault: NotFiniteError, faults: int, images: int, means: Means) -> tuple[int, Alarm, str]:
    """After numbers that are not finite: how often that was, what to say of it, and of what is done.

    Raises `TrainingError` when it was tried `TIMES` times already; `images` are those at which it failed.
    """
    alarm = not_finite(fault.phase, fault.bad, means)
    if faults == TIMES:
        raise TrainingError(
            f"{alarm.cause}, after {images} images and {TIMES} returns to a good state; {alarm.mend}; the last "
            "checkpoint is good"
        )
    return faults + 1, alarm, f"another order of the data and other noise, attempt {faults + 1} of {TIMES}"


def with_less_memory(fault: OutOfMemoryError, rows: int, together: int, batch: int) -> tuple[int, Alarm, str]:
    """After `rows` samples at a time were too many: half of them, in whole packs of `together`; what to say of it, and
    of what is done.

    Raises `TrainingError` when there is no half.
    """
    half = rows // 2 // together * together
    if not half:
        raise cannot_be_divided(fault, rows)
    alarm = Alarm("out-of-memory", f"a step does not fit into memory ({fault})", "a smaller --set train.batch", {})
    return half, alarm, f"{half} samples at a time, whose gradients are added up, so a batch is still {batch}"


def cannot_be_divided(fault: OutOfMemoryError, rows: int) -> TrainingError:
    """The end of a run that has no smaller step."""
    return TrainingError(
        f"out of memory with {rows} samples at a time ({fault}), and the step can't be divided further: take smaller "
        "networks or smaller samples (--size)"
    )
