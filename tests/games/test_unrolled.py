from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Exchange, Seen
from sparring.core.game import Critic, Objective, Penalty
from sparring.core.protocols import Batch
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import Minimax, NonSaturating, Relativistic, Wasserstein
from sparring.games.penalties import R1, R2
from sparring.games.unrolled import Unrolled, unroll


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        out: Tensor = self.net(z)
        return out


class Discriminator(nn.Module):
    def __init__(self, middle: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), middle(), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logits: Tensor = self.net(x).squeeze(1)
        return logits


class Decay(Penalty):
    """weight/2 · |ψ|²: a term of the weights, which has to be that of the weights that are looked ahead to."""

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight / 2 * sum((p.square().sum() for p in critic.net.parameters()), torch.zeros(()))


def exchange(middle: Callable[[], nn.Module] = nn.Identity, dtype: torch.dtype = torch.float64) -> Exchange:
    torch.manual_seed(0)
    nets = {"generator": Generator().to(dtype), "discriminator": Discriminator(middle).to(dtype)}
    real, noise = torch.randn(6, 3, dtype=dtype), torch.randn(6, 2, dtype=dtype)
    return Exchange(nets, Batch(real, None), lambda draw: noise, clock=START)


def slopes(game: Adversarial, ex: Exchange) -> list[Tensor]:
    return list(torch.autograd.grad(game.generator_loss(ex), list(ex.nets["generator"].parameters())))


@pytest.mark.parametrize("objective", [Minimax(), NonSaturating(), Relativistic()], ids=lambda o: type(o).__name__)
def test_without_looking_ahead_it_is_the_plain_game(objective: Objective) -> None:
    plain = Adversarial(objective=objective, penalties=(R1(),), g_weight=0.5)
    ahead = Unrolled(objective=objective, penalties=(R1(),), g_weight=0.5, depth=0)
    for loss in ("discriminator_loss", "generator_loss"):
        assert torch.equal(getattr(plain, loss)(exchange()), getattr(ahead, loss)(exchange()))
    for a, b in zip(slopes(plain, exchange()), slopes(ahead, exchange()), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(
    ("objective", "penalties"),
    [(NonSaturating(), ()), (Relativistic(), (R1(weight=0.5), R2(weight=0.5))), (Minimax(), (Decay(weight=0.5),))],
    ids=["non-saturating", "relativistic with R1 and R2", "minimax with a penalty of weights"],
)
def test_the_loss_is_that_against_a_discriminator_that_was_trained_further(
    objective: Objective, penalties: tuple[Penalty, ...], depth: int
) -> None:
    """A copy of the discriminator, moved by torch's own SGD on the game's discriminator loss."""
    game = Unrolled(objective=objective, penalties=penalties, depth=depth, lr=0.3, d_weight=0.7, g_weight=2.0)
    ex = exchange()
    found = game.generator_loss(ex)
    plain = Adversarial(objective=objective, penalties=penalties, d_weight=0.7, g_weight=2.0)
    other = exchange()
    optimizer = torch.optim.SGD(other.nets["discriminator"].parameters(), lr=0.3)
    for _ in range(depth):
        optimizer.zero_grad()
        plain.discriminator_loss(other).backward()
        optimizer.step()
    torch.testing.assert_close(found, plain.generator_loss(other))


@pytest.mark.parametrize(
    "game",
    [
        Unrolled(depth=3, lr=0.5),
        Unrolled(objective=Relativistic(), penalties=(R1(), R2()), depth=2, lr=0.2),
        Unrolled(objective=Wasserstein(), depth=2, lr=0.5, d_weight=0.5),
    ],
    ids=["non-saturating", "relativistic with R1 and R2", "wasserstein"],
)
def test_its_gradient_is_that_of_the_whole_way_by_finite_differences(game: Unrolled) -> None:
    ex = exchange()
    found = slopes(game, ex)
    for parameter, slope in zip(ex.nets["generator"].parameters(), found, strict=True):
        flat = parameter.data.view(-1)
        for i in range(0, len(flat), 3):
            ends = []
            for sign in (1, -1):
                flat[i] += sign * 1e-5
                ex.moved("generator")
                ends.append(game.generator_loss(ex).item())
                flat[i] -= sign * 1e-5
            assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope.view(-1)[i].item(), rel=1e-5, abs=1e-9)
    plain = slopes(Adversarial(objective=game.objective), exchange())
    assert max(float((a - b).abs().max()) for a, b in zip(found, plain, strict=True)) > 1e-3


@pytest.mark.parametrize("middle", [lambda: nn.BatchNorm1d(4), lambda: nn.Dropout(0.5)], ids=["batch norm", "dropout"])
def test_the_discriminator_is_left_as_it_is(middle: Callable[[], nn.Module]) -> None:
    ex = exchange(middle)
    before = copy.deepcopy(ex.nets["discriminator"].state_dict())
    assert all(torch.isfinite(slope).all() for slope in slopes(Unrolled(depth=3), ex))
    for name, tensor in ex.nets["discriminator"].state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in ex.nets["discriminator"].parameters())


