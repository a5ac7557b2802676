import pytest
import torch

from sparring.core.protocols import DataSpec
from sparring.data.open import Data
from sparring.data.toys import TOYS
from sparring.metrics.modes import Mixture
from sparring.recipes.automatic import choose, settle
from sparring.recipes.toys import toy
from sparring.train.events import Sampled, Scored, Stepped
from sparring.train.plane import CELLS
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer
from sparring.verdict import judge_of_run

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["ring8", "moons", "gaussian1d"])
def test_a_toy_is_trained_by_the_recipe_for_it(name: str) -> None:
    """A few steps: pictures of the plane, scores in the toy's own units, and never an arithmetic of 8 bits."""
    data = Data(source=name, split="test")
    source = data.load()
    budget = Budget(amount=512, unit="images")
    recipe, reasons = choose(data, source.spec, recipe=None, budget=budget, seed=1)
    assert recipe.name == "toy"
    assert any("samples are points of" in reason for reason in reasons)
    recipe = settle(recipe, CPU).recipe
    assert recipe.train.precision == "float32"
    judge = judge_of_run(recipe, source, None, CPU, None)
    assert judge is not None
    events = list(Trainer(recipe.replace(train=recipe.train.replace(report_every=1)), source, CPU, judge).run())
    assert any(isinstance(event, Stepped) for event in events)
    planes = [event.plane for event in events if isinstance(event, Sampled)]
    assert all(plane is not None and plane.logits is not None for plane in planes)
    assert planes[0].logits.shape == (CELLS,) * TOYS[name].dim  # type: ignore[union-attr]
    values = next(event.values for event in events if isinstance(event, Scored))
    assert next(iter(values)) == ("mixture_kl" if name in ("ring8", "gaussian1d") else "divergence")
    assert "divergence" in values


def test_the_penalties_fade() -> None:
    game = toy(Data(source="ring8"), DataSpec(name="points", shape=(2,), levels=0), Budget(amount=9)).game
    assert all(penalty.final < penalty.weight / 10 for penalty in game.penalties)  # type: ignore[attr-defined]


def test_points_that_are_no_mixture_are_not_asked_for_modes() -> None:
    recipe = toy(Data(source="x.npy"), DataSpec(name="points", shape=(2,), levels=0), Budget(amount=9))
    assert not any(isinstance(metric, Mixture) for metric in recipe.scoring.metrics)
