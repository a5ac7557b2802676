"""Labels that are less than certain: against the mean over many draws, and the best discriminator of each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.game import Objective
from sparring.games.objectives import (
    BEGAN,
    EBGAN,
    DualContrastive,
    FlippedLabels,
    Hinge,
    LeastSquares,
    NoisyLabels,
    NonSaturating,
    OneSidedSmoothing,
    Relativistic,
    RelativisticAverage,
    SoftmaxGAN,
    Wasserstein,
)

LOGISTIC = NonSaturating()
RANDOM = [
    (NoisyLabels(real_targets=(0.7, 1.0), fake_targets=(0.0, 0.3)), 0.85, 0.15),
    (NoisyLabels(real_targets=(0.5, 0.9), fake_targets=(0.1, 0.1)), 0.7, 0.1),
    (FlippedLabels(share=0.2), 0.8, 0.2),
]


@pytest.mark.parametrize(
    ("objective", "real_target", "fake_target"), [(OneSidedSmoothing(smooth=0.9), 0.9, 0.0), *RANDOM]
)
def test_mean_loss_is_the_cross_entropy_with_the_mean_target(
    objective: Objective, real_target: float, fake_target: float
) -> None:
    torch.manual_seed(0)
    for value in (-1.5, 0.4, 2.0):
        logits = torch.full((100_000,), value, dtype=torch.float64)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits
        expected = entropy(logits, torch.full_like(logits, real_target))
        expected = expected + entropy(logits, torch.full_like(logits, fake_target))
        torch.testing.assert_close(objective.discriminator(logits, logits).mean(), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("objective", "real_target", "fake_target"), [(OneSidedSmoothing(smooth=0.7), 0.7, 0.0), *RANDOM]
)
@pytest.mark.parametrize("ratio", [0.2, 1.0, 5.0])
def test_best_discriminator(objective: Objective, real_target: float, fake_target: float, ratio: float) -> None:
    """D* = (r p + f q)/(p + q), for mean targets r and f: there the mean loss has no slope. `ratio` is p/q."""
    torch.manual_seed(1)
    best = torch.tensor((real_target * ratio + fake_target) / (ratio + 1), dtype=torch.float64).logit()

    def slope(at: Tensor) -> float:
        logits = at.clone().requires_grad_()
        many = logits.expand(100_000)
        loss = (ratio * objective.real(many) + objective.fake(many)).mean() / (ratio + 1)
        return float(torch.autograd.grad(loss, logits)[0])

    assert slope(best) == pytest.approx(0, abs=0.005)
    assert slope(best - 0.3) < -0.01
    assert slope(best + 0.3) > 0.01


def test_a_flipped_label_is_flipped_wholly_and_each_sample_has_its_own() -> None:
    """With least squares, a = 0 and b = 1, a loss at 1 is 0 where it is called real and 1/2 where it is called fake."""
    objective = FlippedLabels(objective=LeastSquares(), share=0.3)
    ones = torch.ones(40_000)
    torch.manual_seed(2)
    real, fake = objective.real(ones), objective.fake(ones)
    for loss, share in ((real, 0.3), (fake, 0.7)):
        assert set(loss.tolist()) == {0.0, 0.5}
        assert float(loss.mean() * 2) == pytest.approx(share, abs=0.01)
    assert abs(float(torch.corrcoef(torch.stack([real, fake]))[0, 1])) < 0.02
    torch.manual_seed(2)
    assert torch.equal(objective.real(ones), real)
    assert torch.equal(FlippedLabels(share=0.0).real(ones), LOGISTIC.real(ones))


def test_noisy_targets_fill_their_ranges() -> None:
    """At a logit of 1, least squares lose (1 - t)/2 for a target of t."""
    objective = NoisyLabels(objective=LeastSquares(), real_targets=(0.6, 0.9), fake_targets=(0.1, 0.3))
    ones = torch.ones(20_000, dtype=torch.float64)
    for loss, low, high in ((objective.real(ones), 0.6, 0.9), (objective.fake(ones), 0.1, 0.3)):
        targets = 1 - 2 * loss
        assert [float(end) for end in targets.aminmax()] == pytest.approx([low, high], abs=1e-3)
        assert float(targets.std()) == pytest.approx((high - low) / 12**0.5, rel=0.02)


@pytest.mark.parametrize("cls", [OneSidedSmoothing, NoisyLabels, FlippedLabels])
def test_only_labels_of_single_samples_can_be_changed(cls: type) -> None:
    fake = torch.randn(6)
    for fits in (LOGISTIC, LeastSquares(), Hinge()):
        assert torch.equal(cls(objective=fits).generator(fake, fake), fits.generator(fake, fake))
    others = (Relativistic(), RelativisticAverage(), SoftmaxGAN(), DualContrastive(), Wasserstein(), EBGAN(), BEGAN())
    for other in others:
        with pytest.raises(RequestError, match=f"{cls.__name__}: .*{type(other).__name__}"):
            cls(objective=other)


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (OneSidedSmoothing, {"smooth": 0.5}),
        (OneSidedSmoothing, {"smooth": 1.1}),
        (NoisyLabels, {"real_targets": (0.8, 1.2)}),
        (NoisyLabels, {"real_targets": (1.0, 0.8)}),
        (NoisyLabels, {"fake_targets": (-0.1, 0.2)}),
        (NoisyLabels, {"fake_targets": (0.9, 1.0)}),
        (FlippedLabels, {"share": 0.5}),
        (FlippedLabels, {"share": -0.1}),
    ],
)
def test_out_of_range_is_refused(cls: type, wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=cls.__name__):
        cls(**wrong)
