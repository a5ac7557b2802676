"""Whether runs stop where they should: recipes run four times too long, and every checkpoint judged on held-out data.

    python bench/stopping.py [--recipes ...] [--seeds 0 1 2] [--samples 50000] [--hold-out N]
                             [--out docs/figures/stopping.json]

Each recipe has a budget in images that suits it; here it gets four times that. Two runs share seed and recipe: one
(`stopped`) has patience as the recipe sets it, the other (`unstopped`) none. At every score of either run the averaged
generator is kept and judged anew, by `--samples` samples of another noise against the test split, which took no part in
training or choosing. With 10,000 of them the FID of one and the same DCGAN on MNIST varies by 8 % (standard deviation)
near its floor, so that the least of a dozen such numbers lies some 10 % too low; with 50,000 it varies by 2.5 %.
With `--hold-out`, so many samples of the training set are set aside and what is chosen is chosen by them.
`chosen` is the checkpoint that the stopped run takes away: the best of its leaders, scored again
(`sparring.verdict`). Figures: its held-out FID over the best of its own run (`ratio_own`), over the best of both runs
(`ratio_both`), and the share of the budget used.
Data are the digits of scikit-learn and MNIST under $SPARRING_DATA.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from pathlib import Path

import torch

from sparring.core.protocols import Source
from sparring.data.open import Data
from sparring.metrics.frechet import FID, HeldOutFID
from sparring.metrics.judge import Judge
from sparring.metrics.metric import Metric
from sparring.recipes.automatic import find_recipe, settle
from sparring.scoring import score_generator
from sparring.train.events import Scored
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator
from sparring.verdict import scores_of_leaders

SUITS = {
    "dcgan mnist": ("dcgan", Data(source="mnist"), 150_000),
    "mlp mnist": ("mlp", Data(source="mnist"), 300_000),
    "dcgan digits": ("dcgan", Data(source="digits"), 150_000),
}
TIMES_TOO_LONG = 4


def run(
    recipe: Recipe, source: Source, chooser: Judge, aside: Source | None, held_out: Judge, test: Source, samples: int
) -> tuple[list[dict[str, float]], dict[str, float], str]:
    """Every checkpoint that was scored, with its score at the time and the one on held-out data; the one that the run
    takes away; and why it ended."""
    trainer = Trainer(recipe, source, torch.device("cpu"), chooser)
    rows = []
    generators: dict[int, TrainedGenerator] = {}
    for event in trainer.run():
        if isinstance(event, Scored):
            average = trainer.players["generator"].average
            assert average is not None
            weights = copy.deepcopy(average.state_dict())
            generator = TrainedGenerator(recipe.generator, source.spec, recipe.prior, weights)
            found = score_generator(generator, held_out, test, samples, seed=12345)
            row = {
                "images": event.clock.images,
                "fid": next(iter(event.values.values())),
                "held_out": found.values["fid"],
            }
            rows.append(row | {"best": event.best})
            generators[event.clock.images] = generator
            print(json.dumps(rows[-1]), flush=True)
    leaders = [(leader, generators[leader.images]) for leader in trainer.course.scores.leaders]
    ranking = Judge(source, metrics=chooser.metrics[:1], features=chooser.network, held_out=aside)
    ranked = scores_of_leaders(leaders, ranking, source, recipe.scoring, recipe.train.seed)
    print("leaders:", ranked, flush=True)
    (chosen,) = [row for row in rows if row["images"] == ranked[0].images]
    return rows, chosen, trainer.why_ended()


def one(name: str, seed: int, samples: int, hold_out: int) -> dict[str, object]:
    recipe_name, data, suits = SUITS[name]
    test = data.load_held_out()
    assert test is not None
    data = data.replace(hold_out=hold_out)
    source, aside = data.load(), data.load_held_out()
    budget = Budget(amount=TIMES_TOO_LONG * suits, unit="images")
    recipe = settle(find_recipe(recipe_name)(data, source.spec, budget), torch.device("cpu")).recipe
    recipe = recipe.replace(train=recipe.train.replace(seed=seed))
    endless = recipe.scoring.replace(patience=recipe.scoring.patience.replace(scores=0))
    metrics: tuple[Metric, ...] = (FID(),)
    judge = Judge(test, metrics=metrics)
    chooser = Judge(source, metrics=(HeldOutFID(), *metrics) if hold_out else metrics, held_out=aside)
    stopped, chosen, why = run(recipe, source, chooser, aside, judge, test, samples)
    unstopped = stopped  # a run that patience did not end is its own twin
    if "no clearly better" in why:
        unstopped, _, _ = run(recipe.replace(scoring=endless), source, chooser, aside, judge, test, samples)
    own, both = (min(row["held_out"] for row in rows) for rows in (stopped, stopped + unstopped))
    return {
        "recipe": name,
        "seed": seed,
        "samples": samples,
        "hold_out": hold_out,
        "chosen": chosen,
        "ratio_own": chosen["held_out"] / own,
        "ratio_both": chosen["held_out"] / both,
        "share_of_budget": stopped[-1]["images"] / budget.amount,
        "why": why,
        "stopped": stopped,
        "unstopped": unstopped,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=SUITS, default=list(SUITS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--hold-out", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    rows = []
    for name in options.recipes:
        for seed in options.seeds:
            rows.append(one(name, seed, options.samples, options.hold_out))
            shown = {k: v for k, v in rows[-1].items() if k not in ("stopped", "unstopped")}
            print(json.dumps(shown), flush=True)
        ratios = [float(str(row["ratio_own"])) for row in rows if row["recipe"] == name]
        print(f"{name}: {statistics.mean(ratios):.3f} of its best, at most {max(ratios):.3f}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
