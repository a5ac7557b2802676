"""What the discriminator teaches: against closed forms and finite differences, and asking changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.data.tensors import from_arrays
from sparring.games.adversarial import Adversarial
from sparring.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten
from sparring.networks.layered import Discriminator, Generator
from sparring.train.events import Sampled
from sparring.train.recipe import Recipe
from sparring.train.teaching import advice, step, teach
from sparring.train.trainer import Trainer

DATA = DataSpec(name="small", shape=(2, 6, 6), num_classes=3)


class Bowl(nn.Module):
    """D(x) = −½ |x − c|², highest at c."""

    def __init__(self, centre: Tensor) -> None:
        super().__init__()
        self.centre = nn.Parameter(centre)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return -(x - self.centre).square().flatten(1).sum(1) / 2


def critic() -> nn.Module:
    """Conditional, smooth, with batch statistics and dropout; in training mode."""
    torch.manual_seed(3)
    layers = [
        *(Conv2D(5, 3), BatchNormalization(), Activation("tanh"), Dropout(0.4)),
        *(Flatten(), Dense(7), Activation("tanh"), Dense(1)),
    ]
    return Discriminator(layers=layers).build(DATA, 4).train()


@pytest.fixture(name="batch")
def _batch() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.rand(9, 2, 6, 6, generator=random) * 1.6 - 0.8, torch.arange(9) % 3


@pytest.mark.parametrize("shape", [(4, 3), (4, 1, 5, 5)])
def test_the_advice_of_a_bowl_is_the_way_to_its_middle(shape: tuple[int, ...]) -> None:
    x = torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)
    centre = torch.full(shape[1:], 0.25)
    torch.testing.assert_close(advice(Bowl(centre), x), centre - x)


def test_the_advice_is_the_slope_found_by_finite_differences(batch: tuple[Tensor, Tensor]) -> None:
    net, (x, y) = critic().double(), batch
    x = x.double()
    torch.manual_seed(11)
    found = advice(net, x, y)

    def total(moved: Tensor) -> Tensor:
        torch.manual_seed(11)  # the same mask
        with torch.no_grad():
            logits: Tensor = net(moved, y)
            return logits.sum()

    for seed in range(3):
        way = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        slope = (total(x + 1e-5 * way) - total(x - 1e-5 * way)) / 2e-5
        assert (found * way).sum().item() == pytest.approx(slope.item(), rel=1e-6)
    other = torch.roll(y, 1)
    torch.manual_seed(11)
    assert not torch.allclose(advice(net, x, other), found)  # labels are heard


def test_asking_changes_nothing(batch: tuple[Tensor, Tensor]) -> None:
    net, (x, y) = critic(), batch
    given = x.clone()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        lesson = teach(net, x, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(module.training for module in net.modules())
    assert torch.equal(x, given)
    assert not x.requires_grad
    assert not any(part.requires_grad for part in lesson[:5])


def test_a_step_has_its_size_and_stays_in_range() -> None:
    random = torch.Generator().manual_seed(0)
    x, found = torch.zeros(5, 3, 4, 4), torch.randn(5, 3, 4, 4, generator=random)
    found[1] *= 1e-6
    found[2] = 0
    moved = step(x, found, 0.02)
    rms = moved.flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(rms, torch.tensor([0.02, 0.02, 0.0, 0.02, 0.02]))
    assert (moved.sign() == found.sign()).all()
    far = step(torch.full((5, 3, 4, 4), 0.9), found, 10.0)
    assert far.min() == -1
    assert far.max() == 1
    for size in (0.0, -0.1, float("nan")):
        with pytest.raises(RequestError, match="size of a step"):
            step(x, found, size)


def test_a_small_step_convinces_by_as_much_as_the_slope_says() -> None:
    """To first order D rises by size · rms(advice) · values; for a bowl the second order is known, too."""
    x, centre = torch.rand(4, 10, dtype=torch.float64) - 0.5, torch.full((10,), 0.6, dtype=torch.float64)
    for size in (0.01, 0.1):
        lesson = teach(Bowl(centre), x, size=size)
        rms = (centre - x).square().mean(1).sqrt()
        rise = (size * rms * 10 - size**2 * 10 / 2).float()
        torch.testing.assert_close(lesson.logits_after - lesson.logits, rise, rtol=1e-4, atol=1e-5)
        assert all(later > sooner for sooner, later in lesson.beliefs())
    torch.testing.assert_close(lesson.logits, -(x - centre).square().sum(1).float() / 2)
    torch.testing.assert_close(lesson.after, x + 0.1 * (centre - x) / rms[:, None])


def test_before_and_after_are_seen_through_the_same_mask() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(200, 1, bias=False))

    class Masked(nn.Module):
        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            out: Tensor = net(x)
            return out.flatten()

    lesson = teach(Masked(), torch.zeros(6, 200), size=0.01)
    rise = 0.01 * lesson.advice.square().mean(1).sqrt() * 200
    torch.testing.assert_close(lesson.logits_after, rise)


def with_memory(recipe: Recipe) -> Recipe:
    """Players whose discriminator has running statistics and draws random numbers."""
    return recipe.replace(
        game=Adversarial(),
        generator=Generator(layers=[Dense(64), Activation("tanh")]),
        discriminator=Discriminator(
            layers=[Dense(16), BatchNormalization(), Activation("tanh"), Dropout(0.5), Dense(1)]
        ),
    )


def test_lessons_leave_training_bitwise_the_same(trainer: Callable[..., Trainer], recipe: Recipe) -> None:
    recipe = with_memory(recipe)
    ends = []
    for grids in (6, 0):
        playing = trainer(recipe.replace(train=recipe.train.replace(grids=grids)))
        given = sum(isinstance(event, Sampled) for event in playing.run())
        assert given == (7 if grids else 0)
        ends.append({name: tensor.clone() for name, tensor in playing.state()[0].items()})
    assert [name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])] == []


def test_a_run_hears_the_live_discriminator_on_the_first_sample_of_each_row(
    trainer: Callable[..., Trainer], recipe: Recipe
) -> None:
    playing = trainer(with_memory(recipe))
    for _ in range(5):
        playing.take_step()
    state = torch.get_rng_state()
    event = playing.sample_grid()
    lesson = event.lesson
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(lesson.x, event.samples.x[[0, 8, 16]])
    assert lesson.y is not None
    assert lesson.y.tolist() == [0, 1, 2]

    x = event.samples.x.clone().requires_grad_()
    torch.set_rng_state(state)
    logits = playing.nets["discriminator"](x, torch.arange(3).repeat_interleave(8))
    (slope,) = torch.autograd.grad(logits.sum(), x)
    torch.testing.assert_close(lesson.advice, slope[[0, 8, 16]])
    torch.testing.assert_close(lesson.logits, logits[[0, 8, 16]].detach())
    torch.testing.assert_close(lesson.after, step(x.detach(), slope)[[0, 8, 16]])


def test_without_labels_a_lesson_has_none(recipe: Recipe) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    lesson = Trainer(recipe, from_arrays(images), torch.device("cpu")).sample_grid().lesson
    assert lesson.y is None
    assert lesson.x.shape == (8, 1, 8, 8)
