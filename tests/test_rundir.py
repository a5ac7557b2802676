"""A run's folder: what is drawn beside what, and what its model says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparring import rundir
from sparring.core.errors import TrainingError
from sparring.core.exchange import Clock
from sparring.core.game import Critic
from sparring.core.protocols import Batch, DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.priors import Gaussian
from sparring.layers import Activation, Dense
from sparring.networks.layered import Discriminator, Generator
from sparring.opening import Request, open_checkpoint
from sparring.pictures.curves import PLOT_HEIGHT
from sparring.pictures.plane import draw_plane
from sparring.rundir import RunFolder
from sparring.train.events import Sampled, Saved, Scored, Stepped
from sparring.train.optimizers import SGD, Optimizers
from sparring.train.plane import CELLS, survey
from sparring.train.recipe import Recipe, Train
from sparring.train.schedule import Budget
from sparring.train.teaching import teach


class Unread(SourceSpec):
    """The tests hand everything over themselves."""


DATA = DataSpec(name="small", shape=(1, 8, 8), num_classes=2, class_names=("cat", "dog"))
CRITIC = Discriminator(layers=[Dense(1)])


def new_run(path: Path) -> RunFolder:
    sgd = SGD(lr=0.1)
    recipe = Recipe(
        name="tiny",
        source=Unread(),
        prior=Gaussian(dim=2),
        generator=Generator(layers=[Dense(64), Activation("tanh")]),
        discriminator=CRITIC,
        game=Adversarial(),
        optimizers=Optimizers(generator=sgd, discriminator=sgd),
        train=Train(budget=Budget(amount=10, unit="images")),
    )
    return RunFolder.create(path, Request(recipe, "tiny", (), {}), DATA, {})


def test_curves_show_the_losses_and_the_scores(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    assert run.draw() == [tmp_path / "run" / "report.html"]
    clock, heights = Clock(1, 30, 0.0, 0.0), []
    values = {"fid": 3.0, "class_min": 0.1, "fid_class_0": 2.0}
    for event in (Stepped(clock, {"loss_d": 1.0}, 9.0), Scored(clock, values, {}, (), True)):
        list(run.record(iter([event])))
        run.draw()
        with Image.open(tmp_path / "run" / "curves.png") as picture:
            heights.append(picture.height)
    assert PLOT_HEIGHT < heights[0] < 2 * PLOT_HEIGHT
    assert PLOT_HEIGHT < heights[1] - heights[0] < 2 * PLOT_HEIGHT


def test_the_card_says_what_the_scores_are_of(tmp_path: Path) -> None:
    run, clock = new_run(tmp_path / "run"), Clock(1, 30, 0.0, 0.0)
    reference = {"name": "small", "split": "train", "count": 200}
    made = {"num_samples": 100, "reference": reference, "features": "pca8"}
    weights = {"generator.average.w": torch.zeros(1)}
    saved = Saved(clock, weights, {"scores": {"leaders": []}}, "end")
    list(run.record(iter([Scored(clock, {"fid": 3.25}, made, (), True), saved])))
    card = (run.write_model(open_checkpoint(run.path, "best")) / "README.md").read_text(encoding="utf-8")
    assert "Scores of 100 samples against 200 of small (train), pca8 features:\n\n- fid: 3.25\n" in card


def test_advice_stands_beside_the_samples_and_is_drawn_anew_after_a_resume(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    x, y = torch.rand(16, 1, 8, 8), torch.arange(2).repeat_interleave(8)
    lesson = teach(CRITIC.build(DATA, 2), x, y).part(slice(0, 16, 8))
    events = [Sampled(Clock(n, n, 0.0, 0.0), Batch(x, y), lesson) for n in (0, 30, 60)]
    assert list(run.record(iter(events))) == events
    names = [f"{n:012d}.png" for n in (0, 30, 60)]
    assert sorted(p.name for p in (tmp_path / "run" / "advice").iterdir()) == names
    with Image.open(tmp_path / "run" / "advice" / names[1]) as picture:
        assert picture.text["images"] == "30"  # type: ignore[attr-defined]
        assert picture.text["data"] == "small"  # type: ignore[attr-defined]
    run.rewind(30)
    for folder in ("samples", "advice"):
        assert sorted(p.name for p in (tmp_path / "run" / folder).iterdir()) == names[:2]


def test_samples_in_the_plane_are_drawn_there_in_the_law_s_own_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ring8 is divided by 1.25 for training."""
    drawn = []

    def draw(real: Any, fake: Any, view: Any, logits: Any, slopes: Any) -> Image.Image:
        drawn.append((real, fake, view, logits, slopes))
        return draw_plane(real, fake, view, logits, slopes)

    monkeypatch.setattr(rundir, "draw_plane", draw)
    run = new_run(tmp_path / "run")
    run.data = DataSpec(name="ring8", shape=(2,), levels=0)
    critic = Critic(CRITIC.build(run.data, 2))
    x = torch.tensor([[0.8, 0.0], [-0.8, 0.0], [0.0, 0.8], [0.0, -0.8]])
    plane = survey(critic, x, x / 2)
    event = Sampled(Clock(0, 0, 0.0, 0.0), Batch(x, None), teach(critic, x), plane)
    assert list(run.record(iter([event]))) == [event]
    ((real, fake, view, logits, slopes),) = drawn
    assert np.abs(real).max() == pytest.approx(1.0)
    assert np.abs(fake).max() == pytest.approx(0.5)
    assert (*view.low, *view.high) == pytest.approx((-1.2, -1.2, 1.2, 1.2))
    assert (logits.shape, slopes.shape) == ((CELLS, CELLS), (CELLS, CELLS, 2))
    with Image.open(tmp_path / "run" / "samples" / f"{0:012d}.png") as picture:
        assert picture.text["data"] == "ring8"  # type: ignore[attr-defined]
    assert not (tmp_path / "run" / "advice").exists()
    assert (tmp_path / "run" / "progress.gif") in run.draw()


def test_logs_are_on_the_disk_before_the_checkpoint_that_follows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, clock, done = new_run(tmp_path / "run"), Clock(1, 30, 0.0, 0.0), list[str]()
    save = rundir.save_checkpoint
    monkeypatch.setattr(rundir, "flush", lambda path: done.append(path.name))
    monkeypatch.setattr(rundir, "save_checkpoint", lambda *parts: done.append("checkpoint") or save(*parts))
    saved = Saved(clock, {}, {"scores": {"leaders": []}}, "end")
    list(run.record(iter([Stepped(clock, {"loss_d": 1.0}, 9.0), Scored(clock, {}, {}, (), True), saved])))
    assert done == ["log.jsonl", "scores.jsonl", "checkpoint"]


def test_where_a_log_cannot_be_written_training_ends_and_says_what_is_left(tmp_path: Path) -> None:
    run, clock = new_run(tmp_path / "run"), Clock(1, 30, 0.0, 0.0)
    list(run.record(iter([Saved(clock, {}, {"scores": {"leaders": []}}, "time")])))
    (tmp_path / "run" / "log.jsonl").mkdir()
    with pytest.raises(TrainingError, match=r"log\.jsonl: Is a directory; the checkpoint at 30 images is whole; make"):
        list(run.record(iter([Stepped(clock, {"loss_d": 1.0}, 9.0)])))
