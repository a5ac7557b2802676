from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import pytest
import torch

from sparring.core.protocols import Blocks, Drawn
from sparring.core.seeds import derive
from sparring.data.tensors import from_arrays
from sparring.train.order import BlockOrder, DrawnOrder, Order, order_of

BLOCKS = Blocks(lengths=[5, 1, 7, 3, 4, 4, 6], window=3)


def test_each_epoch_is_a_permutation_and_epochs_differ() -> None:
    order = Order(10, seed=1)
    first, second = order.indices(0, 10), order.indices(10, 10)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()


def test_a_position_is_all_that_matters() -> None:
    whole = Order(7, seed=3).indices(0, 50)
    for start, count in [(0, 7), (5, 9), (20, 30), (6, 1), (3, 40)]:
        torch.testing.assert_close(Order(7, seed=3).indices(start, count), whole[start : start + count])


def test_seeds_give_different_orders() -> None:
    assert Order(100, seed=0).indices(0, 100).tolist() != Order(100, seed=1).indices(0, 100).tolist()


@pytest.mark.parametrize("window", [1, 2, 3, 6, 7, 20])
def test_each_epoch_of_blocks_is_a_permutation(window: int) -> None:
    order = BlockOrder(BLOCKS._replace(window=window), seed=1)
    epochs = [order.indices(30 * epoch, 30).tolist() for epoch in range(3)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert BlockOrder(BLOCKS._replace(window=window), seed=2).indices(0, 30).tolist() != epochs[0]


@pytest.mark.parametrize("blocks", [Blocks([1] * 30, 1), Blocks([30], 1)])
def test_blocks_and_what_is_in_them_are_drawn_anew_in_each_epoch(blocks: Blocks) -> None:
    order = BlockOrder(blocks, seed=1)
    assert order.indices(0, 30).tolist() != order.indices(30, 30).tolist()


def test_a_position_is_all_that_matters_in_blocks() -> None:
    whole = BlockOrder(BLOCKS, seed=3).indices(0, 200)
    one = BlockOrder(BLOCKS, seed=3)
    for start, count in [(0, 7), (190, 10), (5, 90), (29, 2), (30, 1), (3, 150), (12, 1)]:
        expected = whole[start : start + count]
        torch.testing.assert_close(one.indices(start, count), expected)
        torch.testing.assert_close(BlockOrder(BLOCKS, seed=3).indices(start, count), expected)


def test_only_a_window_of_blocks_is_visited_at_a_time_and_all_of_it_is_mixed() -> None:
    lengths, window = [10] * 40, 8
    order = BlockOrder(Blocks(lengths, window), seed=0).indices(0, 400).reshape(-1, 80) // 10
    assert all(len(part.unique()) == window for part in order)
    assert len(order.flatten().unique()) == 40
    # A block's samples lie all over its window: the mean place of each of them is near its middle.
    places = torch.stack([(part == block).nonzero().float().mean() for part in order for block in part.unique()])
    # The mean of 10 of 80 places drawn without replacement has a standard deviation of 6.9.
    assert (places - 39.5).abs().max() < 5 * 6.9
    assert (places - 39.5).abs().mean() > 2


def test_a_billion_samples_are_reached_at_once_in_bounded_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    order = BlockOrder(Blocks(np.full(65536, 15259), 4), seed=0)  # type: ignore[arg-type]
    found = order.indices(10**9 - 32, 64)  # the end of an epoch is close
    assert time.perf_counter() - started < 1
    assert found.max() < order.num_samples == 65536 * 15259
    assert len(found.unique()) == 64
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_what_lies_in_blocks_says_so() -> None:
    held = from_arrays(np.zeros((9, 2), np.uint8))
    assert isinstance(order_of(held, 5), Order)
    torch.testing.assert_close(order_of(held, 5).indices(3, 20), Order(9, 5).indices(3, 20))
    held.blocks = Blocks([4, 5], 2)  # type: ignore[attr-defined]
    order = order_of(held, 5)
    assert isinstance(order, BlockOrder)
    torch.testing.assert_close(order.indices(3, 20), BlockOrder(Blocks([4, 5], 2), 5).indices(3, 20))


@pytest.mark.parametrize("order", [Order(50, seed=2), BlockOrder(BLOCKS, seed=2)])
def test_nothing_is_drawn_twice_by_steps_that_say_what_comes_next(
    order: Order | BlockOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 8 do not divide an epoch: one that spans two asks for both, and so does the one that announces it."""
    drawn: list[int] = []

    def counted(seed: int, *place: Any) -> int:
        if place[0] != "blocks":  # the order of the blocks is short; what is long is the samples of a window
            drawn.append(derive(seed, *place))
        return derive(seed, *place)

    monkeypatch.setattr("sparring.train.order.derive", counted)
    for step in range(20):
        order.indices(8 * step, 8)
        order.indices(8 * (step + 1), 8)
    assert len(drawn) == len(set(drawn))


class Drawing:
    """Draws 0 three times as often as 1, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def draw(self, count: int, random: torch.Generator) -> torch.Tensor:
        self.asked += 1
        return (torch.rand(count, generator=random) > 0.75).long()


def test_a_position_is_all_that_matters_where_the_source_draws() -> None:
    run = DrawnOrder.RUN
    whole = DrawnOrder(Drawing(), seed=3).indices(0, 3 * run)
    one = DrawnOrder(Drawing(), seed=3)
    for start, count in [(0, 7), (run - 3, 6), (2 * run, run), (5, 2 * run), (run, 1), (17, 0)]:
        expected = whole[start : start + count]
        assert torch.equal(one.indices(start, count), expected)
        assert torch.equal(DrawnOrder(Drawing(), seed=3).indices(start, count), expected)


def test_what_is_drawn_is_the_sources_and_differs_by_run_and_seed() -> None:
    run = DrawnOrder.RUN
    whole = DrawnOrder(Drawing(), seed=3).indices(0, 10 * run)
    assert abs(whole.float().mean() - 0.25) < 5 * (0.25 * 0.75 / len(whole)) ** 0.5
    assert not torch.equal(whole[:run], whole[run : 2 * run])
    assert not torch.equal(whole[:run], DrawnOrder(Drawing(), seed=4).indices(0, run))


def test_a_run_is_drawn_once_by_steps_that_say_what_comes_next() -> None:
    source = Drawing()
    assert isinstance(source, Drawn)
    order = DrawnOrder(source, seed=0)
    steps = 2 * DrawnOrder.RUN // 48
    for step in range(steps):
        order.indices(48 * step, 48)
        order.indices(48 * (step + 1), 48)
    assert source.asked == 3, "the announcement of the last step reaches the third"


def test_a_source_that_draws_is_visited_as_it_draws() -> None:
    held = from_arrays(np.zeros((9, 2), np.uint8))
    held.draw = Drawing().draw  # type: ignore[attr-defined]
    order = order_of(held, 5)
    assert isinstance(order, DrawnOrder)
    assert torch.equal(order.indices(3, 20), DrawnOrder(Drawing(), 5).indices(3, 20))
