"""Which checkpoint is the best, and what is said of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.core.protocols import Source
from sparring.data.open import Data
from sparring.data.tensors import from_arrays
from sparring.games.priors import Gaussian
from sparring.metrics.features.values import Values
from sparring.metrics.frechet import FID
from sparring.metrics.judge import Judge, Score
from sparring.metrics.kernel import KID
from sparring.networks.mlp import MLPGenerator
from sparring.opening import Request
from sparring.recipes.toys import toy
from sparring.rundir import RunFolder
from sparring.scoring import AT_THE_END, METRICS
from sparring.train.recipe import Scoring
from sparring.train.schedule import Budget
from sparring.train.scores import Leader
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator
from sparring.verdict import _how_sure, ranked_by, scores_of_leaders, verdict


@pytest.fixture
def real() -> Source:
    return from_arrays(np.random.default_rng(0).normal(0, 0.2, (2000, 2)), name="plane")


def shifted(real: Source, shift: float) -> TrainedGenerator:
    """G(z) = z / 5 + shift in both coordinates: at shift² / 2 of the data, whose features are (x + 1) / 2."""
    spec = MLPGenerator(depth=0)
    weights = {"stack.0.weight": torch.eye(2) / 5, "stack.0.bias": torch.full((2,), shift)}
    names = list(spec.build(real.spec, 2).state_dict())
    assert len(names) == 2
    return TrainedGenerator(spec, real.spec, Gaussian(dim=2), dict(zip(names, weights.values(), strict=True)))


def test_leaders_are_told_apart_by_more_samples(real: Source) -> None:
    """What was chosen by luck loses to what is better, and the score is the mean weighted by samples."""
    judge = Judge(real, metrics=(FID(),), features="values")
    scoring = Scoring(samples=100, spacing=10)
    shifts = {30_000: 0.30, 60_000: 0.10, 90_000: 0.20}
    lucky = [Leader(30_000, 0.001), Leader(60_000, 0.002), Leader(90_000, 0.003)]
    found = scores_of_leaders([(one, shifted(real, shifts[one.images])) for one in lucky], judge, real, scoring, seed=3)
    assert [leader.images for leader in found] == [60_000, 90_000, 30_000]
    for leader, before in zip(found, (0.002, 0.003, 0.001), strict=True):
        samples = leader.images / 30  # one in ten of the images seen, shared by three
        distance = shifts[leader.images] ** 2 / 2
        assert leader.value == pytest.approx((100 * before + samples * distance) / (100 + samples), rel=0.1)


def test_no_fewer_samples_than_in_the_run(real: Source) -> None:
    judge = Judge(real, metrics=(FID(),), features="values")
    (found,) = scores_of_leaders([(Leader(10, 0.0), shifted(real, 0.5))], judge, real, Scoring(samples=400), seed=0)
    assert found.value == pytest.approx((0.0 + 0.125) / 2, rel=0.1)


def test_what_is_set_aside_ranks_and_a_test_split_does_not(real: Source) -> None:
    aside = from_arrays(np.random.default_rng(1).normal(0, 0.2, (500, 2)), name="aside")
    network = Judge(real, metrics=(FID(),), features="values").network
    for split, names in (("held out", ["HeldOutFID", "FID", "KID"]), ("test", ["FID", "KID"]), (None, ["FID", "KID"])):
        aside.report["split"] = split
        judge = ranked_by(real, aside if split else None, (FID(), KID()), network, torch.device("cpu"))
        assert [type(metric).__name__ for metric in judge.metrics] == names
        assert (judge.held_out is not None) == (split == "held out")


def test_a_verdict_asks_for_metrics_that_there_are() -> None:
    assert set(AT_THE_END) <= set(METRICS)


def test_what_the_run_was_asked_is_asked_at_the_end(tmp_path: Path) -> None:
    """Of points of a known mixture its modes, before what is usual; and nothing twice."""
    data = Data(source="ring8", split="test")
    source, cpu = data.load(), torch.device("cpu")
    recipe = toy(data, source.spec, Budget(amount=256, unit="images"))
    recipe = recipe.replace(train=recipe.train.replace(matmul="highest", grids=0))
    trainer = Trainer(recipe, source, cpu)
    folder = RunFolder.create(tmp_path / "run", Request(recipe, "toy", (), {}), source.spec, source.report)
    list(folder.record(trainer.run()))
    found = verdict(folder.path, trainer, Values((2,)), samples=500)
    names = [name for name in found["values"] if not name.endswith(("_low", "_high"))]
    assert names[:2] == ["mixture_kl", "mixture_kl_floor"]
    assert found["values"]["mixture_kl_low"] < found["values"]["mixture_kl"] < found["values"]["mixture_kl_high"]
    assert names.index("num_modes") < names.index("fid")
    assert found["sure"].startswith("mixture_kl of the checkpoint at 256 images")


def test_how_sure_says_what_is_not_known(real: Source) -> None:
    judge = Judge(real, metrics=(FID(),), features="values")
    bare = Score({"fid": 1.5}, {"num_samples": 1000}, ())
    last = {"images": 20, "values": {"fid": 2.0}}
    said = _how_sure(bare, 10, last, judge)
    assert said == (
        "fid of the checkpoint at 10 images is 1.5, with an error that is not known, on 1,000 new samples; "
        "the last one, at 20, has 2"
    )
    whole = Score({"fid": 1.5, "fid_low": 1.0, "fid_high": 2.5}, {"num_samples": 1000}, ())
    assert "between 1 and 2.5 with 95 % confidence" in _how_sure(whole, 10, last, judge)
    assert _how_sure(whole, 10, last, judge).endswith("inside that interval: the two can't be told apart")
