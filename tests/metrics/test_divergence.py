import math

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.data.toys import load_toy
from sparring.metrics.divergence import Divergence, kl_nearest
from sparring.metrics.features.values import Values
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import summarise


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measured(x: Tensor) -> Measured:
    return Measured(summarise(x), torch.empty(0), x, torch.empty(len(x), 0))


def values(fake: Tensor, real: Tensor) -> dict[str, float]:
    return Divergence().measure(measured(fake), measured(real), Setting(Values((2,))))


def test_agrees_with_another_search() -> None:
    p, q = draw(0, 300, 2), draw(1, 400, 2) + 0.5
    own = cKDTree(p.double().numpy()).query(p.double().numpy(), 4)[0][:, 3]  # the sample itself is the first
    other = cKDTree(q.double().numpy()).query(p.double().numpy(), 3)[0][:, 2]
    expected = 2 * np.log(other / own).mean() + math.log(400 / 299)
    assert kl_nearest(p, q, k=3).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [1, 2])
def test_gaussians(d: int) -> None:
    """KL(N(0, I) ‖ N(μ, s² I)) = d log s + (d + |μ|²) / 2s² − d/2, in any units."""
    s, shift = 1.5, 0.8
    expected = d * math.log(s) + (d + d * shift**2) / (2 * s * s) - d / 2
    found = kl_nearest(draw(2, 5000, d), s * draw(3, 5000, d) + shift)
    assert found.value == pytest.approx(expected, abs=0.03)
    assert found.low < expected < found.high
    small = kl_nearest(1e-3 * draw(2, 5000, d), 1e-3 * (s * draw(3, 5000, d) + shift))
    assert small.value == pytest.approx(found.value, abs=1e-3)


def test_equal_laws_give_nothing_and_the_interval_holds_it() -> None:
    """Of 60 estimates about 57 intervals hold 0; fewer than 50 would be chance in less than one of 1,000 cases."""
    inside = 0
    for i in range(60):
        found = values(draw(2 * i, 400, 2), draw(2 * i + 1, 400, 2))
        inside += found["divergence_low"] < 0 < found["divergence_high"]
    assert inside >= 50


def test_what_is_missing_and_what_is_astray_are_told_apart() -> None:
    """A mode of eight is missing: log(8/7) from the samples' side, and much from the data's. Modes half or
    twice as wide: the closed form, of which a distance over all modes would see nothing."""
    real = (load_toy("ring8", "test").images + 1) / 2
    first, second = real[:4000], real[4000:8000]
    near = torch.cdist(second, torch.tensor([[0.9, 0.5]])).flatten() < 0.1
    missing = values(second[~near], first)
    assert missing["kl_reverse"] == pytest.approx(math.log(8 / 7), abs=0.04)
    assert missing["kl_forward"] > 0.5
    assert missing["divergence"] == pytest.approx((missing["kl_forward"] + missing["kl_reverse"]) / 2)
    centres = torch.tensor(
        [[0.5 + 0.4 * math.cos(k * math.pi / 4), 0.5 + 0.4 * math.sin(k * math.pi / 4)] for k in range(8)]
    )
    own = centres[torch.cdist(second, centres).argmin(1)]
    expected = 2 * math.log(2) + 1 / 4 - 1
    assert values(own + (second - own) / 2, first)["kl_reverse"] == pytest.approx(expected, abs=0.06)
    assert values(own + (second - own) * 2, first)["kl_forward"] == pytest.approx(expected, abs=0.06)


def test_samples_that_coincide_give_a_finite_number() -> None:
    found = values(torch.full((200, 2), 0.5), torch.rand(200, 2, generator=torch.Generator().manual_seed(0)))
    assert all(map(math.isfinite, found.values()))
    assert found["divergence"] > 5


def test_what_cannot_be_measured() -> None:
    with pytest.raises(RequestError, match="expected k >= 1 and most above it, found 0 and 5000"):
        Divergence(k=0)
    with pytest.raises(RequestError):
        kl_nearest(draw(0, 5, 2), draw(1, 50, 2))
