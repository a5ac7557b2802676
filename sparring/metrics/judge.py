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
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sparring import __version__
from sparring.core.errors import RequestError
from sparring.core.files import cache_folder, write_atomically
from sparring.core.game import Prior
from sparring.core.protocols import Batch, Source
from sparring.metrics.features import FeatureNetwork, choose, hash_tensors, load
from sparring.metrics.frechet import FID
from sparring.metrics.kernel import KID
from sparring.metrics.metric import Better, Measured, Metric, Setting, unfit
from sparring.metrics.modes import Classes
from sparring.metrics.recast import in_form_of
from sparring.metrics.summary import DDOF, Summary, merge, nothing, summarise

KEEP = 10_000
_KEPT_VALUES = 2**26  # features of large samples are kept of fewer of them: 256 MB of each set at most
_CHUNK_VALUES = 2**27


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
        reference: the real data; all of it enters the Fréchet distance, the first `keep` of a shuffled order the rest.
        metrics: what is measured, in order; those that ask for classes are left out where the features tell none, and
            those for data of other kinds, of which a note tells.
        features: a name of `sparring.metrics.features.load`, or None for the choice that fits the data.
        held_out: real samples that no generator was trained on, for the metrics that need them.
        keep: samples of each set whose features are kept, fewer where they would be more than 256 MB; memory grows
            with it and with nothing else.
        device: where the feature network runs.
        chunk: samples asked for and measured at once, fewer where they would be more than 512 MB.

    Raises `RequestError` for a reference of fewer than 4 samples, features that do not fit it, held-out samples of
    another kind, or a metric that needs what is not there.
    """

    def __init__(
        self,
        reference: Source,
        *,
        metrics: tuple[Metric, ...] = (FID(), KID(), Classes()),
        features: str | FeatureNetwork | None = None,
        held_out: Source | None = None,
        keep: int = KEEP,
        device: torch.device | str = "cpu",
        chunk: int = 1000,
    ) -> None:
        self.fewest = max([4, *(metric.fewest for metric in metrics)])
        """The least number of samples that can be scored."""
        if len(reference) < self.fewest:
            raise RequestError(
                f"scores need a reference of at least {self.fewest} samples, {reference.spec.name} has "
                f"{len(reference)}; add more"
            )
        if keep < self.fewest:
            raise RequestError(f"keep: expected at least {self.fewest} samples, found {keep}")
        held_out = None if held_out is None else in_form_of(held_out, reference.spec)
        if held_out is not None and held_out.spec.shape != reference.spec.shape:
            raise RequestError(
                f"held-out samples of {held_out.spec.name}: expected shape {list(reference.spec.shape)} as "
                f"{reference.spec.name} has, found {list(held_out.spec.shape)}"
            )
        self.data = reference.spec
        self.chunk = max(1, min(chunk, _CHUNK_VALUES // math.prod(reference.spec.shape)))
        if isinstance(features, FeatureNetwork):
            network = features
        else:
            network = load(features or choose(reference.spec), reference)
        self.network = network.to(torch.device(device))
        self.keep = max(self.fewest, min(keep, _KEPT_VALUES // self.network.dim))
        reasons = [(metric, unfit(metric, self.data, self.network)) for metric in metrics]
        self.left_out = tuple(f"{type(metric).__name__} is left out: {reason}" for metric, reason in reasons if reason)
        """Which metrics are not measured of such data, and why."""
        if metrics and all(reason for _, reason in reasons):
            raise RequestError("; ".join(f"{type(metric).__name__}: {reason}" for metric, reason in reasons))
        metrics = tuple(metric for metric, reason in reasons if not reason)
        self.metrics = tuple(m for m in metrics if self.network.num_classes or "classes" not in m.needs)
        if metrics and not self.metrics:
            raise RequestError(
                f"{', '.join(type(m).__name__ for m in metrics)}: features {self.network.name} tell no classes; choose "
                f"features that do, such as inception"
            )
        for metric in self.metrics:
            if "held_out" in metric.needs and held_out is None:
                raise RequestError(
                    f"{type(metric).__name__} compares with real samples that were not trained on: name them with "
                    f"--held-out, or leave it out"
                )
        self.reference = _about(reference)
        self.held_out = None if held_out is None else _about(held_out)
        self.notices: list[str] = []
        """What happened on the way that a reader should know, such as a damaged cache that was made again."""
        self._real = measured_reference(self.network, reference, self.keep, self.chunk, self.notices)
        self._held = (
            None
            if held_out is None
            else measured_reference(self.network, held_out, self.keep, self.chunk, self.notices)
        )

    @property
    def real(self) -> Measured:
        """The reference, measured."""
        return self._real

    @property
    def better(self) -> dict[str, Better]:
        """Which way is better, for every value that can be ranked by."""
        return {name: way for metric in self.metrics for name, way in metric.better.items()}

    def score(
        self,
        sample: Callable[[int, int], Batch],
        *,
        num_samples: int,
        seed: int,
        weights: str = "ema",
        arithmetic: str = "float32",
        generate: Callable[[Tensor, Tensor | None], Tensor] | None = None,
        prior: Prior | None = None,
    ) -> Score:
        """The metrics of `num_samples` samples.

        `sample(start, count)` returns samples start to start + count − 1 as a batch in [-1, 1]; labels in it, if any,
        are those that were asked for. 8- and 16-bit data are scored as they would be stored: clamped and rounded.
        `seed` is of what the metrics draw, and recorded; so are `weights` ('ema', 'raw' or 'given') and `arithmetic`,
        in which the samples were made. `generate` and `prior` are the generator itself, for metrics that move z.
        Samples that are not finite are an outcome, not an error: no values, and a note 'non-finite samples: k of n'.
        Raises `RequestError` for too few samples, and for batches of another size or shape than asked for.
        """
        if num_samples < self.fewest:
            raise RequestError(f"num_samples: expected at least {self.fewest}, found {num_samples}")
        fake = measure(self.network, self._ask(sample, num_samples), self.data.levels, self.keep)
        split = self.reference["split"]
        setting = Setting(self.network, seed, self._held, self.data.num_classes, self.data, split, generate, prior)
        notes = list(self.left_out)
        values: dict[str, float] = {}
        if fake.non_finite:
            notes.append(f"non-finite samples: {fake.non_finite} of {num_samples}")
        else:
            for metric in self.metrics:
                if "generator" in metric.needs and (generate is None or prior is None):
                    notes.append(f"{type(metric).__name__} is left out: it needs the generator, not only samples")
                    continue
                found = metric.measure(fake, self._real, setting)
                notes += metric.notes(fake, self._real, setting, found)
                values |= found
        for name in [name for name, value in values.items() if not math.isfinite(value)]:
            del values[name]
            notes.append(f"{name} is not finite and left out")
        provenance = {
            "features": self.network.name,
            "features_sha256": self.network.sha256,
            "feature_dim": self.network.dim,
            "resize": self.network.resize,
            "num_samples": num_samples,
            "kept": min(num_samples, self.keep),
            "reference": self.reference,
            "held_out": self.held_out,
            "seed": seed,
            "weights": weights,
            "arithmetic": arithmetic,
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
                    f"found {list(batch.x.shape)}; bring both to one size and one number of channels"
                )
            yield batch


def _about(source: Source) -> dict[str, Any]:
    return {
        "name": source.spec.name,
        "split": source.report.get("split", "all"),
        "count": len(source),
        "sha256": source.spec.sha256,
    }


@torch.no_grad()
def measure(network: FeatureNetwork, batches: Iterable[Batch], levels: int = 0, keep: int = KEEP) -> Measured:
    """Everything the metrics need of samples that come in batches; those that are not finite are only counted.

    With `levels` (256 for 8-bit data) samples are scored as they would be stored: clamped to [-1, 1] and rounded.
    """
    summary = nothing(network.dim)
    counts = torch.zeros(network.num_classes, dtype=torch.int64)
    features: list[Tensor] = []
    probabilities: list[Tensor] = []
    labels: list[Tensor] = []
    low, high, non_finite = math.inf, -math.inf, 0
    for batch in batches:
        x = batch.x.float()
        found, read = network.classify(_as_stored(x, levels))
        finite = x.flatten(1).isfinite().all(1).to(found.device) & found.isfinite().all(1)
        if not finite.all():
            non_finite += int((~finite).sum())
            continue
        low, high = min(low, x.min().item()), max(high, x.max().item())
        missing = keep - summary.num
        if missing > 0:
            features.append(found[:missing].cpu())
            probabilities.append(read[:missing].cpu())
            if batch.y is not None and not batch.y.is_floating_point():  # metrics know classes, no other conditions
                labels.append(batch.y[:missing].cpu())
        summary = merge(summary, summarise(found))
        if network.num_classes:
            counts += read.argmax(1).cpu().bincount(minlength=network.num_classes)
    return Measured(
        summary=summary,
        counts=counts,
        features=torch.cat(features) if features else torch.empty(0, network.dim),
        probabilities=torch.cat(probabilities) if probabilities else torch.empty(0, network.num_classes),
        y=torch.cat(labels) if labels else None,
        value_range=(low, high) if low <= high else (0.0, 0.0),
        non_finite=non_finite,
    )


def _as_stored(x: Tensor, levels: int) -> Tensor:
    """x clamped to [-1, 1] and rounded to that many evenly spaced values; as it is when levels is 0."""
    if levels == 0:
        return x
    half = (levels - 1) / 2
    return x.clamp(-1, 1).add_(1).mul_(half).round_().div_(half).sub_(1)


def measured_reference(
    network: FeatureNetwork, reference: Source, keep: int, chunk: int = 1000, notices: list[str] | None = None
) -> Measured:
    """A whole source, measured, from the cache where it is known; data without a hash are measured every time.

    Samples are visited in a fixed shuffled order, so that the features kept are spread over sources sorted by class.
    A file in the cache that is damaged is made again, and `notices` told.
    """
    name = f"{network.sha256[:32]}-{reference.spec.sha256[:32]}-{keep}.safetensors"
    path = cache_folder() / "features" / name
    if reference.spec.sha256 and path.exists():
        found = _read(path, len(reference))
        if found is not None:
            return found
        if notices is not None:
            notices.append(f"{path}: damaged; the statistics of {reference.spec.name} are measured again")
    order = torch.randperm(len(reference), generator=torch.Generator().manual_seed(0))
    real = measure(network, (reference.take(part) for part in torch.split(order, chunk)), keep=keep)
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
        "counts": real.counts,
        "features": real.features.contiguous(),
        "probabilities": real.probabilities.contiguous(),
    }
    tensors |= {} if real.y is None else {"y": real.y}
    digest = torch.frombuffer(bytearray.fromhex(hash_tensors(tensors)), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, safetensors.torch.save(tensors | {"sha256": digest}))


def _read(path: Path, count: int) -> Measured | None:
    """What the cache holds; None when that is something else than it was given."""
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        digest = bytes(tensors.pop("sha256").tolist()).hex()
        if digest != hash_tensors(tensors) or tensors["count"].item() != count:
            return None
        return Measured(
            summary=Summary(count, tensors["mean"], tensors["scatter"]),
            counts=tensors["counts"],
            features=tensors["features"],
            probabilities=tensors["probabilities"],
            y=tensors.get("y"),
        )
    except (OSError, SafetensorError, KeyError):
        return None
