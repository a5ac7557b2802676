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
from sparring.data.named import load_named
from sparring.data.tensors import from_arrays
from sparring.metrics.features import wrap
from sparring.metrics.frechet import frechet_distance
from sparring.metrics.kernel import KID
from sparring.metrics.summary import moments
from sparring.report.meaning import MEANINGS
from sparring.scoring import METRICS, USUAL, named


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
    given = [name for name in METRICS if name not in ("mixture", "parzen", "path_length", "per_class")]
    found = sparring.score(images[:150], images[150:300], given, features="digits8", held_out=images[300:])
    plain = {name for name in found.values if not name.endswith(("_low", "_high"))}
    assert len(plain) > 25
    assert plain - MEANINGS.keys() == set()
