"""Penalties on weights, and on the generator's paths."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.nn.utils.parametrizations import spectral_norm

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Exchange, Seen
from sparring.core.game import Critic, GeneratorPenalty, Penalty
from sparring.core.protocols import Batch, DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import GeneratorOrthogonal, Orthogonal, PathLength

DATA = DataSpec(name="test", shape=(3,))
NOTHING = Seen(torch.zeros(2, 3), None, torch.zeros(2))


def orthogonal(net: nn.Module, **fields: object) -> Tensor:
    """What the penalty says, which must be the same of either player."""
    term = Orthogonal(**fields)(Critic(net), NOTHING, NOTHING)  # type: ignore[arg-type]
    other, remembered = GeneratorOrthogonal(**fields)(net, torch.zeros(2, 3), None)  # type: ignore[arg-type]
    assert remembered == {}
    torch.testing.assert_close(term, other)
    return term


def value(term: Tensor) -> float:
    return float(term.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_orthogonal_closed_form(dtype: torch.dtype) -> None:
    """Rows (1, 1) and (1, 3): W Wᵀ is [[2, 4], [4, 10]]. The second layer has one row, of length 2."""
    net = nn.Sequential(nn.Linear(2, 2, dtype=dtype), nn.Tanh(), nn.Linear(2, 1, dtype=dtype))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, 3.0]]))
        net[2].weight.copy_(torch.tensor([[2.0, 0.0]]))
    term = orthogonal(net, weight=0.5)
    assert (term.shape, term.dtype) == ((), dtype)
    assert value(term) == 0.5 * 32
    assert value(orthogonal(net, weight=0.5, diagonal=True)) == 0.5 * (32 + 1 + 81 + 9)
    (slope,) = torch.autograd.grad(term, net[0].weight)
    # d/dW of 2 (r·s)² is 4 (r·s) times the other row.
    torch.testing.assert_close(slope, 0.5 * 4 * 4 * torch.tensor([[1.0, 3.0], [1.0, 1.0]], dtype=dtype))


def test_orthogonal_rows_cost_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 2, dtype=torch.float64), nn.Linear(9, 4, dtype=torch.float64))
    for layer in net:
        nn.init.orthogonal_(layer.weight)
    assert value(orthogonal(net, weight=1.0, diagonal=True)) < 1e-20
    with torch.no_grad():
        net[0].weight *= 3
    assert value(orthogonal(net, weight=1.0)) < 1e-20
    assert value(orthogonal(net, weight=1.0, diagonal=True)) == pytest.approx(8 * (9 - 1) ** 2)


def test_rows_are_outputs_of_transposed_convolutions_too() -> None:
    conv, back = nn.Conv2d(3, 5, 2, bias=False), nn.ConvTranspose2d(3, 5, 2, bias=False)
    with torch.no_grad():
        back.weight.copy_(conv.weight.transpose(0, 1))
    torch.testing.assert_close(orthogonal(conv, weight=1.0), orthogonal(back, weight=1.0))


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_filters_are_compared_within_their_group(kind: type[nn.Conv2d]) -> None:
    """A convolution in two groups is two convolutions side by side."""
    whole = kind(6, 4, 3, groups=2)
    halves = [kind(3, 2, 3) for _ in range(2)]
    with torch.no_grad():
        for half, part in zip(halves, whole.weight.chunk(2), strict=True):
            half.weight.copy_(part)
    torch.testing.assert_close(orthogonal(whole, weight=1.0), sum(orthogonal(half, weight=1.0) for half in halves))


def test_weights_are_taken_as_they_act() -> None:
    """Dividing all rows by σ divides every product of two rows by σ²."""
    net = nn.Sequential(nn.Linear(5, 4))
    plain, sigma = orthogonal(net, weight=1.0), torch.linalg.svdvals(net[0].weight)[0]
    spectral_norm(net[0], n_power_iterations=50)
    torch.testing.assert_close(orthogonal(net, weight=1.0), plain / sigma**4)


def test_weights_are_compared_in_their_own_precision() -> None:
    """Of rows so near to orthogonal that bfloat16 would see its own rounding in their place."""
    torch.manual_seed(0)
    net = nn.Linear(64, 16)
    nn.init.orthogonal_(net.weight)
    with torch.no_grad():
        net.weight += 1e-4 * torch.randn_like(net.weight)
    plain = orthogonal(net, weight=1.0, diagonal=True)
    with torch.autocast("cpu", torch.bfloat16):
        term = orthogonal(net, weight=1.0, diagonal=True)
    torch.testing.assert_close(term, plain)


@pytest.mark.parametrize("part", [Orthogonal(), GeneratorOrthogonal()], ids=repr)
def test_a_network_without_layers_is_refused(part: Penalty | GeneratorPenalty) -> None:
    part.check(DATA, nn.Sequential(nn.ReLU(), nn.Conv1d(2, 2, 1)))
    with pytest.raises(RequestError, match=f"{type(part).__name__}: the network has no linear"):
        part.check(DATA, nn.Sequential(nn.Embedding(3, 4), nn.ReLU()))


class Curved(nn.Module):
    """G(z, y) [B, 1, 2, 4] of z [B, 3], with another shift for each of two classes."""

    def __init__(self, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(3, 8, dtype=dtype) * scale)
        self.shift = nn.Parameter(torch.randn(2, 8, dtype=dtype))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = torch.tanh(z @ self.a + (0 if y is None else self.shift[y]))
        return x.unflatten(1, (1, 2, 4))


@pytest.mark.parametrize("labels", [False, True])
def test_path_length_against_the_jacobian(labels: bool) -> None:
    torch.manual_seed(0)
    net, z = Curved(), torch.randn(5, 3, dtype=torch.float64)
    y = torch.tensor([0, 1, 1, 0, 1]) if labels else None
    part = PathLength(weight=3.0, mean=0.7, rate=0.1)
    torch.manual_seed(1)
    term, remembered = part(net, z, y)
    torch.manual_seed(1)
    noise = torch.randn(5, 1, 2, 4, dtype=torch.float64) / 8**0.5
    lengths = []
    for i in range(5):
        label = None if y is None else y[i : i + 1]
        J = jacobian(lambda z, label=label: net(z, label), z[i : i + 1])
        lengths.append((J.reshape(8, 3).T @ noise[i].flatten()).norm())
    found = torch.stack(lengths)
    mean = 0.9 * 0.7 + 0.1 * found.mean()
    torch.testing.assert_close(remembered["mean"], mean.detach())
    torch.testing.assert_close(term, 3 * (found - mean).square())


@pytest.mark.parametrize("shape", [(6,), (1, 4, 6), (2, 3, 4)])
def test_path_length_does_not_grow_with_the_image(shape: tuple[int, ...]) -> None:
    """E|Jᵀε|² is |J|² over the number of pixels, J being the weights of a linear generator."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, int(torch.tensor(shape).prod()), bias=False), nn.Unflatten(1, shape)).double()
    generator = nn.Module()
    generator.forward = lambda z, y: net(z)  # type: ignore[method-assign]
    term, _ = PathLength(weight=1.0, rate=1e-12)(generator, torch.zeros(20_000, 3, dtype=torch.float64), None)
    pixels = int(torch.tensor(shape[1:]).prod())
    assert value(term.mean()) == pytest.approx(value(net[0].weight.square().sum() / pixels), rel=0.03)


