"""Samples of a generator that returns its noise: they are functions of the seed, their purpose and their place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparring.core.game import Critic
from sparring.core.protocols import DataSpec
from sparring.data.tensors import Resident, from_arrays
from sparring.games.priors import Gaussian
from sparring.train.samples import GRID_COLUMNS, Noise, Samples, at_once

CPU = torch.device("cpu")


class Echo(nn.Module):
    """Its noise, moved by 0.1 for each class."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z if y is None else z + 0.1 * y.float()[:, None]


class Sum(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x.sum(1)


def points(classes: int = 0) -> Resident:
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (90, 2)).astype(np.float32)
    return from_arrays(x, np.repeat(np.arange(classes), 90 // classes) if classes else None)


def samples(source: Resident, seed: int = 0) -> Samples:
    return Samples(Echo(), Noise(Gaussian(dim=2), CPU), source, seed, CPU, torch.autocast("cpu", enabled=False))


def test_what_was_drawn_before_does_not_matter() -> None:
    one, two = samples(points(3)), samples(points(3))
    torch.rand(5)
    two.numbered(0, 7)
    two.grid(Critic(Sum()))
    a, b = one.numbered(40, 10), two.numbered(40, 10)
    assert torch.equal(a.x, b.x)
    assert a.y is not None
    assert b.y is not None
    assert torch.equal(a.y, b.y)


def test_numbers_and_seeds_give_other_noise() -> None:
    x = samples(points()).numbered(40, 10).x
    assert not torch.equal(x, samples(points()).numbered(0, 10).x)
    assert not torch.equal(x, samples(points(), seed=1).numbered(40, 10).x)


def test_labels_follow_the_data_s_frequencies() -> None:
    random = np.random.default_rng(0)
    source = from_arrays(random.uniform(-1, 1, (90, 2)).astype(np.float32), np.repeat([0, 1, 2], [60, 20, 10]))
    y = samples(source).numbered(0, 3000).y
    assert y is not None
    found = torch.bincount(y, minlength=3) / 3000
    error = torch.tensor([2 / 3, 2 / 9, 1 / 9])
    assert float((found - error).abs().max()) < 4 * (2 / 9 / 3000) ** 0.5  # four standard errors


@pytest.mark.parametrize(("classes", "rows"), [(0, GRID_COLUMNS), (3, 3), (18, 16)])
def test_a_grid_has_a_row_for_each_class(classes: int, rows: int) -> None:
    batch, lesson = samples(points(classes)).grid(Critic(Sum()))
    assert batch.x.shape == (rows * GRID_COLUMNS, 2)
    if classes:
        assert batch.y is not None
        assert batch.y.view(rows, -1).tolist() == [[row] * GRID_COLUMNS for row in range(rows)]
    assert torch.equal(lesson.x.cpu(), batch.x[::GRID_COLUMNS][:10])


def test_samples_are_clamped_and_made_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.linspace(-3, 3, 14).view(7, 2)
    made = samples(points())
    monkeypatch.setattr("sparring.train.samples._VALUES_AT_ONCE", 6)
    assert at_once(points().spec) == 3
    asked = []
    monkeypatch.setattr(made, "generator", lambda z, y: asked.append(len(z)) or z)
    assert torch.equal(made.of(z, None), z.clamp(-1, 1))
    assert asked == [3, 3, 1]


def test_as_many_are_made_together_as_fill_no_memory() -> None:
    for shape, count in (((2,), 500), ((3, 32, 32), 500), ((3, 256, 256), 21), ((3, 1024, 1024), 1)):
        assert at_once(DataSpec(name="some", shape=shape)) == count


def test_a_plane_is_for_data_that_lie_in_one() -> None:
    images = from_arrays(np.zeros((5, 8, 8), dtype=np.uint8))
    assert samples(images).plane(Critic(Sum())) is None
    found = samples(points()).plane(Critic(Sum()))
    assert found is not None
