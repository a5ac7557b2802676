from __future__ import annotations

import torch

from sparring.train.order import Order


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
