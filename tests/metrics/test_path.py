import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import mstats
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.game import Prior
from sparring.core.protocols import Batch
from sparring.metrics.judge import Judge
from sparring.metrics.metric import Setting
from sparring.metrics.path import Interpolation, PathLength, path_lengths, slerp, trimmed_mean


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(seed: int, num: int) -> Tensor:
    return torch.rand(num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def identity(x: Tensor, y: Tensor | None = None) -> Any:
    """As a generator, and as a feature network."""
    return x


class Normal(Prior):
    """Standard normal."""

    def draw(self, count: int, random: torch.Generator, truncation: float | None = None) -> Tensor:
        return torch.randn(count, self.dim, generator=random)


@pytest.mark.parametrize("d", [1, 2, 16])
def test_straight_lines_between_normal_ends(d: int) -> None:
    """For the identity E ‖z₁ − z₀‖² = 2d, with a variance of 8d."""
    num = 20_000
    found = path_lengths(identity, identity, draw(0, num, d), draw(1, num, d), uniform(2, num), interpolation="lerp")
    assert found.mean().item() == pytest.approx(2 * d, abs=4 * math.sqrt(8 * d / num))


def test_great_circles_between_points_of_a_circle() -> None:
    """For the identity the square of an angle that is uniform on [0, π]: π²/3."""
    num, turns = 20_000, 2 * math.pi * uniform(0, 40_000)
    z = torch.stack([turns.cos(), turns.sin()], 1)
    found = path_lengths(identity, identity, z[:num], z[num:], uniform(1, num))
    angle = (z[:num] * z[num:]).sum(1).clamp(-1, 1).acos()
    assert torch.allclose(found, angle.square(), rtol=2e-3, atol=1e-3)
    assert found.mean().item() == pytest.approx(math.pi**2 / 3, abs=4 * math.sqrt(4 * math.pi**4 / 45 / num))


def test_a_linear_generator_and_a_linear_embedding() -> None:
    """‖A B (z₁ − z₀)‖² on each path, wherever on it."""
    A, B, z0, z1 = draw(0, 5, 8), draw(1, 8, 3), draw(2, 100, 3), draw(3, 100, 3)
    expected = ((z1 - z0) @ (A @ B).T).square().sum(1)
    for t in (torch.zeros(100), uniform(4, 100)):
        found = path_lengths(
            lambda z, y: z.double() @ B.T, lambda x: x @ A.T, z0, z1, t, interpolation="lerp", epsilon=1e-3
        )
        assert torch.allclose(found, expected, rtol=2e-3)


def test_a_curved_generator() -> None:
    """The speed of G(z) = z² at t on a line: 2 z (z₁ − z₀)."""
    z0, z1, t = draw(0, 200, 1), draw(1, 200, 1), uniform(2, 200)
    found = path_lengths(lambda z, y: z.double().square(), identity, z0, z1, t, interpolation="lerp")
    z = z0 + t[:, None] * (z1 - z0)
    expected = (2 * z * (z1 - z0)).square().sum(1)
    assert torch.allclose(found, expected, rtol=1e-2, atol=1e-4)


def test_slerp_by_hand() -> None:
    third = torch.full((1, 1), 1 / 3, dtype=torch.float64)
    x, y = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    thirty = torch.tensor([[math.cos(math.pi / 6), math.sin(math.pi / 6)]]).double()
    assert torch.allclose(slerp(x, y, third), thirty, atol=1e-15)
    assert torch.allclose(slerp(3 * x, 3 * y, third), 3 * thirty, atol=1e-15)
    assert torch.allclose(slerp(2 * x, 2 * x, third), 2 * x)
    assert torch.allclose(slerp(x, 4 * x, third), 2 * x)
    assert torch.allclose(slerp(x, -x, third), x / 3)
    assert torch.allclose(slerp(0 * x, 0 * x, third), 0 * x)
    close = torch.tensor([[math.cos(1e-6), math.sin(1e-6)]]).double()
    assert slerp(x, close, third)[0, 1].item() == pytest.approx(1e-6 / 3, rel=1e-9)


def test_the_norm_of_wide_normal_noise_stays_on_a_great_circle() -> None:
    z0, z1 = draw(0, 100, 512), draw(1, 100, 512)
    half = torch.full((100, 1), 0.5, dtype=torch.float64)
    assert slerp(z0, z1, half).norm(dim=1).mean().item() == pytest.approx(math.sqrt(512), rel=0.01)
    assert torch.lerp(z0, z1, half).norm(dim=1).mean().item() == pytest.approx(math.sqrt(256), rel=0.01)


def test_float32_is_exact_enough_for_the_papers_epsilon() -> None:
    """Against the exact speed along the great circle of G(z) = tanh(W z), in float64; rounded to 8 bits it is lost."""
    W, z0, z1, t = draw(3, 784, 16) / 4, draw(0, 200, 16), draw(1, 200, 16), uniform(2, 200)[:, None]
    omega = torch.nn.functional.cosine_similarity(z0, z1)[:, None].acos()
    z = (torch.sin((1 - t) * omega) * z0 + torch.sin(t * omega) * z1) / omega.sin()
    velocity = omega / omega.sin() * (torch.cos(t * omega) * z1 - torch.cos((1 - t) * omega) * z0)
    exact = ((1 - (z @ W.T).tanh().square()) * (velocity @ W.T)).square().sum(1)

    def generate(z: Tensor, y: Tensor | None) -> Tensor:
        return (z @ W.float().T).tanh()

    found = path_lengths(generate, identity, z0, z1, t[:, 0])
    assert found.mean().item() == pytest.approx(exact.mean().item(), rel=1e-3)
    assert torch.allclose(found, exact, rtol=1e-2)
    rounded = path_lengths(lambda z, y: generate(z, y).mul(127.5).round() / 127.5, identity, z0, z1, t[:, 0])
    assert rounded.mean() > 10 * exact.mean()


def test_half_precision_is_refused() -> None:
    z, t = draw(0, 10, 2), uniform(0, 10)
    with pytest.raises(RequestError, match=r"needs samples made in float32, found torch\.bfloat16"):
        path_lengths(lambda z, y: z.bfloat16(), identity, z, z + 1, t)


def test_the_trimmed_mean_leaves_out_one_per_cent_at_each_end() -> None:
    lengths = torch.arange(1001.0).double().flip(0)
    assert trimmed_mean(lengths).value == 500
    lengths[lengths > 990] = 1e9
    found = trimmed_mean(lengths)
    assert found.value == pytest.approx(sum(range(10, 991)) / 981)
    assert found.high < 530


def test_the_error_is_that_of_a_trimmed_mean() -> None:
    """As scipy has it, from the winsorised spread."""
    lengths = draw(0, 1001).square()
    found = trimmed_mean(lengths)
    error = mstats.trimmed_stde(lengths.numpy(), limits=(0.01, 0.01))
    assert found.value == pytest.approx(float(mstats.trimmed_mean(lengths.numpy(), limits=(0.01, 0.01))), rel=1e-12)
    assert found.high - found.value == pytest.approx(1.959964 * float(error), rel=1e-6)


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    """Of squares of normal numbers, whose middle 98 % have the mean .92088... by quadrature."""
    grid = torch.arange(200_000, dtype=torch.float64).add(0.5).div(200_000)
    middle = torch.special.ndtri(0.5 + grid * 0.98 / 2 + 0.005).square()
    true = middle.mean().item()
    found = [trimmed_mean(draw(seed, 2000).square()) for seed in range(400)]
    held = sum(interval.low <= true <= interval.high for interval in found) / 400
    assert 0.92 <= held <= 0.98


def test_the_metric_asks_for_paths_and_labels() -> None:
    """G(z, y) = (y + 1) z: the mean of (y + 1)² over labels 0, 1, 2 times 2d; slightly less once trimmed."""
    seen: list[Tensor] = []

    def generate(z: Tensor, y: Tensor | None) -> Tensor:
        assert z.dtype == torch.float32
        assert y is not None
        seen.append(y)
        return z * (y[:, None] + 1)

    metric = PathLength(num_paths=2200, interpolation="lerp")
    setting = Setting(identity, seed=1, num_classes=3, generate=generate, prior=Normal(dim=50))
    values = metric.measure(None, None, setting)
    expected = (1 + 4 + 9) / 3 * 2 * 50
    assert values["path_length"] == pytest.approx(expected, rel=0.06)
    assert values["path_length_low"] < values["path_length"] < values["path_length_high"]
    assert sum(map(len, seen)) == 4400
    for y in seen:
        assert torch.equal(*y.chunk(2))
    counts = torch.cat(seen).bincount(minlength=3) / 4400
    assert torch.allclose(counts, torch.full((3,), 1 / 3), atol=0.04)
    again = metric.measure(None, None, setting)
    assert again == values
    other = metric.measure(None, None, setting._replace(seed=2))
    assert other["path_length"] != values["path_length"]


@pytest.mark.parametrize(("epsilon", "expected"), [(1e-3, 8), (0.5, 11)])
def test_the_metric_looks_everywhere_on_a_path(epsilon: float, expected: float) -> None:
    """For G(z) = z² on straight lines between normal ends a coordinate has the mean length 8 + 12 ε²; at t = 0
    alone it would have 16 and 7."""
    setting = Setting(identity, generate=lambda z, y: z.square(), prior=Normal(dim=100))
    metric = PathLength(num_paths=3000, interpolation="lerp", epsilon=epsilon)
    values = metric.measure(None, None, setting)
    assert values["path_length"] == pytest.approx(100 * expected, rel=0.03)


def test_every_chunk_draws_its_own_paths() -> None:
    seen: list[Tensor] = []

    def generate(z: Tensor, y: Tensor | None) -> Tensor:
        assert y is None
        seen.append(z)
        return z

    setting = Setting(identity, generate=generate, prior=Normal(dim=3))
    metric = PathLength(num_paths=1500)
    state = torch.get_rng_state()
    metric.measure(None, None, setting)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(torch.cat([z.chunk(2)[0] for z in seen]).unique(dim=0)) == 1500


def test_through_the_judge(held: Any) -> None:
    """A scaled generator is as many times longer, squared; without the generator there is no length, and a note."""
    judge = Judge(held(draw(0, 300, 4).float()), metrics=(PathLength(num_paths=500),), features="values")

    def score(scale: float, **known: Any) -> Any:
        return judge.score(
            lambda start, count: Batch(draw(start, count, 4).float(), None), num_samples=10, seed=0, **known
        )

    def lengths(scale: float) -> float:
        found: float = score(scale, generate=lambda z, y: z * scale, prior=Normal(dim=4)).values["path_length"]
        return found

    assert lengths(3.0) == pytest.approx(9 * lengths(1.0), rel=1e-3)
    without = score(1.0)
    assert without.values == {}
    assert without.notes == ("PathLength is left out: it needs the generator, not only samples",)
    assert judge.better == {"path_length": "lower"}


def test_settings_out_of_range() -> None:
    for epsilon in (0.0, 1.0, -1e-4):
        with pytest.raises(RequestError, match="more than 0 and less than 1"):
            PathLength(epsilon=epsilon)
    with pytest.raises(RequestError, match="at least 100, found 99"):
        PathLength(num_paths=99)


@pytest.mark.parametrize("interpolation", ["lerp", "slerp"])
def test_agrees_with_torch_fidelity(
    fidelity: Any, monkeypatch: pytest.MonkeyPatch, interpolation: Interpolation
) -> None:
    """Its paths start at t = 0 and its noise comes from numpy; both are given to ours, and its own distance too."""
    from torch_fidelity.generative_model_modulewrapper import GenerativeModelModuleWrapper
    from torch_fidelity.metric_ppl import calculate_ppl
    from torch_fidelity.registry import SAMPLE_SIMILARITY_REGISTRY
    from torch_fidelity.sample_similarity_base import SampleSimilarityBase

    class Squared(SampleSimilarityBase):
        def __init__(self, name: str, **_: Any) -> None:
            super().__init__(name)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a.double() - b.double()).square().flatten(1).sum(1)

    percentile = np.percentile  # it asks by a keyword that numpy has renamed
    monkeypatch.setattr(np, "percentile", lambda a, q, interpolation: percentile(a, q, method=interpolation))
    monkeypatch.setitem(SAMPLE_SIMILARITY_REGISTRY, "squared", Squared)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 12))
    epsilon = 1e-2  # its paths are made in float32
    theirs = calculate_ppl(
        1,
        input1=GenerativeModelModuleWrapper(net, 6, "normal", 0),
        input1_model_num_samples=500,
        batch_size=100,
        cuda=False,
        verbose=False,
        rng_seed=7,
        ppl_epsilon=epsilon,
        ppl_z_interp_mode={"lerp": "lerp", "slerp": "slerp_any"}[interpolation],
        ppl_reduction="none",
        ppl_sample_similarity="squared",
        ppl_sample_similarity_resize=None,
        ppl_sample_similarity_dtype="float32",
        ppl_discard_percentile_lower=1,
        ppl_discard_percentile_higher=99,
    )
    rng = np.random.RandomState(7)
    z0, z1 = (torch.from_numpy(rng.randn(500, 6)) for _ in range(2))
    ours = path_lengths(
        lambda z, y: net(z), identity, z0, z1, torch.zeros(500), interpolation=interpolation, epsilon=epsilon
    )
    assert trimmed_mean(ours).value == pytest.approx(theirs["perceptual_path_length_mean"], rel=1e-4)
