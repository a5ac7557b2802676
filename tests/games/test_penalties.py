"""Penalties on the gradient of the discriminator in its samples."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Exchange, Seen
from sparring.core.game import Critic, Penalty, Show
from sparring.core.protocols import Batch, DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import DRAGAN, R1, R1R2, R2, WGANGP, WGANDiv, ZeroGP

GRADIENT = [R1(), R2(), R1R2(), WGANGP(), WGANGP(one_sided=True), ZeroGP(), DRAGAN(), WGANDiv()]
DATA = DataSpec(name="test", shape=(3,))


class Quadratic(nn.Module):
    """D(x) = scale · |x|² / 2, whose gradient is scale · x."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.scale * x.square().flatten(1).sum(1) / 2


class Linear(nn.Module):
    """D(x, y) = w·x, whose gradient is w everywhere; of each class its own w, where there are several."""

    def __init__(self, *weights: Sequence[float]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return (x.flatten(1) * (self.w[0] if y is None else self.w[y])).sum(1)


class Smooth(nn.Module):
    """A discriminator of images with a convolution, whose gradient changes with x."""

    def __init__(self, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, dtype=dtype)
        self.head = nn.Linear(3, 1, dtype=dtype)
        self.scale = scale

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.scale * self.head(torch.tanh(self.conv(x)).sum((2, 3))).squeeze(1)


class Pairs(Show):
    """Two samples become one."""

    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return x.unflatten(0, (-1, 2)).flatten(1, 2), None if y is None else y[::2]


def seen(net: nn.Module | Critic, x: Tensor, y: Tensor | None = None) -> Seen:
    x = x.detach().requires_grad_()
    return Seen(x, y, net(x, y))


class Doubled(Show):
    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return 2 * x, y


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_r1_closed_form_and_its_own_gradient() -> None:
    """R1 of D(x) = s |x|² / 2 is γ/2 · s² |x|², per sample; its derivative in s is γ s |x|²."""
    net, x = Quadratic(), torch.randn(5, 1, 2, 3, dtype=torch.float64)
    real = seen(net, x)
    term = R1(weight=4.0)(Critic(net), real, real)
    squares = x.square().flatten(1).sum(1)
    torch.testing.assert_close(term, 4 / 2 * 9 * squares, check_dtype=True)
    (slope,) = torch.autograd.grad(term.sum(), net.scale)
    assert float(slope) == pytest.approx(float(4 * 3 * squares.sum()))


def test_r2_is_r1_at_the_fakes() -> None:
    net = Quadratic()
    real, fake = (seen(net, torch.randn(4, 6, dtype=torch.float64)) for _ in range(2))
    term = R2(weight=5.0)(Critic(net), real, fake)
    torch.testing.assert_close(term, 5 / 2 * 9 * fake.x.detach().square().sum(1))
    (slope,) = torch.autograd.grad(term.sum(), net.scale)
    assert float(slope) == pytest.approx(float(5 * 3 * fake.x.detach().square().sum()))


@pytest.mark.parametrize("slope", [3.0, 0.5])
@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (R1(weight=4.0), lambda s: 2 * s**2),
        (R2(weight=4.0), lambda s: 2 * s**2),
        (ZeroGP(weight=4.0), lambda s: 4 * s**2),
        (WGANGP(weight=4.0), lambda s: 4 * (s - 1) ** 2),
        (WGANGP(weight=4.0, one_sided=True), lambda s: 4 * max(0, s - 1) ** 2),
        (DRAGAN(weight=4.0), lambda s: 4 * (s - 1) ** 2),
        (WGANDiv(weight=4.0), lambda s: 4 * s**6),
        (WGANDiv(weight=4.0, power=3.0), lambda s: 4 * s**3),
    ],
)
def test_of_a_linear_critic_it_does_not_matter_where(penalty: Penalty, expected: object, slope: float) -> None:
    """D = w·x has the slope |w| everywhere."""
    net = Linear([0.6 * slope, 0.0, 0.8 * slope])
    real, fake = (seen(net, x) for x in torch.randn(2, 7, 1, 3, dtype=torch.float64))
    term = penalty(Critic(net), real, fake)
    torch.testing.assert_close(term, torch.full((7,), expected(slope), dtype=torch.float64))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        # At |x| = u, u even in [0, 1].
        (ZeroGP(weight=1.0), 9 / 3),
        (WGANDiv(weight=1.0, power=4.0), 81 / 5),
        (WGANGP(weight=1.0), 9 / 3 - 2 * 3 / 2 + 1),
    ],
)
def test_between_real_and_fake_every_point_is_as_likely(penalty: Penalty, expected: float) -> None:
    net, real = Quadratic(), torch.tensor([[0.6, 0.8]], dtype=torch.float64).repeat(4000, 1)
    real, fake = seen(net, real), seen(net, torch.zeros_like(real))
    term = penalty(Critic(net), real, fake).detach()
    assert float(term.mean()) == pytest.approx(expected, rel=0.03)
    points = term.unique()
    assert len(points) > 3000, "each pair has a point of its own"
    if isinstance(penalty, ZeroGP):
        assert float(points[0]) == pytest.approx(0, abs=0.01)
        assert float(points[-1]) == pytest.approx(9, abs=0.02)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_dragan_looks_around_the_data_as_far_as_the_data_vary(spread: float) -> None:
    """D = s |x|² / 2 has the slope s |x + δ|, whose mean square is s² (|x|² + N spread² std²)."""
    net = Quadratic()
    x = torch.randn(500, 1, 4, 5, dtype=torch.float64) * 7
    term = DRAGAN(weight=1.0, spread=spread)(Critic(net), seen(net, x), seen(net, x * 100)).detach()
    lengths = (term.sqrt() + 1) / 3
    expected = x.square().sum() / 500 + 20 * spread**2 * x.std(correction=0) ** 2
    assert float(lengths.square().mean()) == pytest.approx(float(expected), rel=0.05)
    assert not torch.allclose(lengths, x.flatten(1).norm(dim=1), rtol=0.01)
    one = seen(net, torch.ones(1, 1, dtype=torch.float64))
    assert DRAGAN(weight=1.0)(Critic(net), one, one).item() == (3 - 1) ** 2, "a single number has no spread"


