"""What a step needs of memory: counted by hand, foretold from small batches, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from sparring.core.errors import RequestError, SourceError
from sparring.data.tensors import Resident
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1R2
from sparring.games.show.packing import Packing
from sparring.games.unrolled import Unrolled
from sparring.train.memory import Need, _Keeper, _kept, fit, need
from sparring.train.recipe import Recipe
from sparring.train.trainer import Trainer

CPU = torch.device("cpu")
Make = Callable[..., Trainer]


def test_what_is_kept_is_counted_once_and_until_it_is_let_go() -> None:
    """By hand: exp keeps its result, the square of it the same tensor again, the product both of its factors."""
    keeper = _Keeper(set())
    x = torch.zeros(100, requires_grad=True)
    with saved_tensors_hooks(keeper.keep, lambda found: found.tensor):
        y = x.exp()
        assert keeper.now == 400
        z = y.square()
        assert keeper.now == 400
        w = y * z
        assert keeper.now == 800
    w.sum().backward()
    del w, z, y
    assert (keeper.now, keeper.most) == (0, 800)
    assert torch.equal(x.grad, torch.full((100,), 3.0))  # type: ignore[arg-type]


def test_parameters_do_not_count() -> None:
    weight, x = torch.ones(5, 7, requires_grad=True), torch.ones(3, 7)
    keeper = _Keeper({weight.untyped_storage().data_ptr()})
    with saved_tensors_hooks(keeper.keep, lambda found: found.tensor):
        y = x @ weight.T
    assert keeper.now == 3 * 7 * 4
    y.sum().backward()


@pytest.mark.parametrize("game", [Adversarial(), Adversarial(penalties=(R1R2(weight=1.0),)), Unrolled(depth=2)])
def test_small_batches_tell_what_a_large_one_keeps(trainer: Make, recipe: Recipe, game: Adversarial) -> None:
    playing = trainer(recipe.replace(game=game, train=recipe.train.replace(batch=40)))
    few, many = _kept(playing, 4), _kept(playing, 40)
    found = need(playing)
    assert found is not None
    each = found.each / 1.75
    assert abs(few + 36 * each - many) < 0.02 * many
    assert each > 8 * 8 * 4, "more than the sample itself"
    state = sum(tensor.nbytes for tensor in playing.state()[0].values())
    assert found.fixed > state


def test_asking_changes_nothing(trainer: Make) -> None:
    asked, other = trainer(), trainer()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert need(asked) is not None
    assert torch.equal(torch.get_rng_state(), before)
    for playing in (asked, other):
        for _ in range(4):
            playing.take_step()
    one, two = asked.state()[0], other.state()[0]
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_a_batch_that_fits_is_whole(trainer: Make) -> None:
    playing = trainer()
    said = fit(playing, 2**33)
    assert playing.micro is None
    assert said.startswith("memory: a step takes about ")
    assert said.endswith("of the 8.0 GiB that are free")


@pytest.mark.parametrize(("share", "rows"), [(0.99, 4), (0.49, 2), (0.24, 1)])
def test_of_a_batch_that_does_not_fit_parts_are_taken(trainer: Make, share: float, rows: int) -> None:
    """Free is so much that this share of the batch's own need fits."""
    playing = trainer()
    found = need(playing)
    assert found is not None
    free = (found.fixed + found.each * 8 * share) / 0.8 + 2
    said = fit(playing, int(free))
    assert playing.micro == rows
    assert f"so {rows} samples at a time" in said
    assert said.endswith("a batch is still 8")


def test_packs_stay_whole(recipe: Recipe, source: Resident) -> None:
    packed = recipe.replace(game=Adversarial(show=(Packing(size=4),)), train=recipe.train.replace(batch=24))
    playing = Trainer(packed, source.without_labels(), CPU)
    found = need(playing)
    assert found is not None
    fit(playing, int(found.of(5) / 0.8))
    assert playing.micro == 4


def test_what_can_never_fit_is_refused(trainer: Make, recipe: Recipe) -> None:
    with pytest.raises(RequestError, match=r"a step takes about \d+ MiB of memory, 1 MiB are free, and 1 samples"):
        fit(trainer(), 10)
    undivided = trainer(recipe.replace(game=Unrolled(depth=1)))
    with pytest.raises(RequestError, match="and a step can't be divided"):
        fit(undivided, 10)


def test_samples_that_cannot_be_read_are_the_runs_to_report(trainer: Make) -> None:
    playing = trainer()

    def take(index: torch.Tensor) -> None:
        raise SourceError("gone")

    playing.source.take = take  # type: ignore[method-assign,assignment]
    assert fit(playing, 10) == ""
    assert Need(3, 1.5).of(4) == 9
