"""A run's folder: which scores share a panel of its curves, and with what beside them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sparring.core.protocols import Batch, DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.priors import Gaussian
from sparring.layers import Activation, Dense
from sparring.networks.layered import Discriminator, Generator
from sparring.pictures.axes import FLOOR_WITHIN
from sparring.rundir import Request, RunFolder, _panels
from sparring.train.optimizers import SGD, Optimizers
from sparring.train.recipe import Recipe, Train
from sparring.train.schedule import Budget, Clock
from sparring.train.teaching import teach
from sparring.train.trainer import Sampled

MADE = {
    "features": "digits28",
    "features_sha256": "a1",
    "num_samples": 5000,
    "kept": 5000,
    "reference": {"name": "mnist", "split": "train", "count": 60000, "sha256": "c3"},
}


class Unread(SourceSpec):
    """The tests hand everything over themselves."""


def row(images: int, best: bool = False, provenance: dict[str, Any] | None = None, **values: float) -> dict[str, Any]:
    clock = {"images": images, "step": images // 10, "epoch": images / 100}
    return clock | values | {"best": best, "notes": ["a note"], "provenance": MADE | (provenance or {})}


def test_every_score_has_a_panel_with_its_interval() -> None:
    rows = [
        row(100, fid=9.0, fid_low=8.0, fid_high=11.0, fid_real=2.0, classes_covered=9, fid_class_3=1.0),
        row(200, best=True, fid=3.0, fid_low=2.0, fid_high=4.0, fid_real=2.0, classes_covered=10, fid_class_3=1.0),
    ]
    fid, covered = _panels([], rows)
    assert fid.title == "fid: 5,000 samples against mnist (train), digits28 features"
    assert fid.log
    assert not covered.log
    assert fid.best == covered.best == 200
    score, floor = fid.series
    assert (score.x, score.y, score.low, score.high) == ([100, 200], [9.0, 3.0], [8.0, 2.0], [11.0, 4.0])
    assert score.name == "fid"
    assert (floor.y, floor.thin) == ([2.0, 2.0], True)
    assert covered.title.startswith("classes_covered: ")
    assert covered.series[0].y == [9, 10]
    assert covered.series[0].name == "classes_covered"
    assert all(math.isnan(end) for end in covered.series[0].low or ())
    assert fid.note == covered.note == ""


@pytest.mark.parametrize(("share", "lines"), [(0.9, 1), (1.1, 2)])
def test_the_floor_is_drawn_where_it_does_not_press_the_curve_flat(share: float, lines: int) -> None:
    rows = [row(100, fid=50.0), row(200, fid=20.0, fid_real=share * 20.0 / FLOOR_WITHIN)]
    (panel,) = _panels([], rows)
    assert len(panel.series) == lines


def test_scores_of_different_provenance_share_no_axis() -> None:
    rows = [
        row(100, fid=9.0, kid=0.1),
        row(200, provenance={"num_samples": 10000, "kept": 10000}, fid=7.0),
        row(300, best=True, fid=5.0, kid=0.05),
        row(400, provenance={"features": "pca64-pixels", "features_sha256": "b2"}, fid=90.0),
    ]
    panels = _panels([], rows)
    assert [(p.title.split(":")[0], p.series[0].x) for p in panels] == [
        ("fid", [100, 300]),
        ("fid", [200]),
        ("fid", [400]),
        ("kid", [100, 300]),
    ]
    assert [p.best for p in panels] == [300, None, None, 300]
    assert "10,000 samples" in panels[1].title
    assert "pca64-pixels features" in panels[2].title
    assert [p.note for p in panels] == [
        "",
        "does not compare with the panel above: 5,000 / 10,000 samples: fid falls with more of them",
        "does not compare with the panel above: features: digits28 / pca64-pixels; 10,000 / 5,000 samples: fid "
        "falls with more of them",
        "",
    ]


def test_another_version_and_another_seed_share_an_axis() -> None:
    rows = [row(100, fid=9.0, provenance={"sparring": "1", "seed": 0})]
    rows += [row(200, fid=7.0, provenance={"sparring": "2", "seed": 1})]
    assert len(_panels([], rows)) == 1


def test_an_older_row_without_provenance_stands_alone() -> None:
    rows = [row(100, fid=9.0), row(200, fid=8.0) | {"provenance": {}}]
    _, second = _panels([], rows)
    assert second.title == "fid: against unknown data, unknown features"
    assert "unknown" in second.note


def test_advice_stands_beside_the_samples_and_is_drawn_anew_after_a_resume(tmp_path: Path) -> None:
    data = DataSpec(name="small", shape=(1, 8, 8), num_classes=2, class_names=("cat", "dog"))
    critic = Discriminator(layers=[Dense(1)])
    sgd = SGD(lr=0.1)
    recipe = Recipe(
        name="tiny",
        source=Unread(),
        prior=Gaussian(dim=2),
        generator=Generator(layers=[Dense(64), Activation("tanh")]),
        discriminator=critic,
        game=Adversarial(),
        optimizers=Optimizers(generator=sgd, discriminator=sgd),
        train=Train(budget=Budget(amount=10, unit="images")),
    )
    run = RunFolder.create(tmp_path / "run", Request(recipe, "tiny", (), {}), data, {})
    x, y = torch.rand(16, 1, 8, 8), torch.arange(2).repeat_interleave(8)
    lesson = teach(critic.build(data, 2), x, y).part(slice(0, 16, 8))
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
