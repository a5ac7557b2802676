import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sparring
from sparring.core.errors import RequestError
from sparring.core.protocols import Batch
from sparring.core.spec import from_json, to_json
from sparring.metrics import judge as judges
from sparring.metrics.features import Digits8
from sparring.metrics.frechet import FID, frechet_distance
from sparring.metrics.judge import Judge, measured_reference
from sparring.metrics.kernel import KID, kid
from sparring.metrics.modes import Classes
from sparring.metrics.summary import moments


def serve(x: Tensor, y: Tensor | None = None) -> Any:
    """Answers the judge's questions from a tensor."""
    return lambda start, count: Batch(x[start : start + count], None if y is None else y[start : start + count])


@pytest.fixture(scope="module")
def some(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x, y = digits
    return x[:600], y[:600]


@pytest.fixture
def judge(some: tuple[Tensor, Tensor], held: Any) -> Judge:
    return Judge(held(*some, name="digits", sha256="ab" * 32, levels=256), chunk=100)


def test_chunks_give_what_one_shot_gives(judge: Judge, digits: tuple[Tensor, Tensor], some: Any) -> None:
    x, y = digits[0][600:1450], digits[1][600:1450]
    found = judge.score(serve(x, y), num_samples=850, seed=3)
    network = Digits8()
    fake, probabilities = network.classify((x.add(1).mul(127.5).round() / 127.5) - 1)
    real = network(some[0])
    assert found.values["fid"] == pytest.approx(frechet_distance(*moments(fake), *moments(real)), rel=1e-4)
    assert "fid_real" not in found.values  # it would compare the reference with itself
    floor = frechet_distance(*moments(judge.real.features[:300]), *moments(real))
    some_fakes = judge.score(serve(x), num_samples=300, seed=3).values
    assert some_fakes["fid_real"] == pytest.approx(floor, rel=1e-6)
    expected = kid(fake, judge.real.features, seed=3)
    assert found.values["kid"] == pytest.approx(expected.value, rel=1e-3)
    half = 2.2622 * expected.standard_error  # Student's t with 9 degrees of freedom
    assert found.values["kid_high"] == pytest.approx(expected.value + half, rel=1e-3)
    read = probabilities.argmax(1)
    assert found.values["label_accuracy"] == (read == y).double().mean().item()
    assert found.values["class_min"] == read.bincount(minlength=10).min().item() / 850
    assert found.values["class_max"] == read.bincount(minlength=10).max().item() / 850
    assert found.values["confident"] == (probabilities.amax(1) > 0.9).double().mean().item()
    assert found.values["classes_covered"] == 10
    assert 0 < found.values["class_kl"] < 0.02


def test_chunks_of_any_size_agree(some: tuple[Tensor, Tensor], held: Any) -> None:
    x = some[0]
    found = [
        Judge(held(*some, name="digits"), chunk=chunk).score(serve(x[:251]), num_samples=251, seed=0).values
        for chunk in (7, 50, 1000)  # 50 leaves a last chunk of one
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-4, abs=1e-5)


def test_the_same_twice(judge: Judge, digits: tuple[Tensor, Tensor]) -> None:
    x = digits[0][600:900]
    before = torch.get_rng_state()
    first, second = (judge.score(serve(x), num_samples=300, seed=5) for _ in range(2))
    assert first == second
    assert judge.score(serve(x), num_samples=300, seed=6).values["kid"] != first.values["kid"]
    assert torch.equal(torch.get_rng_state(), before)


def test_better_samples_get_better_scores(judge: Judge, digits: tuple[Tensor, Tensor]) -> None:
    x = digits[0][600:1200]
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(x.shape, generator=generator) * 2 - 1
    good, fair, bad = (
        judge.score(serve((1 - share) * x + share * noise), num_samples=600, seed=0).values for share in (0, 0.4, 1)
    )
    assert good["fid"] * 5 < fair["fid"] < bad["fid"]
    assert good["kid"] < fair["kid"] < bad["kid"]
    assert judge.better["fid"] == judge.better["kid"] == "lower"
    assert judge.better["label_accuracy"] == "higher"
    for name in judge.better.keys() - {"label_accuracy"}:
        assert name in good


def test_one_class_only_is_seen(judge: Judge, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    found = judge.score(serve(x[y == 3][:150]), num_samples=150, seed=0).values
    assert found["classes_covered"] <= 3
    assert found["class_max"] > 0.95
    assert found["class_kl"] > 2  # ln 10 = 2.3 for a single one of ten
    assert "label_accuracy" not in found


def test_provenance_says_all_that_it_takes_to_repeat_a_score(judge: Judge, some: tuple[Tensor, Tensor]) -> None:
    found = judge.score(serve(some[0] * 1.5), num_samples=200, seed=7, weights="raw")
    assert found.provenance == {
        "features": "digits8",
        "features_sha256": Digits8().sha256,
        "feature_dim": 64,
        "resize": "none",
        "num_samples": 200,
        "kept": 200,
        "reference": {"name": "digits", "split": "train", "count": 600, "sha256": "ab" * 32},
        "held_out": None,
        "seed": 7,
        "weights": "raw",
        "arithmetic": "float32",
        "value_range": [-1.5, 1.5],
        "levels": 256,
        "ddof": 1,
        "sparring": sparring.__version__,
    }
    json.dumps(found._asdict(), allow_nan=False)


def test_samples_are_scored_as_they_would_be_stored(some: tuple[Tensor, Tensor], held: Any) -> None:
    x = ((some[0] + 1) * 127.5).floor() / 127.5 - 1  # as a file of 8-bit pixels holds it
    stored, floats = (Judge(held(*some, name="digits", levels=levels)) for levels in (256, 0))
    plain = stored.score(serve(x), num_samples=600, seed=0).values
    assert stored.score(serve(x * 1.5), num_samples=600, seed=0).values != plain
    assert stored.score(serve(x + 0.3 / 127.5), num_samples=600, seed=0).values == plain
    assert floats.score(serve(x + 0.3 / 127.5), num_samples=600, seed=0).values != plain
    beyond = x.sign() * 1.5  # clamped, so no worse than the black and white it stands for
    assert stored.score(serve(beyond), num_samples=600, seed=0).values == pytest.approx(
        stored.score(serve(x.sign()), num_samples=600, seed=0).values
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_samples_that_are_not_finite_are_an_outcome(judge: Judge, some: tuple[Tensor, Tensor], value: float) -> None:
    x = some[0].clone()
    x[[5, 250, 251], 0, 2, 2] = value
    found = judge.score(serve(x), num_samples=600, seed=0)
    assert found.values == {}
    assert found.notes == ("non-finite samples: 3 of 600",)
    json.dumps(found._asdict(), allow_nan=False)
    none = judge.score(serve(torch.full_like(x, value)), num_samples=600, seed=0)
    assert none.notes == ("non-finite samples: 600 of 600",)
    json.dumps(none._asdict(), allow_nan=False)


def test_fewer_samples_than_features_are_scored_with_a_warning(judge: Judge, some: tuple[Tensor, Tensor]) -> None:
    found = judge.score(serve(some[0]), num_samples=64, seed=0)
    assert found.values["fid"] > 0
    assert "64 samples for 64 features" in found.notes[0]
    assert judge.score(serve(some[0]), num_samples=65, seed=0).notes == ()


def test_requests_that_cannot_be_met(judge: Judge, some: tuple[Tensor, Tensor], held: Any) -> None:
    with pytest.raises(RequestError, match="num_samples: expected at least 4, found 3"):
        judge.score(serve(some[0]), num_samples=3, seed=0)
    with pytest.raises(RequestError, match=r"expected shape \[100, 1, 8, 8\] as digits has, found \[100, 64\]"):
        judge.score(serve(some[0].flatten(1)), num_samples=600, seed=0)
    with pytest.raises(RequestError, match=r"expected shape \[100, 1, 8, 8\].* found \[50, 1, 8, 8\]"):
        judge.score(serve(some[0][:50]), num_samples=600, seed=0)
    with pytest.raises(RequestError, match="at least 4 samples, few has 3"):
        Judge(held(some[0][:3], name="few"))
    with pytest.raises(RequestError, match="2 samples or their features are not finite"):
        Judge(held(torch.cat([some[0], torch.full((2, 1, 8, 8), torch.nan)]), name="broken"), features="digits8")


def test_data_without_a_classifier(held: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    ring = torch.randn(500, 2, generator=generator)
    judge = Judge(held(ring, name="ring"))
    found = judge.score(serve(ring + torch.tensor([0.6, 0.8])), num_samples=500, seed=0)
    assert found.values.keys() == {"fid", "fid_low", "fid_high", "kid", "kid_low", "kid_high"}
    assert found.values["fid"] == pytest.approx(0.25, rel=1e-5)  # a shift by 1, in features (x + 1) / 2
    assert found.provenance["features"] == "values"


def test_metrics_are_configuration() -> None:
    metrics = (FID(), KID(subset_size=500), Classes(confident_above=0.8))
    assert from_json(json.loads(json.dumps(to_json(metrics)))) == metrics


def test_the_reference_is_measured_once(some: tuple[Tensor, Tensor], held: Any, cache: Path) -> None:
    source = held(*some, name="digits", sha256="cd" * 32)
    first = Judge(source)
    (file,) = [p for p in cache.rglob("*") if p.is_file()]
    taken: list[Tensor] = []
    source.take = lambda index: taken.append(index)
    second = Judge(source)
    assert not taken
    for a, b in zip(
        (*first.real.summary[1:], *first.real[1:4]), (*second.real.summary[1:], *second.real[1:4]), strict=True
    ):
        assert torch.equal(a, b)
    x = some[0]
    assert first.score(serve(x), num_samples=100, seed=0) == second.score(serve(x), num_samples=100, seed=0)
    assert file.suffix == ".safetensors"


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped"])
def test_a_damaged_cache_is_rebuilt(damage: str, some: tuple[Tensor, Tensor], held: Any, cache: Path) -> None:
    source, network = held(*some, name="digits", sha256="cd" * 32), Digits8()
    whole = measured_reference(network, source, 1000)
    (file,) = [p for p in cache.rglob("*") if p.is_file()]
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[-50] ^= 64
    file.write_bytes({"empty": b"", "cut": good[:-40], "text": b"hello", "flipped": bytes(flipped)}[damage])
    notices: list[str] = []
    again = measured_reference(network, source, 1000, notices=notices)
    assert len(notices) == 1
    assert str(file) in notices[0]
    assert torch.equal(again.features, whole.features)
    assert torch.equal(again.summary.scatter, whole.summary.scatter)
    assert file.read_bytes() == good
    assert [p for p in cache.rglob("*") if p.is_file()] == [file]


def test_other_data_is_not_found_in_the_cache(some: tuple[Tensor, Tensor], held: Any, cache: Path) -> None:
    x, y = some
    Judge(held(x, y, name="digits", sha256="cd" * 32))
    other = Judge(held(x[:300], y[:300], name="digits", sha256="ef" * 32))
    assert other.real.summary.num == 300
    Judge(held(x, y, name="digits"))  # without a hash: measured, not kept
    assert len([p for p in cache.rglob("*") if p.is_file()]) == 2


def test_a_cache_that_cannot_be_written_costs_no_score(
    some: tuple[Tensor, Tensor], held: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "file"))
    assert Judge(held(*some, name="digits", sha256="cd" * 32)).real.summary.num == 600


def test_features_kept_are_spread_over_a_sorted_source(held: Any) -> None:
    x = torch.linspace(-1, 1, 2000)[:, None]
    kept = Judge(held(x, name="line"), keep=100).real.features
    assert len(kept) == 100
    assert abs(kept.mean() - 0.5) < 0.1
    assert float(kept.std()) == pytest.approx(float(x.std()) / 2, rel=0.2)


@pytest.mark.mnist
def test_real_mnist_scores_well_and_noise_does_not(mnist: Any, held: Any) -> None:
    x, y = mnist("train")
    test_x, test_y = mnist("test")
    judge = Judge(held(test_x, test_y, name="mnist", levels=256))
    real = judge.score(serve(x[:10_000], y[:10_000]), num_samples=10_000, seed=0).values
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2000, 1, 28, 28, generator=generator) * 2 - 1
    noisy = judge.score(serve(noise), num_samples=2000, seed=0).values
    assert real["fid"] < noisy["fid"] / 1000
    assert abs(real["kid"]) < noisy["kid"] / 1000
    assert real["classes_covered"] == 10
    assert 0.08 < real["class_min"] < real["class_max"] < 0.12
    assert real["label_accuracy"] > 0.99


def test_large_samples_are_taken_in_small_chunks_and_few_are_kept(held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "_CHUNK_VALUES", 64)
    monkeypatch.setattr(judges, "_KEPT_VALUES", 80)
    x = torch.rand(50, 4)
    judge = Judge(held(x), metrics=(FID(),), features="values")
    asked: list[int] = []

    def take(start: int, count: int) -> Batch:
        asked.append(count)
        return Batch(x[start : start + count], None)

    found = judge.score(take, num_samples=40, seed=0)
    assert asked == [16, 16, 8]
    assert (found.provenance["kept"], len(judge.real.features), judge.real.summary.num) == (20, 20, 50)
    few = Judge(held(torch.rand(50, 60)), metrics=(FID(),), features="values")
    assert (few.chunk, few.keep) == (1, 4)