def test_through_spectral_normalisation() -> None:
    """Whose weights are functions of the parameters, and whose buffers change with every call."""
    ex = exchange()
    first = ex.nets["discriminator"].net[0]  # type: ignore[index, union-attr]
    nn.utils.parametrizations.spectral_norm(first, n_power_iterations=3)
    before = copy.deepcopy(ex.nets["discriminator"].state_dict())
    assert all(torch.isfinite(slope).all() for slope in slopes(Unrolled(depth=2, lr=0.2), ex))
    assert all(torch.equal(tensor, before[k]) for k, tensor in ex.nets["discriminator"].state_dict().items())


def test_the_generator_may_want_something_of_its_own() -> None:
    found = Unrolled(generator_objective=Minimax(), depth=2, lr=0.2).generator_loss(exchange())
    torch.testing.assert_close(found, Unrolled(objective=Minimax(), depth=2, lr=0.2).generator_loss(exchange()))


def test_weights_that_stand_still_are_not_looked_ahead() -> None:
    """A frozen first layer stays: what is looked ahead to is a discriminator whose last layer alone was trained."""
    game = Unrolled(depth=2, lr=0.5)
    losses = []
    for frozen in (False, True):
        ex = exchange()
        ex.nets["discriminator"].net[0].requires_grad_(not frozen)  # type: ignore[index, union-attr]
        losses.append(game.generator_loss(ex))
    optimizer = torch.optim.SGD([p for p in ex.nets["discriminator"].parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        Adversarial().discriminator_loss(ex).backward()
        optimizer.step()
    torch.testing.assert_close(losses[1], Adversarial().generator_loss(ex))
    assert losses[0] != losses[1]


def test_a_lazy_penalty_counts_only_when_it_is_due() -> None:
    game = Unrolled(penalties=(Decay(weight=1.0, every=2),), depth=1, lr=0.5)
    ex = exchange()
    found = []
    for step in (0, 1):
        ex.clock = START._replace(step=step)
        found.append(game.generator_loss(ex))
    assert found[0] != found[1]
    torch.testing.assert_close(found[1], Unrolled(depth=1, lr=0.5).generator_loss(exchange()))
    torch.testing.assert_close(
        found[0], Unrolled(penalties=(Decay(weight=2.0),), depth=1, lr=0.5).generator_loss(exchange())
    )


def test_float32_gives_what_float64_gives() -> None:
    game = Unrolled(depth=3, lr=0.2)
    single = slopes(game, exchange(dtype=torch.float32))
    assert single[0].dtype == torch.float32
    ex = exchange(dtype=torch.float32)
    for net in ex.nets.values():
        net.double()
    again = Exchange(ex.nets, Batch(ex.real.x.double(), None), lambda draw: ex._noise(draw).double())
    for a, b in zip(single, slopes(game, again), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-5)


def test_players_are_unrolled_together() -> None:
    """Two players of x·y (one up, one down) and a third whom they read: (1 ± ih)^K turns and stretches the plane."""
    h, depth, third = 0.1, 4, torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    start = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.0, 0.5)]
    after = unroll(
        lambda now: {"a": third * now["a"]["x"] * now["b"]["y"], "b": -third * now["a"]["x"] * now["b"]["y"]},
        {"a": {"x": start[0]}, "b": {"y": start[1]}},
        depth,
        h,
    )
    x, y = after["a"]["x"], after["b"]["y"]
    expected = (1 + 0.5j) * (1 + 2j * h) ** depth  # x' = -2y, y' = 2x turns x + iy
    assert complex(x.item(), y.item()) == pytest.approx(expected, rel=1e-12)
    turned = depth * h * 1j * (1 + 2j * h) ** (depth - 1) * (1 + 0.5j)
    found = complex(*(torch.autograd.grad(each, third, retain_graph=True)[0].item() for each in (x, y)))
    assert found == pytest.approx(turned, rel=1e-12)


def test_a_weight_that_no_loss_reads_stays() -> None:
    idle, busy = (torch.tensor(v, requires_grad=True) for v in (3.0, 1.0))
    after = unroll(lambda now: {"a": now["a"]["busy"].square()}, {"a": {"idle": idle, "busy": busy}}, 2, 0.25)
    assert [after["a"][name].item() for name in ("idle", "busy")] == [3.0, 0.25]


@pytest.mark.parametrize("wrong", [{"depth": -1}, {"lr": 0.0}, {"d_steps": 0}])
def test_out_of_range_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=f"game.{next(iter(wrong))}"):
        Unrolled(**wrong)  # type: ignore[arg-type]
