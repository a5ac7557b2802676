"""The judge: one reference, one feature network, and scores of samples that say how they came about.

The reference is measured once (and kept in the cache folder); after that a score costs the generator's own forward
pass and a small network's. Samples are asked for in chunks and dropped once measured. Scoring leaves torch's global
random state alone.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sparring import __version__
from sparring.core.errors import RequestError
from sparring.core.files import cache_folder, write_atomically
from sparring.core.protocols import Batch, Source
from sparring.core.spec import Spec
from sparring.metrics.features import FeatureNetwork, choose, hash_tensors, load
from sparring.metrics.frechet import DDOF, Summary, frechet_distance, merge, moments, moments_of, nothing, summarise
from sparring.metrics.kernel import kid
from sparring.metrics.modes import class_shares, confident_share, kl_divergence, label_accuracy, num_covered

KEPT = 10_000  # features of one set that a kernel distance may use

Better = Literal["lower", "higher"]


class Measured(NamedTuple):
    """What is kept of a set of N samples: all that the metrics look at."""

    summary: Summary
    """Of the features of all N."""
    features: Tensor
    """Of the first 10,000: float32 [min(N, 10000), dim]."""
    labels: Tensor
    """The classes that the network reads: int64 [N], or [0] when it cannot tell."""
    confidence: Tensor
    """The probabilities of those classes: float32 [N], or [0]."""
    requested: Tensor | None = None
    """The labels that the samples were asked for: int64 [N]."""
    value_range: tuple[float, float] = (0.0, 0.0)
    """Least and greatest value of the samples, before any clamping."""
    non_finite: int = 0
    """Samples that are not finite, or whose features are not."""


class Metric(Spec):
    """A score of samples against a reference."""

    better: ClassVar[dict[str, Better]] = {}
    """Which way is better, for those of its values that can be ranked by."""

    def measure(self, fake: Measured, real: Measured, *, num_classes: int, seed: int) -> dict[str, float]:
        raise NotImplementedError(f"{type(self).__name__} must define measure()")


class FID(Metric):
    """`fid`, the Fréchet distance in the judge's features; `fid_real`, what as many samples of the reference itself
    get (10,000 at most): the floor that the number of samples sets, since the distance falls as that number grows."""

    better: ClassVar[dict[str, Better]] = {"fid": "lower"}

    def measure(self, fake: Measured, real: Measured, *, num_classes: int, seed: int) -> dict[str, float]:
        reference = moments_of(real.summary)
        floor = moments(real.features[: max(2, fake.summary.num)])
        return {
            "fid": frechet_distance(*moments_of(fake.summary), *reference),
            "fid_real": frechet_distance(*floor, *reference),
        }


class KID(Metric):
    """`kid`, the kernel distance (unscaled), and `kid_se`, its standard error."""

    num_subsets: int = 10
    subset_size: int = 1000

    better: ClassVar[dict[str, Better]] = {"kid": "lower"}

    def measure(self, fake: Measured, real: Measured, *, num_classes: int, seed: int) -> dict[str, float]:
        found = kid(fake.features, real.features, num_subsets=self.num_subsets, subset_size=self.subset_size, seed=seed)
        return {"kid": found.value, "kid_se": found.standard_error}


class Classes(Metric):
    """Coverage and balance of classes, where the feature network can tell them; and whether labels came out as asked.

    `classes_covered` (share above `covered_above`), `class_min` and `class_max` (smallest and largest share),
    `class_kl` (KL of the shares from the reference's, nats), `confident` (share read with p > `confident_above`),
    `label_accuracy` (conditional samples only).
    """

    covered_above: float = 0.01
    confident_above: float = 0.9

    better: ClassVar[dict[str, Better]] = {
        "classes_covered": "higher",
        "class_kl": "lower",
        "confident": "higher",
        "label_accuracy": "higher",
    }

    def measure(self, fake: Measured, real: Measured, *, num_classes: int, seed: int) -> dict[str, float]:
        if num_classes == 0:
            return {}
        shares = class_shares(fake.labels, num_classes)
        values = {
            "classes_covered": float(num_covered(shares, self.covered_above)),
            "class_min": shares.min().item(),
            "class_max": shares.max().item(),
            "class_kl": kl_divergence(shares, class_shares(real.labels, num_classes)),
            "confident": confident_share(fake.confidence, self.confident_above),
        }
        if fake.requested is not None:
            values["label_accuracy"] = label_accuracy(fake.requested, fake.labels)
        return values


class Score(NamedTuple):
    """What was found, and everything needed to find it again. All of it is JSON."""

    values: dict[str, float]
    """Finite numbers by name; empty when samples were not finite."""
    provenance: dict[str, Any]
    notes: tuple[str, ...]
    """What a reader of the values must know."""


class Judge:
    """Scores samples against a reference.

    Args:
        reference: the real data; all of it enters the Fréchet distance, 10,000 samples spread over it the kernel one.
        metrics: what is measured, in order.
        features: a name of `sparring.metrics.features.load`, or None for the choice that fits the data.
        device: where the feature network runs.
        chunk: samples asked for and measured at once.

    Raises `RequestError` for a reference of fewer than 4 samples or features that do not fit it.
    """

    def __init__(
        self,
        reference: Source,
        *,
        metrics: tuple[Metric, ...] = (FID(), KID(), Classes()),
        features: str | None = None,
        device: torch.device | str = "cpu",
        chunk: int = 1000,
    ) -> None:
        if len(reference) < 4:
            raise RequestError(
                f"scores need a reference of at least 4 samples, {reference.spec.name} has {len(reference)}; add more"
            )
        self.data = reference.spec
        self.metrics = metrics
        self.chunk = chunk
        self.network = load(features or choose(reference.spec), reference).to(torch.device(device))
        self.split: str = reference.report.get("split", "all")
        self.real = measured_reference(self.network, reference, chunk)

    @property
    def better(self) -> dict[str, Better]:
        """Which way is better, for every value that can be ranked by."""
        return {name: way for metric in self.metrics for name, way in metric.better.items()}

    def score(self, sample: Callable[[int, int], Batch], *, num_samples: int, seed: int, weights: str = "ema") -> Score:
        """The metrics of `num_samples` samples.

        `sample(start, count)` returns samples start to start + count − 1 as a batch in [-1, 1]; labels in it, if any,
        are those that were asked for. 8- and 16-bit data are scored as they would be stored: clamped and rounded.
        `seed` is of the kernel distance's subsets, and recorded; `weights` ('ema' or 'raw') is recorded. Samples that
        are not finite are an outcome, not an error: no values, and a note 'non-finite samples: k of n'.
        Raises `RequestError` for fewer than 4 samples, and for batches of another size or shape than asked for.
        """
        if num_samples < 4:
            raise RequestError(f"num_samples: expected at least 4, found {num_samples}")
        fake = measure(self.network, self._ask(sample, num_samples), self.data.levels)
        notes = []
        values: dict[str, float] = {}
        if fake.non_finite:
            notes.append(f"non-finite samples: {fake.non_finite} of {num_samples}")
        else:
            for metric in self.metrics:
                values |= metric.measure(fake, self.real, num_classes=self.network.num_classes, seed=seed)
        for name in [name for name, value in values.items() if not math.isfinite(value)]:
            del values[name]
            notes.append(f"{name} is not finite and left out")
        if num_samples <= self.network.dim:
            notes.append(
                f"{num_samples} samples for {self.network.dim} features: the covariance is singular and fid far too "
                f"high; compare it with fid_real"
            )
        provenance = {
            "features": self.network.name,
            "features_sha256": self.network.sha256,
            "feature_dim": self.network.dim,
            "num_samples": num_samples,
            "reference": {
                "name": self.data.name,
                "split": self.split,
                "count": self.real.summary.num,
                "sha256": self.data.sha256,
            },
            "seed": seed,
            "weights": weights,
            "value_range": list(fake.value_range),
            "levels": self.data.levels,
            "ddof": DDOF,
            "sparring": __version__,
        }
        return Score(values, provenance, tuple(notes))

    def _ask(self, sample: Callable[[int, int], Batch], num_samples: int) -> Iterator[Batch]:
        for start in range(0, num_samples, self.chunk):
            count = min(self.chunk, num_samples - start)
            with torch.no_grad():
                batch = sample(start, count)
            if batch.x.shape != (count, *self.data.shape):
                raise RequestError(
                    f"samples to score: expected shape {[count, *self.data.shape]} as {self.data.name} has, "
                    f"found {list(batch.x.shape)}"
                )
            yield batch


@torch.no_grad()
def measure(network: FeatureNetwork, batches: Iterable[Batch], levels: int = 0) -> Measured:
    """Everything the metrics need of samples that come in batches; those that are not finite are only counted.

    With `levels` (256 for 8-bit data) samples are scored as they would be stored: clamped to [-1, 1] and rounded.
    """
    summary = nothing(network.dim)
    features: list[Tensor] = []
    labels: list[Tensor] = []
    confidence: list[Tensor] = []
    requested: list[Tensor] = []
    low, high, non_finite = math.inf, -math.inf, 0
    for batch in batches:
        x = batch.x.float()
        found, probabilities = network.classify(_as_stored(x, levels))
        finite = x.flatten(1).isfinite().all(1).to(found.device) & found.isfinite().all(1)
        if not finite.all():
            non_finite += int((~finite).sum())
            continue
        low, high = min(low, x.min().item()), max(high, x.max().item())
        missing = KEPT - summary.num
        if missing > 0:
            features.append(found[:missing].cpu())
        summary = merge(summary, summarise(found))
        if network.num_classes:
            best = probabilities.max(1)
            labels.append(best.indices.cpu())
            confidence.append(best.values.cpu())
        if batch.y is not None:
            requested.append(batch.y.cpu())
    return Measured(
        summary=summary,
        features=torch.cat(features) if features else torch.empty(0, network.dim),
        labels=torch.cat(labels) if labels else torch.empty(0, dtype=torch.int64),
        confidence=torch.cat(confidence) if confidence else torch.empty(0),
        requested=torch.cat(requested) if requested else None,
        value_range=(low, high) if low <= high else (0.0, 0.0),
        non_finite=non_finite,
    )


def _as_stored(x: Tensor, levels: int) -> Tensor:
    """x clamped to [-1, 1] and rounded to that many evenly spaced values; as it is when levels is 0."""
    if levels == 0:
        return x
    half = (levels - 1) / 2
    return x.clamp(-1, 1).add_(1).mul_(half).round_().div_(half).sub_(1)


def measured_reference(network: FeatureNetwork, reference: Source, chunk: int = 1000) -> Measured:
    """A whole source, measured, from the cache where it is known; data without a hash are measured every time.

    Samples are visited in a fixed shuffled order, so that the features kept are spread over sources sorted by class.
    """
    path = cache_folder() / "features" / f"{network.sha256[:32]}-{reference.spec.sha256[:32]}.safetensors"
    found = _read(path, network, len(reference)) if reference.spec.sha256 else None
    if found is not None:
        return found
    order = torch.randperm(len(reference), generator=torch.Generator().manual_seed(0))
    real = measure(network, (reference.take(part) for part in torch.split(order, chunk)))
    if real.non_finite:
        raise RequestError(f"{reference.spec.name}: {real.non_finite} samples or their features are not finite")
    if reference.spec.sha256:
        with contextlib.suppress(OSError):  # a cache that can't be written costs time, not the score
            _write(path, real)
    return real


def _write(path: Path, real: Measured) -> None:
    tensors = {
        "count": torch.tensor(real.summary.num),
        "mean": real.summary.mean,
        "scatter": real.summary.scatter,
        "features": real.features.contiguous(),
        "labels": real.labels,
        "confidence": real.confidence,
    }
    digest = torch.frombuffer(bytearray.fromhex(hash_tensors(tensors)), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, safetensors.torch.save(tensors | {"sha256": digest}))


def _read(path: Path, network: FeatureNetwork, count: int) -> Measured | None:
    """What the cache holds; None when it holds nothing, or something else than it was given."""
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        digest = bytes(tensors.pop("sha256").tolist()).hex()
        if digest != hash_tensors(tensors) or tensors["count"].item() != count:
            return None
        return Measured(
            summary=Summary(count, tensors["mean"], tensors["scatter"]),
            features=tensors["features"],
            labels=tensors["labels"],
            confidence=tensors["confidence"],
        )
    except (OSError, SafetensorError, KeyError):
        return None