@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_own_gradient_by_finite_differences(penalty: Penalty) -> None:
    """The derivative in the weights of the discriminator, which is a second derivative of it."""
    net = Smooth(scale=4.0)  # steep enough for the one-sided
    samples = torch.randn(2, 3, 2, 4, 5, dtype=torch.float64)
    parameters = list(net.parameters())

    def term(*given: Tensor) -> Tensor:
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter, value in zip(parameters, given, strict=True):
                parameter.copy_(value)
        return penalty(Critic(net), *(seen(net, x) for x in samples)).sum()

    start = [parameter.detach().clone() for parameter in parameters]
    slopes = torch.autograd.grad(term(*start), parameters, allow_unused=True)
    assert any(slope is not None and slope.abs().max() > 1e-3 for slope in slopes)
    for which, slope in enumerate(slopes):
        for entry in range(min(4, start[which].numel())):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [value.clone() for value in start]
                moved[which].view(-1)[entry] += step
                ends.append(float(term(*moved).detach()))
            measured = (ends[0] - ends[1]) / 2e-6
            found = 0.0 if slope is None else float(slope.reshape(-1)[entry])
            assert found == pytest.approx(measured, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_one_finite_term_for_each_sample(penalty: Penalty, count: int, dtype: torch.dtype) -> None:
    for scale in (1.0, 0.0, 1e4):
        net = Smooth(dtype, scale)
        real, fake = (seen(net, x) for x in torch.randn(2, count, 2, 4, 5, dtype=dtype))
        term = penalty(Critic(net), real, fake)
        assert term.shape == (count,)
        assert term.dtype is dtype
        slopes = torch.autograd.grad(term.sum(), list(net.parameters()), allow_unused=True)
        assert all(slope is None or slope.isfinite().all() for slope in slopes)
        assert term.isfinite().all()


@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_second_derivatives_where_the_discriminator_is_flat(penalty: Penalty) -> None:
    """What steps ahead take: of |∇D| - 1 and of |∇D|ⁿ with n > 2, 0 at one sample and not at the others."""
    net, samples = Quadratic(), torch.randn(2, 3, 4, dtype=torch.float64)
    samples[:, 0] = 0
    if isinstance(penalty, DRAGAN):
        samples *= 0  # no spread
    term = penalty(Critic(net), *(seen(net, x) for x in samples)).sum()
    (slope,) = torch.autograd.grad(term, net.scale, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, net.scale)
    assert slope.isfinite()
    assert curvature.isfinite()
    assert float(curvature) > 0 or isinstance(penalty, DRAGAN)


@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_fakes_in_bfloat16(penalty: Penalty) -> None:
    """What a generator makes under autocast: a term of the data's precision, as of the same numbers in float32."""
    net = Smooth(torch.float32, 4.0)
    real, fake = torch.randn(2, 3, 2, 4, 5)
    rounded = fake.bfloat16()
    terms = []
    for x in (rounded, rounded.float()):
        torch.manual_seed(1)
        other = x.requires_grad_()
        terms.append(penalty(Critic(net), seen(net, real), Seen(other, None, net(other.float()))))
    torch.testing.assert_close(terms[0].float(), terms[1], rtol=0.02, atol=1e-3)
    if isinstance(penalty, WGANGP | ZeroGP | WGANDiv):
        assert torch.equal(*terms)


@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_each_sample_has_its_own_gradient_in_a_pack(penalty: Penalty) -> None:
    """A pack's logit is s (|2x|² + |2x'|²) / 2, so that each of the two has the gradient that it has alone."""
    net, samples = Quadratic(), torch.randn(2, 6, 4, dtype=torch.float64)
    alone, packed = Critic(Quadratic()), Critic(net, (Pairs(), Doubled()))
    with torch.no_grad():
        alone.net.scale *= 4
    terms = []
    for critic in (alone, packed):
        torch.manual_seed(3)
        terms.append(penalty(critic, *(seen(critic, x) for x in samples)))
    assert packed(samples[0]).shape == (3,)
    torch.testing.assert_close(*terms)


@pytest.mark.parametrize("penalty", [WGANGP(), ZeroGP(), DRAGAN(), WGANDiv(power=2.0)], ids=repr)
def test_points_are_judged_under_the_label_of_the_real_sample(penalty: Penalty) -> None:
    net = Linear([3.0, 4.0], [6.0, 8.0])
    y = torch.tensor([0, 1, 1, 0])
    samples = torch.randn(2, 4, 2, dtype=torch.float64)
    term = penalty(Critic(net), seen(net, samples[0], y), seen(net, samples[1], 1 - y))
    short, long = (penalty(Critic(Linear(w)), *(seen(Linear(w), x) for x in samples)) for w in ([3.0, 4.0], [6.0, 8.0]))
    torch.testing.assert_close(term, torch.where(y == 1, long, short))


@pytest.mark.parametrize(
    ("penalty", "reads_real", "reads_fake"),
    [(R1(), True, False), (R2(), False, True), (DRAGAN(), True, False), (ZeroGP(), True, True)],
    ids=repr,
)
def test_where_it_looks(penalty: Penalty, reads_real: bool, reads_fake: bool) -> None:
    net, near, far = Quadratic(), *torch.randn(2, 3, 4, dtype=torch.float64)
    terms = []
    for real, fake in ((near, near), (far, near), (near, far)):
        torch.manual_seed(1)
        terms.append(penalty(Critic(net), seen(net, real), seen(net, fake)))
    assert torch.equal(terms[0], terms[1]) is not reads_real
    assert torch.equal(terms[0], terms[2]) is not reads_fake


@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_in_a_game_it_is_due_when_it_says_and_moves_the_discriminator_alone(penalty: Penalty) -> None:
    samples = torch.randn(2, 3, 2, 4, 5, dtype=torch.float64)
    weight = nn.Parameter(torch.ones((), dtype=torch.float64))
    generator = nn.Module()
    generator.forward = lambda z, y: weight * samples[1]  # type: ignore[method-assign]
    net = Smooth(scale=4.0)

    def loss(step: int, *penalties: Penalty) -> Tensor:
        torch.manual_seed(1)
        nets = {"generator": generator, "discriminator": net}
        exchange = Exchange(nets, Batch(samples[0], None), lambda n: samples[0], clock=START._replace(step=step))
        return Adversarial(penalties=penalties).discriminator_loss(exchange)

    lazy = penalty.replace(every=3)
    extra = loss(0, lazy) - loss(0)
    torch.testing.assert_close(extra, 3 * (loss(0, penalty) - loss(0)))
    assert float(extra.detach()) > 0
    assert torch.equal(loss(1, lazy), loss(1))
    assert torch.autograd.grad(loss(0, penalty), weight, allow_unused=True) == (None,)


@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_batch_statistics_are_refused(penalty: Penalty) -> None:
    penalty.check(DATA, nn.Linear(3, 1))
    with pytest.raises(RequestError, match=f"{type(penalty).__name__}: the discriminator has batch normalisation"):
        penalty.check(DATA, nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))


