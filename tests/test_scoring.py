"""Scores from Python: anybody's samples against real ones."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sparring
from sparring.core.errors import RequestError
from sparring.core.forms import Form, Series, Table, Text
from sparring.core.forms.table import Categorical, Continuous
from sparring.core.protocols import DataSpec
from sparring.data.named import load_named
from sparring.data.tensors import Resident, from_arrays
from sparring.metrics.discriminative import Discriminative
from sparring.metrics.features import wrap
from sparring.metrics.frechet import frechet_distance
from sparring.metrics.kernel import KID
from sparring.metrics.metric import kind_of
from sparring.metrics.predictive import Predictive
from sparring.metrics.summary import moments
from sparring.report.meaning import MEANINGS
from sparring.scoring import METRICS, USUAL, named, usual, usual_at_the_end


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (400, 8, 8), dtype=np.uint8)


def test_arrays_tensors_and_sources_give_one_score(images: NDArray[np.uint8]) -> None:
    fake, real = images[:200], images[200:]
    found = sparring.score(fake, real, ["fid", "kid"])
    again = [
        sparring.score(fake[..., None], real, ["fid", "kid"]),
        sparring.score(torch.from_numpy(fake)[:, None], torch.from_numpy(real), ["fid", "kid"]),
        sparring.score(from_arrays(fake), from_arrays(real), ["fid", "kid"]),
    ]
    for other in again:
        assert other.values == found.values
    json.dumps(found._asdict(), allow_nan=False)
    assert found.provenance["weights"] == "given"


def test_a_known_distance(images: NDArray[np.uint8]) -> None:
    """In features that are the values themselves, rotated, the distance is that of the values."""
    random = np.random.default_rng(1)
    real, fake = random.uniform(-1, 1, (500, 5)), random.uniform(-0.5, 1, (400, 5))
    expected = frechet_distance(*moments(torch.from_numpy(fake)), *moments(torch.from_numpy(real)))
    assert sparring.score(fake, real, ["fid"]).values["fid"] == pytest.approx(expected, rel=1e-5)


def test_metrics_by_name_or_with_settings(images: NDArray[np.uint8]) -> None:
    found = sparring.score(images[:100], images[100:], [KID(num_subsets=2)])
    assert set(found.values) == {"kid", "kid_low", "kid_high"}
    assert {type(m).__name__ for m in named(METRICS)} == {cls.__name__ for cls in METRICS.values()}
    assert set(USUAL) <= set(METRICS)
    with pytest.raises(RequestError, match="metrics 'fidd': did you mean 'fid'"):
        sparring.score(images, images, ["fidd"])
    with pytest.raises(RequestError, match="metrics: expected some of fid, "):
        sparring.score(images, images, [])


def test_what_does_not_fit_is_said_in_one_line(images: NDArray[np.uint8]) -> None:
    colour = np.repeat(images[..., None], 3, 3)
    with pytest.raises(RequestError, match=r"expected shape \[100, 3, 8, 8\] as reference has, found \[100, 1, 8, 8\]"):
        sparring.score(images[:100], colour)
    with pytest.raises(RequestError, match=r"expected shape \[100, 1, 8, 8\].*found \[100, 1, 7, 8\]"):
        sparring.score(images[:100, :7], images)
    with pytest.raises(RequestError, match="samples: scores need at least 4 samples, found 3; add more"):
        sparring.score(images[:3], images, ["fid"])
    broken = images[:100].astype(np.float32) / 127.5 - 1
    broken[5, 2, 2] = np.nan
    with pytest.raises(RequestError, match="samples: 1 of 6400 values are NaN"):
        sparring.score(broken, images)


def test_features_that_are_not_finite_are_refused(images: NDArray[np.uint8]) -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.flatten(1) + 0.5).log()  # NaN for dark pixels

    bright, dark = from_arrays(images // 2 + 128), from_arrays(images)
    broken = wrap(Broken(), bright.spec)
    assert sparring.score(bright, bright, ["fid"], features=broken).values["fid"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(
        RequestError, match="nothing could be measured in Broken features: non-finite samples: 400 of 400"
    ):
        sparring.score(dark, bright, ["fid"], features=broken)
    with pytest.raises(RequestError, match="array: 400 samples or their features are not finite"):
        sparring.score(bright, dark, ["fid"], features=broken)


def test_known_mixtures_need_no_centres(images: NDArray[np.uint8]) -> None:
    """Samples of the law itself reach what a perfect generator can: 1 - exp(-4.5) within three standard deviations."""
    for name, num_modes in (("ring8", 8), ("grid25", 25)):
        real = load_named(name, "test")
        values = sparring.score(real, real, ["mixture"]).values
        assert values["num_modes"] == num_modes
        assert values["high_quality_low"] < 1 - math.exp(-4.5) < values["high_quality_high"]
        assert values["modes_kl"] < 4 * values["modes_kl_floor"]
    with pytest.raises(RequestError, match="Mixture: where its modes are is known for the sets ring8 and grid25"):
        sparring.score(images, images, ["mixture"], features="values")


def test_nothing_is_loaded_before_it_is_used() -> None:
    code = "import sparring, sys; assert 'torch' not in sys.modules; sparring.score; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_value_has_a_sentence_for_the_report(images: NDArray[np.uint8]) -> None:
    given = [
        name
        for name, metric in METRICS.items()
        if "images" in metric.kinds and name not in ("mixture", "parzen", "path_length", "per_class")
    ]
    found = sparring.score(images[:150], images[150:300], given, features="digits8", held_out=images[300:])
    plain = {name for name in found.values if not name.endswith(("_low", "_high"))}
    assert len(plain) > 25
    assert plain - MEANINGS.keys() == set()


def of_form(form: Form, x: torch.Tensor, name: str) -> Resident:
    spec = DataSpec(name=name, shape=tuple(x.shape[1:]), form=form, levels=0)
    return Resident(x, None, spec, {"split": "train"})


def three_of(kind: str) -> tuple[Resident, Resident, Resident]:
    """300 samples of a kind of data, 200 to hold against them and 100 held out, of one law."""
    random = torch.Generator().manual_seed(0)
    if kind == "series":
        x = torch.rand(600, 6, 2, generator=random).cumsum(1) / 6
        return _cut(Series(columns=("a", "b"), low=(0.0, 0.0), high=(1.0, 2.0)), x)
    if kind == "texts":
        text = Text(tokens=("", "a", "b", "c"))
        return _cut(text, text.one_hot(torch.randint(0, 4, (600, 5), generator=random)))
    number = Continuous(name="n", means=(0.0,), deviations=(1.0,), weights=(1.0,), low=-4.0, high=4.0)
    kinds = [Categorical(name=name, values=("p", "q"), counts=(1, 1)) for name in "cd"]
    codes = torch.randint(0, 2, (600, 2), generator=random)
    one_hot = torch.nn.functional.one_hot(codes, 2).float().flatten(1)
    numbers = torch.rand(600, 2, generator=random) - codes
    return _cut(Table(columns=(number, number.replace(name="m"), *kinds)), torch.cat([numbers, one_hot], 1))


def _cut(form: Form, x: torch.Tensor) -> tuple[Resident, Resident, Resident]:
    real, fake, unseen = (
        of_form(form, part, name)
        for part, name in zip(x.split((300, 200, 100)), ("real", "fake", "unseen"), strict=True)
    )
    return real, fake, unseen


@pytest.mark.parametrize("kind", ["series", "texts", "tables"])
def test_every_kind_of_data_has_its_metrics(kind: str) -> None:
    real, fake, unseen = three_of(kind)
    assert kind_of(real.spec) == kind
    asked = usual_at_the_end(real.spec, held_out=True)
    assert asked[: len(usual(real.spec))] == usual(real.spec)
    quick = {"discriminative": Discriminative(steps=5, repeats=2), "predictive": Predictive(steps=5, repeats=2)}
    found = sparring.score(fake, real, [quick.get(name, name) for name in asked], held_out=unseen)
    assert not [note for note in found.notes if "left out" in note]
    names = {name for name in found.values if not name.endswith(("_low", "_high"))}
    assert names - MEANINGS.keys() == set()
    assert {meaning.yardstick for name, meaning in MEANINGS.items() if name in names and meaning.yardstick} <= names
    json.dumps(found._asdict(), allow_nan=False)
    plain = sparring.score(fake, real, held_out=unseen)
    assert plain.values.items() <= found.values.items()
    assert next(iter(METRICS[asked[0]].better)) == next(iter(plain.values))


def test_what_fits_another_kind_of_data_is_said() -> None:
    real, fake, unseen = three_of("texts")
    with pytest.raises(RequestError, match="FID: it is for images and series and tables and vectors, and real holds"):
        sparring.score(fake, real, ["fid"])
    mixed = sparring.score(fake, real, ["fid", "ngrams", "memorisation"], held_out=unseen)
    assert [note.partition(":")[0] for note in mixed.notes] == ["FID is left out", "Memorisation is left out"]
    assert "fid" not in mixed.values
    real, fake, _ = three_of("series")
    with pytest.raises(RequestError, match="Spectrum: it looks at the samples themselves, and not at features pca"):
        sparring.score(fake, real, ["spectrum"], features="pca")
    with pytest.raises(RequestError, match="Pairs: it is for tables, and real holds series; NGrams: it is for texts"):
        sparring.score(fake, real, ["pairs", "ngrams"])


def test_long_series_have_no_covariance() -> None:
    random = torch.Generator().manual_seed(0)
    form = Series(columns=("a",), low=(0.0,), high=(1.0,))
    real, fake = (of_form(form, torch.rand(count, 5000, 1, generator=random), "long") for count in (60, 50))
    found = sparring.score(fake, real, ["fid", "spectrum"])
    assert set(found.values) == {"spectrum", "spectrum_low", "spectrum_high", "spectrum_real"}
    assert found.notes == ("FID is left out: a covariance is kept of at most 4,096 features, and values are 5,000",)
