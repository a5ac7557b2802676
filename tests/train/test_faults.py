"""Steps that cannot be made: nothing is applied of them, the run goes back and on, and it ends when that is no use."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sparring.core.errors import SourceError, TrainingError
from sparring.core.exchange import Exchange
from sparring.core.game import Objective
from sparring.data.tensors import Resident
from sparring.display import ProgressLine
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import NonSaturating
from sparring.games.penalties import R1
from sparring.opening import Request
from sparring.rundir import RunFolder, read_rows
from sparring.train.events import Event, Faulted, Saved, Stepped
from sparring.train.faults import NotFiniteError, OutOfMemoryError
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer

Make = Callable[..., Trainer]


def numbers(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.state()[0].items()}


def spoil(trainer: Trainer, turn: str, *steps: int, times: int = 99) -> list[int]:
    """The loss of a player's turn is no number at these steps, as often as `times` altogether; returns where it was."""
    hit: list[int] = []
    phases = []
    for phase in trainer.phases:

        def loss(exchange: Exchange, loss: Callable[[Exchange], Tensor] = phase.loss, name: str = phase.name) -> Tensor:
            value = loss(exchange)
            if name == turn and exchange.clock.step in steps and len(hit) < times:
                hit.append(exchange.clock.step)
                return value * float("nan")
            return value

        phases.append(phase._replace(loss=loss))
    trainer.phases = tuple(phases)
    # A run that goes back makes its phases anew; they are to be spoilt as well.
    original = trainer.load

    def load(tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        original(tensors, meta)
        trainer.phases = tuple(phases)

    trainer.load = load  # type: ignore[method-assign]
    return hit


@pytest.mark.parametrize("turn", ["discriminator", "generator"])
def test_a_move_along_no_number_is_not_made(trainer: Make, turn: str) -> None:
    playing = trainer()
    for _ in range(3):
        playing.take_step()
    spoil(playing, turn, 3)
    before = numbers(playing)
    with pytest.raises(NotFiniteError) as caught:
        playing.take_step()
    after = numbers(playing)
    weights = {f"{side}.net.{name}" for side, net in playing.nets.items() for name, _ in net.named_parameters()}
    learned = weights | {name for name in after if ".optimizer." in name or ".average." in name}
    moved = {name.split(".")[0] for name in learned if not torch.equal(before[name], after[name])}
    assert moved <= ({"discriminator"} if turn == "generator" else set())  # who came first has moved, rightly
    assert caught.value.phase == turn
    assert caught.value.bad[0] == "loss"
    assert set(caught.value.batch) == {"real", "y", "z", "index"}
    assert playing.step == 3


def test_a_loss_that_is_infinite_where_its_slope_is_not(trainer: Make) -> None:
    playing = trainer()
    phases = playing.phases
    playing.phases = (phases[0]._replace(loss=lambda exchange: phases[0].loss(exchange) + float("inf")), phases[1])
    with pytest.raises(NotFiniteError) as caught:
        playing.take_step()
    assert caught.value.bad == ("loss",)


def test_a_gradient_that_is_no_number_is_named(trainer: Make) -> None:
    playing = trainer()
    weight = playing.players["generator"].parameters[-1]
    name = [name for name, _ in playing.nets["generator"].named_parameters()][-1]
    weight.register_hook(lambda slope: slope * float("inf"))
    with pytest.raises(NotFiniteError) as caught:
        playing.take_step()
    assert caught.value.phase == "generator"
    assert caught.value.bad == (f"gradient of {name}",)


@pytest.mark.parametrize("turn", ["discriminator", "generator"])
def test_the_run_goes_back_and_on_with_other_data(
    trainer: Make, recipe: Recipe, turn: str, positions_asked: Callable[[Trainer], list[list[int]]]
) -> None:
    """Saved after every report, of five steps each: what fails at step 13 goes back to step 10."""
    playing = trainer(recipe.replace(train=recipe.train.replace(save_seconds=1e-9)))
    whole, asked = trainer(), positions_asked(playing)
    hit = spoil(playing, turn, 13, times=1)
    good: dict[str, Tensor] = {}
    faults = []
    for event in playing.run():
        if isinstance(event, Saved) and event.clock.step == 10:
            good = {name: tensor.clone() for name, tensor in event.tensors.items()}
            asked.clear()
        if isinstance(event, Faulted):
            faults.append(event)
            there = numbers(playing)
            assert [name for name in good if not torch.equal(good[name], there[name])] == []
    assert hit == [13]
    (fault,) = faults
    assert (fault.clock.step, fault.failed.step, fault.alarm.name) == (10, 13, "non-finite")
    assert "attempt 1 of 3" in fault.mending.mend
    assert fault.batch["real"].shape == (8, 1, 8, 8)
    usual = [list(map(int, whole.order.indices(8 * step, 8))) for step in range(10, 14)]
    batches = [positions for positions in asked if len(positions) == 8]
    assert batches[:4] == usual
    assert batches[4:8] != usual  # from here on the order is another one
    assert batches[4:8] != [*batches[:4]]
    assert playing.clock.step == 24
    assert playing.faults == 1


def test_it_ends_after_three_returns(trainer: Make, recipe: Recipe) -> None:
    playing = trainer(recipe.replace(train=recipe.train.replace(save_seconds=1e-9)))
    spoil(playing, "generator", 7)
    events: list[Event] = []
    with pytest.raises(TrainingError, match=r"generator: loss.*3 returns to a good state.*lower the learning rate"):
        events.extend(playing.run())
    assert [event.clock.step for event in events if isinstance(event, Faulted)] == [5, 5, 5]
    assert [event.clock.step for event in events if isinstance(event, Stepped)] == [5]


def test_weights_that_break_without_a_gradient_are_never_saved(trainer: Make, recipe: Recipe) -> None:
    """An average, say: no loss reads it, so only a look at what would be stored can tell."""
    playing = trainer(recipe.replace(train=recipe.train.replace(save_seconds=1e-9)))
    original, broken = playing.take_step, []

    def step() -> None:
        original()
        if playing.step == 24 and not broken:
            broken.append(playing.step)
            average = playing.players["generator"].average
            assert average is not None
            with torch.no_grad():
                next(average.parameters()).fill_(float("inf"))

    playing.take_step = step  # type: ignore[method-assign]
    events = list(playing.run())
    assert broken == [24]
    saved = [event for event in events if isinstance(event, Saved)]
    assert saved[-1].why == "end"
    assert [event.clock.step for event in events if isinstance(event, Faulted)] == [20]
    assert all(bool(tensor.isfinite().all()) for tensor in playing.state()[0].values())


def test_a_run_that_went_back_resumes_bitwise(trainer: Make, recipe: Recipe) -> None:
    made = recipe.replace(train=recipe.train.replace(save_seconds=1e-9))
    whole, first = trainer(made), trainer(made)
    saved: dict[int, tuple[dict[str, Tensor], dict[str, Any]]] = {}
    for playing, keep in ((whole, True), (first, False)):
        spoil(playing, "discriminator", 12, times=1)
        for event in playing.run():
            if keep and isinstance(event, Saved):
                tensors = {name: tensor.clone() for name, tensor in event.tensors.items()}
                saved[event.clock.step] = tensors, copy.deepcopy(event.meta)
            elif not keep and isinstance(event, Faulted):
                break
    second = trainer(made)
    second.load(*saved[15])
    list(second.run())
    one, two = numbers(whole), numbers(second)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert second.faults == 1


def test_the_folder_of_a_run_that_went_back(tmp_path: Path, trainer: Make, recipe: Recipe, source: Resident) -> None:
    """Twice at step 13 and once at 17, saved after steps 5, 10, 15 and 20: one log, as if all had gone well."""
    playing = trainer(recipe.replace(train=recipe.train.replace(save_seconds=1e-9)))
    hits = spoil(playing, "generator", 13, times=2)
    request = Request(playing.recipe, "tiny", (), {})
    folder = RunFolder.create(tmp_path / "run", request, source.spec, source.report)
    stream, told = io.StringIO(), []
    line = ProgressLine(stream)
    for event in folder.record(playing.run()):
        line.show(event, playing.course.plan)
        if isinstance(event, Faulted):
            told.append(event)
        if isinstance(event, Saved) and event.clock.step == 15:
            hits += spoil(playing, "discriminator", 17, times=1)
    assert len(told) == 3
    assert [row["step"] for row in read_rows(folder.path / "log.jsonl")] == [5, 10, 15, 20]
    rows = read_rows(folder.path / "alarms.jsonl")
    assert [(row["step"], row["at_step"], row["name"]) for row in rows] == [
        (10, 13, "non-finite"),
        (10, 13, "went-back"),
        (10, 13, "non-finite"),
        (10, 13, "went-back"),
        (15, 17, "non-finite"),
        (15, 17, "went-back"),
    ]
    kept = sorted((folder.path / "faults").glob("*.safetensors"))
    assert [path.stem for path in kept] == ["000000000104", "000000000136"]
    batch = load_file(kept[0])
    assert torch.equal(batch["real"], source.take(batch["index"]).x)
    said = stream.getvalue()
    assert "non-finite at 104 images: generator: loss" in said
    assert "went-back: back to the state at 80 images, with another order of the data" in said
    folder.rewind(104)
    assert [row["at_step"] for row in read_rows(folder.path / "alarms.jsonl")] == [13] * 4
    folder.rewind(103)
    assert read_rows(folder.path / "alarms.jsonl") == []  # it will happen again


class Rare(Objective):
    """Non-saturating, and short of memory for more than `fits` samples at a time."""

    fits: int = 3

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        if len(real_logits) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nAnd more.")
        return NonSaturating().discriminator(real_logits, fake_logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return NonSaturating().generator(real_logits, fake_logits)


def test_when_memory_is_full_fewer_samples_are_looked_at_together(trainer: Make, recipe: Recipe) -> None:
    """8 samples, then 4, then 2: no more than 3 fit. The batch stays, so what comes of it is the same."""
    short = recipe.replace(game=Adversarial(objective=Rare(), penalties=(R1(weight=1.0, every=3),)))
    playing, whole = trainer(short), trainer()
    events = list(playing.run())
    faults = [event for event in events if isinstance(event, Faulted)]
    assert [(event.clock.step, event.mending.mend.split("with ")[1][:9]) for event in faults] == [
        (0, "4 samples"),
        (0, "2 samples"),
    ]
    assert "does not fit into memory (CUDA out of memory" in faults[0].alarm.cause
    assert "\n" not in faults[0].alarm.cause
    assert playing.micro == 2
    list(whole.run())
    one, two = numbers(playing), numbers(whole)
    worst = max(
        float((one[name] - two[name]).abs().max())
        for name in two
        if name.startswith(("generator.net", "discriminator.net")) and "running" not in name and "tracked" not in name
    )
    assert worst < 0.05  # batch normalisation in the generator sees parts; test_divided.py has games without it


def test_memory_that_one_sample_fills_is_the_end(trainer: Make, recipe: Recipe) -> None:
    playing = trainer(recipe.replace(game=Adversarial(objective=Rare(fits=0))))
    with pytest.raises(TrainingError, match="out of memory with 1 samples at a time"):
        list(playing.run())


def test_memory_of_the_processor_is_meant_as_well(trainer: Make) -> None:
    playing = trainer()

    def take(index: Tensor) -> Any:
        if not playing.micro:
            torch.empty(1 << 60, dtype=torch.uint8)
        return original(index)

    original = playing.source.take
    playing.source.take = take  # type: ignore[method-assign]
    faults = [event for event in playing.run() if isinstance(event, Faulted)]
    assert [event.alarm.name for event in faults] == ["out-of-memory"]


def test_data_that_can_no_longer_be_read_end_the_run_with_all_saved(
    trainer: Make, recipe: Recipe, source: Resident
) -> None:
    playing, whole = trainer(), trainer()
    original = playing.source.take

    def take(index: Tensor) -> Any:
        if playing.step == 13:
            raise SourceError("shard-3.tar: sample 7 cannot be read (I/O error), tried 3 times")
        return original(index)

    playing.source.take = take  # type: ignore[method-assign]
    events: list[Event] = []
    with pytest.raises(TrainingError, match=r"shard-3.tar: sample 7.*sparring resume"):
        events.extend(playing.run())
    last = events[-1]
    assert isinstance(last, Saved)
    assert last.clock.step == 13
    again = trainer()
    again.load({name: tensor.clone() for name, tensor in last.tensors.items()}, last.meta)
    list(again.run())
    list(whole.run())
    one, two = numbers(whole), numbers(again)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


@pytest.mark.parametrize("ends", ["no number", "memory"])
def test_what_a_failed_step_held_is_let_go(trainer: Make, ends: str) -> None:
    """Before anything else is done, and by itself: where memory is full, nobody waits for a collection."""
    playing = trainer()
    held: list[weakref.ref[Any]] = []
    phases = playing.phases

    def loss(exchange: Exchange) -> Tensor:
        value = phases[0].loss(exchange)
        if held:
            return value
        held.extend([weakref.ref(exchange), weakref.ref(value)])
        if ends == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return value * float("nan")

    playing.phases = (phases[0]._replace(loss=loss), *phases[1:])
    gc.collect()
    gc.disable()
    try:
        fault = next(event for event in playing.run() if isinstance(event, Faulted))
        assert fault.alarm.name == ("out-of-memory" if ends == "memory" else "non-finite")
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


def test_a_new_budget_holds_also_for_a_run_that_goes_back(trainer: Make) -> None:
    """What it goes back to was stored under the old one."""
    playing = trainer()
    list(playing.run())
    assert playing.step == 24
    playing.set_budget(Budget(amount=8 * 48, unit="images"))
    spoil(playing, "generator", 30, times=1)
    faults = [event for event in playing.run() if isinstance(event, Faulted)]
    assert [(fault.clock.step, fault.failed.step) for fault in faults] == [(24, 30)]
    assert playing.step == 48


@pytest.mark.parametrize("where", ["move", "update_average"])
def test_memory_may_be_full_at_any_moment(trainer: Make, where: str) -> None:
    playing = trainer()
    player = playing.players["generator"]
    original, failed = getattr(player, where), []

    def full(*given: Any) -> None:
        if playing.step >= 5 and not failed:
            failed.append(playing.step)
            raise torch.OutOfMemoryError("CUDA out of memory")
        original(*given)

    setattr(player, where, full)
    faults = [event for event in playing.run() if isinstance(event, Faulted)]
    assert [fault.alarm.name for fault in faults] == ["out-of-memory"]
    assert playing.step == 24


def test_one_of_several_processes_whose_memory_is_full_alone_ends_it(trainer: Make) -> None:
    playing = trainer()
    list(playing.run())
    playing.ranks.count = 2
    with pytest.raises(TrainingError, match="process 0 of 2 is out of memory"):
        playing._go_back(OutOfMemoryError("CUDA out of memory"))


def test_data_that_end_at_bad_weights_are_told_and_not_saved(trainer: Make) -> None:
    playing = trainer()
    original, events = playing.source.take, list[Event]()

    def take(index: Tensor) -> Any:
        if playing.step == 13:
            next(playing.nets["generator"].parameters()).data.fill_(float("inf"))
            raise SourceError("shard-3.tar: sample 7 cannot be read")
        return original(index)

    playing.source.take = take  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"shard-3.tar.*not finite; the last checkpoint is good"):
        events.extend(playing.run())
    assert not [event for event in events if isinstance(event, Saved)]


def test_data_that_can_t_be_read_for_the_first_picture_end_the_run(trainer: Make) -> None:
    playing = trainer()

    def grid() -> Any:
        raise SourceError("shard-3.tar: sample 7 cannot be read")

    playing.sample_grid = grid  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"shard-3\.tar"):
        list(playing.run())


def test_a_wish_to_stop_is_heard_whenever_it_comes(trainer: Make) -> None:
    """Also while the processes are asked whether one wishes it."""
    playing = trainer()
    agree = playing.ranks.agree

    def slow(wish: bool, seconds: float) -> tuple[bool, float]:
        if playing.step == 7:
            playing.stop()
        return agree(wish, seconds)

    playing.ranks.agree = slow  # type: ignore[method-assign]
    last = list(playing.run())[-1]
    assert isinstance(last, Saved)
    assert (last.why, last.clock.step) == ("stop", 7)