@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_through_json_and_back(penalty: Penalty) -> None:
    assert from_json(to_json(penalty)) == penalty


def test_recipes_that_name_the_package_are_read() -> None:
    assert from_json({"spec": "sparring.games.penalties:R1", "weight": 2.0}) == R1(weight=2.0)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (R1, {"weight": -1.0}),
        (R1, {"every": 0}),
        (DRAGAN, {"spread": 0.0}),
        (DRAGAN, {"weight": -1.0}),
        (WGANDiv, {"power": 1.0}),
        (WGANDiv, {"weight": -1.0}),
    ],
)
def test_out_of_range_is_refused(kind: type[Penalty], wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=kind.__name__):
        kind(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("per_sample", [True, False])
def test_both_in_one_pass_are_the_sum_of_the_two(per_sample: bool) -> None:
    """Loss and gradient of a game with R1R2 are those of one with R1 and R2, in one call of D or in two."""

    def played(*penalties: Penalty) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        net = Smooth()
        net.per_sample = per_sample  # type: ignore[assignment]
        real, fake = torch.randn(2, 5, 2, 6, 6, dtype=torch.float64)
        nets = {"generator": Fixed(fake), "discriminator": net}
        loss = Adversarial(penalties=penalties).discriminator_loss(Exchange(nets, Batch(real, None), lambda _: fake))
        return loss, *torch.autograd.grad(loss, list(net.parameters()))

    for one, other in zip(played(R1(weight=3.0), R2(weight=3.0)), played(R1R2(weight=3.0)), strict=True):
        torch.testing.assert_close(one, other)


class Fixed(nn.Module):
    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.x
