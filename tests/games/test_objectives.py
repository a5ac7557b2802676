"""What holds for every objective: shapes, gradients, extreme logits, names in a recipe; and the loss of each as its
paper writes it, with probabilities in place of logits where it does."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.game import Objective
from sparring.core.spec import from_json, to_json
from sparring.games.objectives import (
    BEGAN,
    EBGAN,
    KL,
    MAGAN,
    BoundarySeeking,
    DualContrastive,
    FlippedLabels,
    Hinge,
    JensenShannon,
    LeastSquares,
    Minimax,
    NoisyLabels,
    NonSaturating,
    OneSidedSmoothing,
    Pearson,
    Relativistic,
    RelativisticAverage,
    ReverseKL,
    SoftmaxGAN,
    SquaredHellinger,
    TotalVariation,
    Wasserstein,
)

DIVERGENCES = [KL, ReverseKL, Pearson, SquaredHellinger, TotalVariation, JensenShannon]
SHIFTED = [Wasserstein(), Relativistic(), RelativisticAverage(), SoftmaxGAN(), DualContrastive()]
"""Those to which a common shift of all logits means nothing."""
ALL = [
    *SHIFTED,
    Minimax(),
    NonSaturating(),
    LeastSquares(),
    LeastSquares(a=-1.0, b=1.0, c=0.0),
    Hinge(),
    *(cls(saturating=saturating) for cls in DIVERGENCES for saturating in (False, True)),
    BoundarySeeking(),
    EBGAN(margin=2.0),
    MAGAN(),
    BEGAN(k=0.3),
    OneSidedSmoothing(),
    NoisyLabels(objective=LeastSquares()),
    FlippedLabels(objective=Hinge(), share=0.3),
]


def losses(objective: Objective, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Both players' losses, with the same random numbers each time."""
    torch.manual_seed(0)
    return objective.discriminator(real, fake), objective.generator(real, fake)


@pytest.mark.parametrize("objective", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 1000])
def test_losses_are_unreduced_and_of_the_logits_precision(objective: Objective, dtype: torch.dtype, count: int) -> None:
    real, fake = torch.randn(2, count, dtype=dtype)
    for loss in losses(objective, real, fake):
        assert loss.shape == (count,)
        assert loss.dtype == dtype


