"""What a metric is: a pure function of two measured sets of samples, with a name for each number that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from sparring.core.forms import Series, Table, Text
from sparring.core.game import Prior
from sparring.core.protocols import DataSpec
from sparring.core.spec import Spec
from sparring.metrics.features import FeatureNetwork
from sparring.metrics.summary import MOST_FEATURES, Summary

Better = Literal["lower", "higher"]


class Measured(NamedTuple):
    """What is kept of a set of N samples: all that the metrics look at, in memory that does not grow with N."""

    summary: Summary
    """Mean and scatter of the features of all N."""
    counts: Tensor
    """How many of all N the network reads as each class: int64 [num_classes]; [0] when it cannot tell."""
    features: Tensor
    """Of the first n, at most as many as the judge keeps: float32 [n, dim]."""
    probabilities: Tensor
    """The network's class probabilities of those n: float32 [n, num_classes], or [n, 0]."""
    y: Tensor | None = None
    """The labels of those n, as asked for or as they came with the data: int64 [n]."""
    value_range: tuple[float, float] = (0.0, 0.0)
    """Least and greatest value of all samples, before any clamping."""
    non_finite: int = 0
    """Samples that are not finite, or whose features are not; they are in none of the above."""


class Setting(NamedTuple):
    """What a metric may need beside the two sets."""

    network: FeatureNetwork
    seed: int = 0
    """Of whatever the metric draws."""
    held_out: Measured | None = None
    """Real samples that the generator was not trained on."""
    num_classes: int = 0
    """Of the labels y, not of the network's own classes."""
    data: DataSpec | None = None
    """What is known of the samples: their shape, and the form that says what their numbers mean."""
    split: str = ""
    """Which part of its source the reference is: `train`, `test` or another name."""
    generate: Callable[[Tensor, Tensor | None], Tensor] | None = None
    """z [B, dim] and y [B] or None to samples [B, *shape] in [-1, 1]; None when only samples are known."""
    prior: Prior | None = None


Needs = Literal["classes", "held_out", "generator", "samples", "moments"]
Kind = Literal["images", "vectors", "series", "texts", "tables"]


class Metric(Spec):
    """A score of samples against a reference."""

    better: ClassVar[dict[str, Better]] = {}
    """Which way is better, for those of its values that can be ranked by."""
    needs: ClassVar[frozenset[Needs]] = frozenset()
    """`classes`: a feature network that tells classes; `held_out` real samples; the `generator` itself; `samples`:
    features that are the samples themselves, `values` or `tokens`; `moments`: few enough features for a covariance."""
    kinds: ClassVar[frozenset[Kind]] = frozenset({"images", "vectors", "series", "tables"})
    """What it can be asked of: by default all whose features are quantities, between which distances mean something."""
    fewest: ClassVar[int] = 4
    """The least number of samples on each side."""

    def measure(self, fake: Measured, real: Measured, setting: Setting) -> dict[str, float]:
        """The values by name; those with a 95 % interval beside `name_low` and `name_high` (`Interval.named`)."""
        raise NotImplementedError(f"{type(self).__name__} must define measure()")

    def notes(self, fake: Measured, real: Measured, setting: Setting, values: Mapping[str, float]) -> Iterable[str]:
        """What a reader of the values that were measured must know, each in one sentence."""
        return ()


def kind_of(data: DataSpec) -> Kind:
    """What some data are, as metrics tell them apart."""
    forms: dict[type, Kind] = {Series: "series", Text: "texts", Table: "tables"}
    return "images" if data.is_image else forms.get(type(data.form), "vectors")


def unfit(metric: Metric, data: DataSpec, network: FeatureNetwork) -> str:
    """Why a metric can't be asked of some data seen by a feature network, in a clause; "" where it can."""
    kind = kind_of(data)
    if kind not in metric.kinds:
        return f"it is for {' and '.join(sorted(metric.kinds))}, and {data.name} holds {kind}"
    if "samples" in metric.needs and network.name not in ("values", "tokens"):
        return f"it looks at the samples themselves, and not at features {network.name}"
    if "moments" in metric.needs and network.dim > MOST_FEATURES:
        return f"a covariance is kept of at most {MOST_FEATURES:,} features, and {network.name} are {network.dim:,}"
    return ""