def test_path_length_s_own_gradient_by_finite_differences() -> None:
    torch.manual_seed(0)
    net, z = Curved(), torch.randn(4, 3, dtype=torch.float64)

    def term(a: Tensor) -> Tensor:
        torch.manual_seed(1)
        with torch.no_grad():
            net.a.copy_(a)
        return PathLength(mean=0.3)(net, z, None)[0].sum()

    start = net.a.detach().clone()
    (slope,) = torch.autograd.grad(term(start), net.a)
    for i in range(3):
        step = torch.zeros_like(start)
        step[i, 2 * i] = 1e-6
        measured = float((term(start + step) - term(start - step)).detach()) / 2e-6
        assert float(slope[i, 2 * i]) == pytest.approx(measured, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3])
def test_path_length_is_finite_for_flat_and_steep_generators(dtype: torch.dtype, count: int) -> None:
    for scale in (0.0, 1.0, 1e4):
        net = Curved(dtype, scale)
        term, _ = PathLength()(net, torch.randn(count, 3, dtype=dtype), None)
        assert (term.shape, term.dtype) == ((count,), dtype)
        assert term.isfinite().all()
        assert torch.autograd.grad(term.sum(), net.a)[0].isfinite().all()


def test_a_game_remembers_the_path_length_when_it_was_due() -> None:
    torch.manual_seed(0)
    discriminator = nn.Module()
    discriminator.forward = lambda x, y: x.flatten(1).sum(1)  # type: ignore[method-assign]
    nets = {"generator": Curved(), "discriminator": discriminator}
    part = PathLength(rate=0.5, every=2)
    game = Adversarial(generator_penalties=(part,))
    memory = game.start(DATA, nets)
    before = float(memory["generator_penalties.0.mean"])
    z = torch.randn(4, 3, dtype=torch.float64)
    means = []
    for step in range(4):
        torch.manual_seed(step)
        exchange = Exchange(
            nets, Batch(z, None), lambda n: z, clock=START._replace(step=step, images=4 * step), memory=memory
        )
        game.generator_loss(exchange)
        assert (exchange.remembered != {}) is (step % 2 == 0)
        game.after(exchange)
        means.append(float(memory["generator_penalties.0.mean"]))
    assert before == 0 < means[0] == means[1] != means[2] == means[3]
    torch.manual_seed(0)
    first = part(nets["generator"], z, None)[1]["mean"]
    assert means[0] == pytest.approx(float(first), rel=1e-6)


def test_batch_statistics_of_a_generator_are_refused() -> None:
    PathLength().check(DATA, nn.Linear(3, 3))
    with pytest.raises(RequestError, match="PathLength: the generator has batch normalisation"):
        PathLength().check(DATA, nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (PathLength, {"weight": -1.0}),
        (PathLength, {"every": 0}),
        (PathLength, {"rate": 0.0}),
        (PathLength, {"rate": 1.5}),
        (Orthogonal, {"weight": -1.0}),
        (GeneratorOrthogonal, {"weight": -1.0}),
        (GeneratorOrthogonal, {"every": 0}),
    ],
)
def test_out_of_range_is_refused(kind: type[Penalty] | type[GeneratorPenalty], wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=kind.__name__):
        kind(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [PathLength(rate=0.5), Orthogonal(diagonal=True), GeneratorOrthogonal()], ids=repr)
def test_through_json_and_back(part: Penalty | GeneratorPenalty) -> None:
    assert from_json(to_json(part)) == part
