"""Who judges a run while it trains, which of its checkpoints is the best, and what is said of it at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import Source
from sparring.core.seeds import derive
from sparring.metrics.features import FeatureNetwork, choose, load
from sparring.metrics.frechet import HeldOutFID
from sparring.metrics.judge import KEEP, Judge, Score
from sparring.metrics.metric import Metric, kind_of
from sparring.opening import Opened, open_checkpoint
from sparring.scoring import named, score_generator, usual_at_the_end
from sparring.train.recipe import Recipe, Scoring
from sparring.train.scores import Leader
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator, averaged_weights, expected_weights

_MOST_TO_CHOOSE = 50_000  # samples of each leader; more tell checkpoints apart no better than the reference can


def judge_of_run(
    recipe: Recipe, source: Source, held_out: Source | None, device: torch.device, typed: str | None
) -> Judge | None:
    """Who scores a run; `typed` are features that the command line names, the only ones that may execute a file."""
    scoring = recipe.scoring
    if not (scoring.metrics and scoring.times):
        return None
    name = choose(source.spec) if scoring.features == "auto" else scoring.features
    network = load(typed or name, source, execute=typed is not None)
    metrics = tuple(metric for metric in scoring.metrics if isinstance(metric, Metric))
    return ranked_by(source, held_out, metrics, network, device)


def ranked_by(
    source: Source,
    held_out: Source | None,
    metrics: tuple[Metric, ...],
    network: FeatureNetwork,
    device: torch.device,
) -> Judge:
    """A judge by these metrics, the first of which ranks; samples that were set aside are asked before all of them,
    where a distance of features tells enough, as of images.

    A test split is not: what is chosen by it can't be tested on it any more.
    """
    set_aside = held_out is not None and held_out.report.get("split") == "held out"
    if set_aside and kind_of(source.spec) in ("images", "vectors"):
        metrics = (HeldOutFID(), *metrics)
    elif not any("held_out" in metric.needs for metric in metrics):
        held_out = None
    return Judge(source, metrics=metrics, features=network, held_out=held_out, device=device)


def scores_of_leaders(
    leaders: Iterable[tuple[Leader, TrainedGenerator]], judge: Judge, source: Source, scoring: Scoring, seed: int
) -> list[Leader]:
    """The leaders with better known values, the best first.

    The least of many noisy scores is as much luck as quality. So the best few are scored again, each on new samples:
    as many as cost, all together, about what `scoring.spacing` allows for one score of the run. What ranks is the mean
    of both scores, weighted by their samples. `seed` is that of the run.
    """
    given = list(leaders)
    lower = True
    found = []
    for leader, generator in given:
        count = round(leader.images / (max(1.0, scoring.spacing) * len(given)))
        count = min(max(count, scoring.samples), _MOST_TO_CHOOSE)
        score = score_generator(generator, judge, source, count, derive(seed, "leaders"))
        name = next((name for name in score.values if name in judge.better), None)
        if name is None:  # not finite on these samples: nobody's best
            continue
        lower = judge.better[name] == "lower"
        mean = (leader.value * scoring.samples + score.values[name] * count) / (scoring.samples + count)
        found.append(Leader(leader.images, mean))
    return sorted(found, key=lambda leader: leader.value if lower else -leader.value)


def best_checkpoint(run: Path, trainer: Trainer, judge: Judge | None) -> Opened:
    """The checkpoint to take away: of those that scored best during the run, the best on more samples."""
    leaders, notes = trainer.course.scores.leaders, list[str]()
    if judge is None or len(leaders) < 2:
        return open_checkpoint(run, "best", _expected(trainer))
    first = judge.metrics[0]
    ranking = Judge(
        trainer.source,
        metrics=(first,),
        features=judge.network,
        held_out=trainer.held_out if "held_out" in first.needs else None,
        device=trainer.device,
    )

    def generators() -> Iterator[tuple[Leader, TrainedGenerator]]:
        for leader in leaders:
            try:
                opened = open_checkpoint(run, str(leader.images), _expected(trainer))
            except RequestError as error:
                notes.append(f"{error}; it is left out where the best is sought")
            else:
                yield leader, generator_of(opened, trainer)

    recipe = trainer.recipe
    found = scores_of_leaders(generators(), ranking, trainer.source, recipe.scoring, recipe.train.seed)
    best = open_checkpoint(run, str(found[0].images) if found else "best", _expected(trainer))
    return best._replace(notes=tuple(dict.fromkeys((*notes, *best.notes))))


def verdict(run: Path, trainer: Trainer, network: FeatureNetwork, samples: int = KEEP) -> dict[str, Any]:
    """The best and the last checkpoint of a finished run, each on new samples: what `verdict.json` holds.

    They are asked what the run was asked, and what is usual. The best was chosen on scores of its own, and the least
    of a few noisy numbers flatters: so it is scored again.
    """
    recipe, source, held_out = trainer.recipe, trainer.source, trainer.held_out
    metrics = named(usual_at_the_end(source.spec, held_out=held_out is not None), source.spec)
    known = {type(metric) for metric in metrics}
    own = (metric for metric in recipe.scoring.metrics if isinstance(metric, Metric) and type(metric) not in known)
    metrics = (*own, *metrics)
    judge = ranked_by(source, held_out, metrics, network, trainer.device)
    found: list[tuple[int, Score]] = []
    for which in ("best", "last"):
        opened = open_checkpoint(run, which, _expected(trainer))
        if opened.meta["images"] not in (images for images, _ in found):
            seed = derive(recipe.train.seed, "verdict")
            result = score_generator(generator_of(opened, trainer), judge, source, samples, seed)
            found.append((opened.meta["images"], result))
    (images, best), *others = found
    last = {"images": others[0][0], "values": others[0][1].values} if others else None
    return {
        "images": images,
        "values": best.values,
        "provenance": best.provenance,
        "notes": [*judge.notices, *best.notes],
        "last": last,
        "stopped": trainer.why_ended(),
        "sure": _how_sure(best, images, last, judge),
    }


def generator_of(checkpoint: Opened, trainer: Trainer) -> TrainedGenerator:
    """The averaged generator of a checkpoint of this trainer's run."""
    recipe = trainer.recipe
    weights = averaged_weights(checkpoint.tensors)
    return TrainedGenerator(recipe.generator, trainer.source.spec, recipe.prior, weights)


def _expected(trainer: Trainer) -> dict[str, Tensor]:
    return expected_weights(trainer.recipe.generator, trainer.source.spec, trainer.recipe.prior)


def _how_sure(best: Score, images: int, last: dict[str, Any] | None, judge: Judge) -> str:
    name = next((name for name in best.values if name in judge.better), None)
    if name is None:
        return "nothing could be measured, so nothing is sure"
    low, high = (best.values.get(f"{name}_{end}", best.values[name]) for end in ("low", "high"))
    known = f"{name}_low" in best.values
    between = f"between {low:.3g} and {high:.3g} with 95 % confidence" if known else "with an error that is not known"
    text = f"{name} of the checkpoint at {images:,} images is {best.values[name]:.3g}, {between}"
    text += f", on {best.provenance['num_samples']:,} new samples"
    if last is None:
        return f"{text}; it is also the last"
    if name not in last["values"]:
        return f"{text}; the last one's samples could not be scored"
    other = last["values"][name]
    if not known:
        return f"{text}; the last one, at {last['images']:,}, has {other:.3g}"
    inside = "which is inside that interval: the two can't be told apart" if low <= other <= high else "outside it"
    return f"{text}; the last one, at {last['images']:,}, has {other:.3g}, {inside}"
