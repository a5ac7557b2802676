"""Scores of anybody's samples, from Python and for the command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sparring.core.errors import RequestError, nearest
from sparring.core.protocols import Batch, DataSpec, Source
from sparring.core.seeds import derive
from sparring.data.tensors import from_arrays
from sparring.data.toys import toy_of
from sparring.metrics.autocorrelation import Autocorrelation
from sparring.metrics.columns import Columns
from sparring.metrics.copied import Copied
from sparring.metrics.cross_correlation import CrossCorrelation
from sparring.metrics.discriminative import Discriminative
from sparring.metrics.divergence import Divergence
from sparring.metrics.features import FeatureNetwork
from sparring.metrics.frechet import FID, HeldOutFID
from sparring.metrics.inception_score import InceptionScore
from sparring.metrics.infinity import FIDInfinity
from sparring.metrics.judge import KEEP, Judge, Score
from sparring.metrics.kernel import KID
from sparring.metrics.likelihood import Parzen
from sparring.metrics.manifold import DensityCoverage, PrecisionRecall
from sparring.metrics.marginals import Marginals
from sparring.metrics.memorisation import Memorisation
from sparring.metrics.metric import Kind, Metric, kind_of
from sparring.metrics.modes import Classes, Mixture, Modes
from sparring.metrics.ngrams import NGrams
from sparring.metrics.pairs import Pairs
from sparring.metrics.path import PathLength
from sparring.metrics.per_class import PerClass
from sparring.metrics.predictive import Predictive
from sparring.metrics.recast import in_form_of, recast
from sparring.metrics.records import Records
from sparring.metrics.self_bleu import SelfBLEU
from sparring.metrics.spectrum import Spectrum
from sparring.metrics.two_sample import NearestNeighbour
from sparring.metrics.utility import Utility
from sparring.metrics.validity import Validity
from sparring.metrics.vendi import Vendi
from sparring.trained import TrainedGenerator

METRICS: dict[str, type[Metric]] = {
    "fid": FID,
    "fid_held_out": HeldOutFID,
    "fid_inf": FIDInfinity,
    "kid": KID,
    "inception_score": InceptionScore,
    "precision_recall": PrecisionRecall,
    "density_coverage": DensityCoverage,
    "classes": Classes,
    "modes": Modes,
    "mixture": Mixture,
    "divergence": Divergence,
    "per_class": PerClass,
    "nearest_neighbour": NearestNeighbour,
    "vendi": Vendi,
    "memorisation": Memorisation,
    "parzen": Parzen,
    "path_length": PathLength,
    "spectrum": Spectrum,
    "autocorrelation": Autocorrelation,
    "cross_correlation": CrossCorrelation,
    "marginals": Marginals,
    "discriminative": Discriminative,
    "predictive": Predictive,
    "ngrams": NGrams,
    "validity": Validity,
    "self_bleu": SelfBLEU,
    "copied": Copied,
    "pairs": Pairs,
    "columns": Columns,
    "utility": Utility,
    "records": Records,
}
"""What can be measured, by the name that `--metrics` takes."""
USUAL = ("fid", "kid", "precision_recall", "density_coverage", "classes")
"""What is measured when nobody says, of images and vectors."""
USUAL_OF: dict[Kind, tuple[str, ...]] = {
    "series": ("spectrum", "autocorrelation", "cross_correlation", "marginals"),
    "texts": ("ngrams", "validity", "self_bleu", "copied"),
    "tables": ("pairs", "columns"),
}
"""The same of other kinds of data: each in a second or so, the first that ranks."""
AT_THE_END = ("fid", "fid_inf", "kid", "precision_recall", "density_coverage", "classes", "per_class")
"""What is measured of a run that has ended, of images and vectors."""
AT_THE_END_OF: dict[Kind, tuple[str, ...]] = {"series": ("discriminative", "predictive")}
"""What of other kinds is measured beside the usual of a run that has ended, in some seconds."""
WITH_HELD_OUT: dict[Kind, tuple[str, ...]] = {
    "images": ("memorisation",),
    "vectors": ("memorisation",),
    "series": ("memorisation",),
    "tables": ("utility", "records"),
}
"""What is measured of a run that has ended where real samples were not trained on."""

Samples = NDArray[Any] | Tensor | Source


def score(
    samples: Samples,
    reference: Samples,
    metrics: Iterable[str | Metric] | None = None,
    *,
    features: str | FeatureNetwork | None = None,
    held_out: Samples | None = None,
    keep: int = KEEP,
    seed: int = 0,
) -> Score:
    """Judges samples against real ones.

    Args:
        samples, reference, held_out: numpy images [N, H, W(, C)] or vectors [N, D]; torch images [N, (C,) H, W] or
            vectors [N, D]; uint8, uint16 or floats in [-1, 1]; or a `Source`. All of one shape. `held_out` are real
            samples that the generator was not trained on, for the metrics that need them.
        metrics: names in `METRICS`, or metrics with settings of their own, such as `KID(subset_size=500)`; None for
            what is usual for such data.
        features: a feature network or the name of one; None takes what fits the reference.
        keep: samples of each set whose features are kept.
        seed: of what the metrics draw.

    Returns `values` by name, their `provenance`, and `notes`. Raises `RequestError` (a `ValueError`) for samples that
    do not fit each other, too few of them, or unknown names.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> real, fake = rng.uniform(-1, 1, (500, 3)), rng.uniform(-1, 0, (500, 3))
    >>> found = score(fake, real, ["fid"])
    >>> round(found.values["fid"], 1), found.provenance["features"]
    (1.1, 'pca3-values')
    """
    given = _source(samples, "samples")
    real = _source(reference, "reference")
    held = None if held_out is None else _source(held_out, "held_out")
    asked = named(usual(real.spec) if metrics is None else metrics, real.spec)
    judge = Judge(real, metrics=asked, features=features, held_out=held, keep=keep)
    return score_source(given, judge, len(given), seed)


def usual(data: DataSpec) -> tuple[str, ...]:
    """The names of what is measured of some data when nobody says."""
    return USUAL_OF.get(kind_of(data), USUAL)


def usual_at_the_end(data: DataSpec, *, held_out: bool) -> tuple[str, ...]:
    """The names of what is measured of a run that has ended; `held_out` says whether some samples were not trained
    on."""
    kind = kind_of(data)
    names = USUAL_OF[kind] + AT_THE_END_OF.get(kind, ()) if kind in USUAL_OF else AT_THE_END
    return names + (WITH_HELD_OUT.get(kind, ()) if held_out else ())


def named(metrics: Iterable[str | Metric], data: DataSpec | None = None) -> tuple[Metric, ...]:
    """Metrics by name, or as they are; a mixture whose centres are not said is the one that the data are.

    Raises `RequestError` for an unknown name, or none at all.
    """
    toy = None if data is None else toy_of(data)
    found: list[Metric] = []
    for metric in metrics:
        if isinstance(metric, str) and metric not in METRICS:
            raise RequestError(f"metrics {metric!r}: {nearest(metric, METRICS)}")
        one = METRICS[metric]() if isinstance(metric, str) else metric
        if isinstance(one, Mixture) and not one.centres and toy is not None:
            one = Mixture(centres=toy.centres, sigma=toy.sigma, scale=toy.scale)
        found.append(one)
    if not found:
        raise RequestError(f"metrics: expected some of {', '.join(METRICS)}")
    return tuple(found)


def score_source(samples: Source, judge: Judge, count: int, seed: int) -> Score:
    """The first `count` samples of a source, judged.

    Raises `RequestError` when there are not so many, or when nothing could be measured of them.
    """
    if count > len(samples):
        raise RequestError(f"-n {count}: {samples.spec.name} holds only {len(samples)} samples")
    if count < judge.fewest:
        raise RequestError(f"{samples.spec.name}: scores need at least {judge.fewest} samples, found {count}; add more")

    seen = in_form_of(samples, judge.data)

    def take(start: int, number: int) -> Batch:
        batch = seen.take(torch.arange(start, start + number))
        # Labels in a set of samples are names of its own, not requests that a classifier's classes could answer.
        return Batch(batch.x, None)

    found = judge.score(take, num_samples=count, seed=seed, weights="given")
    if not found.values:
        raise RequestError(
            f"{samples.spec.name}: nothing could be measured in {judge.network.name} features: {'; '.join(found.notes)}"
        )
    return found


def score_generator(generator: TrainedGenerator, judge: Judge, reference: Source, count: int, seed: int) -> Score:
    """`count` new samples of a generator, judged; labels are asked for with the reference's own frequencies."""
    labels = _labels_like(reference, generator.data, count, seed)

    def sample(start: int, size: int) -> Batch:
        batch = generator.numbered(start, size, seed, labels=labels)
        return batch._replace(x=recast(batch.x, generator.data, judge.data)) if generator.data.form else batch

    return judge.score(
        sample,
        num_samples=count,
        seed=seed,
        weights="ema",
        generate=None if generator.data.y_shape else generator.net,  # metrics that move z know classes alone
        prior=generator.prior,
    )


def _source(samples: Samples, name: str) -> Source:
    return samples if isinstance(samples, Source) else from_arrays(samples, name=name)


def _labels_like(reference: Source, data: DataSpec, count: int, seed: int) -> Tensor | None:
    """Labels to ask for, with the reference's own frequencies; None where the two do not share classes or shapes."""
    theirs = reference.spec
    if not data.is_conditional or (theirs.num_classes, theirs.y_shape) != (data.num_classes, data.y_shape):
        return None
    random = torch.Generator().manual_seed(derive(seed, "score labels"))
    return reference.take(torch.randint(len(reference), (count,), generator=random)).y
