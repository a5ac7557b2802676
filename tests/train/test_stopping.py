"""Patience: what counts as a gain, and when the wait is over."""

import pytest

from sparring.core.errors import RequestError
from sparring.train.stopping import Patience, Progress


def followed(values: list[float], error: float = 0.0, *, lower: bool = True) -> Progress:
    progress = Progress(100, values[0], error)
    for i, value in enumerate(values[1:], 2):
        progress = progress.follow(100 * i, value, error, lower=lower)
    return progress


def test_a_gain_is_more_than_the_error_of_what_it_beats() -> None:
    assert followed([10, 9.9, 9.8], error=0.5) == (100, 10, 0.5, 2)
    assert followed([10, 9.4, 9.3], error=0.5) == (200, 9.4, 0.5, 1)
    assert followed([10, 9.8, 9.6, 9.4], error=0.5) == (400, 9.4, 0.5, 0)  # small gains add up
    assert followed([0.5, 0.7, 0.6], lower=False) == (200, 0.7, 0.0, 1)


def test_the_wait_is_over_after_enough_scores_and_enough_images() -> None:
    patience = Patience(scores=3, factor=0.5)
    assert not followed([1, 2, 2]).over(patience, 300)
    assert followed([1, 2, 2, 2]).over(patience, 400)
    slow = Progress(images=1000, value=1.0, error=0.0, since=3)
    assert not slow.over(patience, 1499)
    assert slow.over(patience, 1500)
    assert not slow.over(Patience(scores=0), 10**9)


@pytest.mark.parametrize("wrong", [{"scores": -1}, {"factor": -0.1}, {"landing": 1.5}])
def test_ranges(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="patience: expected scores >= 0"):
        Patience(**wrong)  # type: ignore[arg-type]
