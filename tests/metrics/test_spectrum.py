import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor

from sparring.core.forms import Series
from sparring.core.protocols import Batch
from sparring.metrics.judge import Judge
from sparring.metrics.spectrum import Spectrum, decibels, periodogram


def test_the_periodogram_is_scipys() -> None:
    x = torch.randn(3, 25, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, expected = signal.periodogram(x.numpy(), axis=1, detrend=False, scaling="spectrum", return_onesided=False)
    assert np.allclose(periodogram(x).numpy(), expected[:, :13] * 25, rtol=1e-10)


def test_what_is_after_the_end_has_no_power() -> None:
    x = torch.randn(1, 8, 1, generator=torch.Generator().manual_seed(0))
    ragged = torch.cat([x, torch.full((1, 8, 1), math.nan)], 1)
    # Padded with zeros a spectrum is sampled twice as finely, and every second frequency is as it was.
    assert torch.allclose(periodogram(ragged)[:, ::2], periodogram(x), atol=1e-5)


def test_decibels() -> None:
    """Half the amplitude is a quarter of the power, 6.02 dB."""
    power = torch.rand(13, 2, generator=torch.Generator().manual_seed(0)) + 0.5
    quiet = torch.tensor([1e-4, 1e-4])
    assert decibels(power / 4, power, quiet).tolist() == pytest.approx([10 * math.log10(4)] * 2)
    assert decibels(torch.zeros(13, 2), power / power * 0.01, quiet).tolist() == pytest.approx([20.0, 20.0])
    assert decibels(torch.zeros(13, 2), torch.zeros(13, 2), torch.zeros(2)).tolist() == [0.0, 0.0]


def waves(count: int, seed: int, *, ragged: bool = False) -> Tensor:
    """Waves of random phase in two columns, the second twice as fast; between 10 and 20 moments where ragged."""
    random = torch.Generator().manual_seed(seed)
    phase = 2 * math.pi * torch.rand(count, 1, 1, generator=random)
    x = 0.8 * torch.sin(torch.tensor([0.5, 1.0]) * torch.arange(20)[:, None] + phase)
    x = (x + 0.1 * torch.randn(x.shape, generator=random)).clamp(-1, 1)
    if not ragged:
        return x
    lengths = torch.randint(10, 21, (count, 1, 1), generator=random)
    there = torch.arange(20)[:, None] < lengths
    return torch.cat([x.where(there, 0), torch.where(there, 1.0, -1.0)], 2)


@pytest.mark.parametrize("ragged", [False, True])
def test_series_are_judged(held: Any, ragged: bool) -> None:
    form = Series(columns=("a", "b"), low=(0.0, -5.0), high=(1.0, 20.0), ragged=ragged)
    judge = Judge(held(waves(2000, 0, ragged=ragged), form=form), metrics=(Spectrum(),))

    def score(x: Tensor) -> dict[str, float]:
        return judge.score(lambda start, count: Batch(x[start : start + count], None), num_samples=500, seed=0).values

    same = waves(500, 1, ragged=ragged)
    found = score(same)
    assert list(found) == ["spectrum", "spectrum_low", "spectrum_high", "spectrum_real"]
    assert found["spectrum"] == pytest.approx(found["spectrum_real"], rel=0.5)
    noisy, quieter = same.clone(), same.clone()
    noisy[:, :, :2] += 0.1 * torch.randn(500, 20, 2)
    quieter[:, :, :2] *= 0.5
    assert found["spectrum_high"] < score(noisy)["spectrum_low"]
    assert score(quieter)["spectrum"] > 5
    assert judge.better == {"spectrum": "lower"}


def test_the_level_counts_by_how_much_it_varies(held: Any) -> None:
    """Twice as widely spread levels are 6 dB at frequency 0 alone, one of 11, whatever their mean is."""
    random = torch.Generator().manual_seed(0)

    def levels(count: int, spread: float) -> Tensor:
        level = 0.5 + spread * torch.randn(count, 1, 1, generator=random)
        return level + 0.05 * torch.randn(count, 20, 1, generator=random)

    judge = Judge(held(levels(4000, 0.05), form=Series(columns=("a",), low=(0.0,), high=(1.0,))), metrics=(Spectrum(),))
    x = levels(4000, 0.1)
    found = judge.score(lambda start, count: Batch(x[start : start + count], None), num_samples=4000, seed=0).values
    assert found["spectrum"] == pytest.approx(10 * math.log10(4) / 11, abs=1.5 * found["spectrum_real"])
    assert found["spectrum_real"] < 0.25
