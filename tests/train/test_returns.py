"""What is done differently after a return, and when there is nothing left to do."""

from __future__ import annotations

import pytest

from sparring.core.errors import TrainingError
from sparring.games.adversarial import Adversarial
from sparring.train.faults import NotFiniteError, OutOfMemoryError
from sparring.train.health import Means
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.returns import with_less_memory, with_other_numbers

FULL = OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("rows", "together", "half"), [(8, 1, 4), (7, 1, 3), (2, 1, 1), (12, 4, 4), (8, 4, 4), (6, 2, 2)]
)
def test_half_of_the_rows_in_whole_packs(rows: int, together: int, half: int) -> None:
    assert with_less_memory(FULL, rows, together, 64)[0] == half


@pytest.mark.parametrize(("rows", "together"), [(1, 1), (4, 4), (3, 2)])
def test_no_less_than_a_pack(rows: int, together: int) -> None:
    with pytest.raises(TrainingError, match=f"out of memory with {rows} samples at a time .CUDA out of memory"):
        with_less_memory(FULL, rows, together, 64)


def test_three_returns_from_numbers_that_are_not_finite() -> None:
    adam = Adam(lr=1e-3)
    means = Means(Adversarial(), Optimizers(generator=adam, discriminator=adam))
    fault = NotFiniteError("generator", ("loss", "gradient of head.weight"))
    faults = 0
    for attempt in (1, 2, 3):
        faults, alarm, said = with_other_numbers(fault, faults, 640, means)
        assert faults == attempt
        assert said.endswith(f"attempt {attempt} of 3")
        assert alarm.cause.startswith("generator: loss, gradient of head.weight")
    with pytest.raises(TrainingError, match="after 640 images and 3 returns"):
        with_other_numbers(fault, faults, 640, means)
