from __future__ import annotations

import pytest
import torch

from sparring.train.report import Report


def test_means_and_probabilities() -> None:
    report = Report()
    report.add({"loss_d": torch.tensor(1.0), "real_logits": torch.tensor([0.0, 2.0])})
    report.add({"loss_d": torch.tensor(3.0), "real_logits": torch.tensor([-2.0, 0.0])})
    values = report.drain()
    assert values == pytest.approx({"loss_d": 2.0, "d_real": 0.5})
    assert report.drain() == {}


def test_a_stored_state_gives_the_same_bits() -> None:
    whole, parts = Report(), Report()
    steps = [{"x": torch.randn(()), "y_logits": torch.randn(9)} for _ in range(7)]
    for step in steps:
        whole.add(step)
    for step in steps[:3]:
        parts.add(step)
    resumed = Report()
    resumed.load({k: v.clone() for k, v in parts.state().items()})
    for step in steps[3:]:
        resumed.add(step)
    assert resumed.drain() == whole.drain()


def test_the_order_in_which_a_state_is_loaded_does_not_matter() -> None:
    """A file gives its tensors in any order; processes that add theirs up go by this one."""
    steps = {"b": torch.ones(2), "a": torch.zeros(3), "c": torch.ones(1)}
    orders = []
    for names in (["b", "a", "c"], ["c", "b", "a"]):
        report = Report()
        report.load({name: steps[name] for name in names})
        orders.append((list(report.state()), list(report.drain())))
    assert orders == [(["a", "b", "c"], ["a", "b", "c"])] * 2