@pytest.mark.parametrize("objective", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_extreme_logits(objective: Objective, dtype: torch.dtype) -> None:
    ends = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], dtype=dtype)
    for sign in (1, -1):
        real, fake = ends.clone().requires_grad_(), (sign * ends).requires_grad_()
        for loss in losses(objective, real, fake):
            gradients = torch.autograd.grad(loss.sum(), (real, fake), retain_graph=True, allow_unused=True)
            assert loss.isfinite().all()
            assert all(g is None or g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("objective", ALL)
def test_gradients_by_finite_differences(objective: Objective) -> None:
    real, fake = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    given = (real.requires_grad_(), fake.requires_grad_())
    for player in (0, 1):
        assert torch.autograd.gradcheck(lambda r, f, player=player: losses(objective, r, f)[player], given)


@pytest.mark.parametrize("objective", ALL)
def test_better_fakes_cost_the_generator_less_and_the_discriminator_more(objective: Objective) -> None:
    """Just below the logit of an undecided discriminator."""
    inner = getattr(objective, "objective", objective)
    middle = (inner.a + inner.b) / 2 if isinstance(inner, LeastSquares) else 0.0
    undecided = 1.0 if isinstance(inner, KL) else -0.5 if isinstance(inner, EBGAN | BEGAN) else middle
    real = torch.full((4,), undecided, dtype=torch.float64)
    fake = (real - 0.1).requires_grad_()
    torch.manual_seed(2)  # labels of which fewer than half are flipped
    d, g = (torch.autograd.grad(loss.sum(), fake)[0].sum() for loss in losses(objective, real, fake))
    assert g < 0
    assert d > 0


@pytest.mark.parametrize("objective", SHIFTED)
def test_a_common_shift_changes_no_gradient(objective: Objective) -> None:
    for player in (0, 1):
        slopes = []
        for shift in (0, 3):
            both = torch.linspace(-1, 2, 16, dtype=torch.float64).sin().add(shift).requires_grad_()
            loss = losses(objective, *both.chunk(2))[player]
            slopes += torch.autograd.grad(loss.mean(), both)
        torch.testing.assert_close(*slopes)
        if player == 0:
            assert float(slopes[0].sum()) == pytest.approx(0, abs=1e-12)


def test_reads_real_logits_only_where_it_says_so() -> None:
    for objective in ALL:
        real, fake = torch.randn(2, 5)
        same = torch.equal(objective.generator(real, fake), objective.generator(real * torch.nan, fake))
        assert same != objective.paired, objective


@pytest.mark.parametrize("objective", ALL)
def test_json_and_the_name_that_recipes_on_disk_hold(objective: Objective) -> None:
    data = to_json(objective)
    assert from_json(data) == objective
    data["spec"] = f"sparring.games.objectives:{type(objective).__name__}"
    assert from_json(data) == objective


def test_logistic_losses_with_probabilities() -> None:
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    for objective in (Minimax(), NonSaturating(), BoundarySeeking()):
        torch.testing.assert_close(objective.discriminator(real, fake), -d_real.log() - (1 - d_fake).log())
    torch.testing.assert_close(Minimax().generator(fake, fake), (1 - d_fake).log())
    torch.testing.assert_close(NonSaturating().generator(fake, fake), -d_fake.log())
    torch.testing.assert_close(
        BoundarySeeking().generator(fake, fake), (d_fake.log() - (1 - d_fake).log()).square() / 2
    )


def test_gradient_ratio_of_the_two_generator_losses() -> None:
    """Non-saturating over saturating is (1 - D) / D: what the trick buys where D is sure."""
    fake = torch.randn(50, dtype=torch.float64, requires_grad=True)
    (saturating,) = torch.autograd.grad(Minimax().generator(fake, fake).sum(), fake)
    (other,) = torch.autograd.grad(NonSaturating().generator(fake, fake).sum(), fake)
    d = fake.detach().sigmoid()
    torch.testing.assert_close(other / saturating, (1 - d) / d)


def test_least_squares_as_written() -> None:
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    objective = LeastSquares(a=-0.5, b=2.0, c=1.0)
    torch.testing.assert_close(objective.discriminator(real, fake), (real - 2) ** 2 / 2 + (fake + 0.5) ** 2 / 2)
    torch.testing.assert_close(objective.generator(real, fake), (fake - 1) ** 2 / 2)


def test_linear_generator_losses() -> None:
    fake = torch.randn(9, dtype=torch.float64)
    for objective in (Hinge(), Wasserstein(), EBGAN(), MAGAN(), BEGAN()):
        assert torch.equal(objective.generator(fake, fake), -fake)


def test_relativistic_average_with_probabilities() -> None:
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    d_real, d_fake = (real - fake.mean()).sigmoid(), (fake - real.mean()).sigmoid()
    objective = RelativisticAverage()
    torch.testing.assert_close(objective.discriminator(real, fake), -d_real.log() - (1 - d_fake).log())
    torch.testing.assert_close(objective.generator(real, fake), -d_fake.log() - (1 - d_real).log())


def test_softmax_losses_are_divergences_from_the_softmax() -> None:
    """KL of equal shares on the real samples (for D), or on all samples (for G), from the softmax over all."""
    real, fake = torch.randn(2, 7, dtype=torch.float64)
    shares = torch.cat([real, fake]).softmax(0)
    for loss, wanted in zip(losses(SoftmaxGAN(), real, fake), (shares[:7], shares), strict=True):
        expected = (-math.log(len(wanted)) - wanted.log()).mean()
        torch.testing.assert_close(loss.mean(), expected)


def test_dual_contrastive_sums_as_written() -> None:
    real, fake = torch.randn(2, 5, dtype=torch.float64)
    ratios = (fake[None, :] - real[:, None]).exp()
    expected = (1 + ratios.sum(1)).log() + (1 + ratios.sum(0)).log()
    torch.testing.assert_close(DualContrastive().discriminator(real, fake), expected)
    mirrored = (1 + (1 / ratios).sum(0)).log() + (1 + (1 / ratios).sum(1)).log()
    torch.testing.assert_close(DualContrastive().generator(real, fake), mirrored)
    one = DualContrastive().discriminator(real[:1], fake[:1])
    torch.testing.assert_close(one, 2 * Relativistic().discriminator(real[:1], fake[:1]))


def test_dual_contrastive_keeps_small_losses_at_any_level() -> None:
    """Each sample 30 above all of the other kind, the level being arbitrary: 2 log(1 + 2 exp(-30)), in float32."""
    real = torch.tensor([64.0, 64.0], requires_grad=True)
    loss = DualContrastive().discriminator(real, real.detach() - 30)
    torch.testing.assert_close(loss, torch.full((2,), 4 * math.exp(-30)), rtol=1e-3, atol=0)


F = {
    KL: lambda u: u * u.log(),
    ReverseKL: lambda u: -u.log(),
    Pearson: lambda u: (u - 1) ** 2,
    SquaredHellinger: lambda u: (u.sqrt() - 1) ** 2,
    TotalVariation: lambda u: (u - 1).abs() / 2,
    JensenShannon: lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
}


@pytest.mark.parametrize("cls", DIVERGENCES)
def test_conjugates_by_their_definition(cls: type) -> None:
    """f*(t) is the largest u t - f(u), searched on a fine grid of ratios u; T rises with the logit."""
    logits = torch.linspace(-1.2, 1.2, 7, dtype=torch.float64)
    u = torch.logspace(-3, 3, 30_001, dtype=torch.float64)
    t = cls().activation(logits)
    assert (t.diff() > 0).all()
    largest = torch.stack([(u * one - F[cls](u)).amax() for one in t])
    torch.testing.assert_close(cls().conjugate(logits), largest, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cls", DIVERGENCES)
def test_what_the_generator_of_a_divergence_wants(cls: type) -> None:
    fake = torch.randn(9, dtype=torch.float64)
    torch.testing.assert_close(cls().generator(fake, fake), -cls().activation(fake))
    torch.testing.assert_close(cls(saturating=True).generator(fake, fake), -cls().conjugate(fake.clamp(min=-2)))


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("cls", DIVERGENCES)
def test_the_generator_of_a_divergence_is_never_led_away_from_the_data(cls: type, saturating: bool) -> None:
    """Its loss does not rise with a fake's logit, wherever that is."""
    fake = torch.linspace(-30, 30, 121, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(cls(saturating=saturating).generator(fake, fake).sum(), fake)
    assert (slope <= 0).all()
    assert (slope < 0).any()


def test_the_least_conjugate_of_pearson_is_that_of_a_ratio_of_0() -> None:
    """sup_u (u t - f(u)) over ratios u >= 0, on a fine grid: -1 below t = -2, where the parabola rises again."""
    fake = torch.tensor([-7.0, -2.5, -2.0, -1.5, 3.0], dtype=torch.float64)
    u = torch.linspace(0, 5, 50_001, dtype=torch.float64)
    largest = torch.stack([(u * t - F[Pearson](u)).amax() for t in fake])
    torch.testing.assert_close(Pearson(saturating=True).generator(fake, fake), -largest, atol=1e-6, rtol=0)
    assert (Pearson().conjugate(fake) >= largest - 1e-6).all()


def test_the_exponential_goes_on_as_its_tangent() -> None:
    logits = torch.tensor([20.0, 21.0, 121.0], dtype=torch.float64, requires_grad=True)
    loss = SquaredHellinger().conjugate(logits)
    torch.testing.assert_close(loss, math.exp(20) * torch.tensor([1.0, 2.0, 102.0], dtype=torch.float64) - 1)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(slope, torch.full_like(slope, math.exp(20)))


@pytest.mark.parametrize("wrong", [{"a": 1.0}, {"c": 0.4}, {"b": float("nan")}, {"b": -1.0, "c": 1.0}])
def test_least_squares_refuses_targets_that_contradict_each_other(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="on the side of b"):
        LeastSquares(**wrong)
