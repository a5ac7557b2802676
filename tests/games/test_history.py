from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Clock, Exchange, Memory
from sparring.core.protocols import Batch, DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.adversarial import Adversarial
from sparring.games.history import PastOpponents, Replay

NUMBERS = DataSpec(name="numbers", shape=(2,), num_classes=7)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def numbered(start: int, count: int) -> Batch:
    """Fakes that carry their number, with the number's rest by 7 as their label."""
    number = torch.arange(start, start + count)
    return Batch(torch.stack([number, -number], 1).float().requires_grad_(), number % 7)


def numbers(batch: Batch) -> Tensor:
    found = batch.x[:, 0].long()
    assert batch.y is not None
    assert torch.equal(batch.y, found % 7)
    assert torch.equal(batch.x[:, 1], -batch.x[:, 0])
    return found


class Nobody(nn.Module):
    """A generator that must not be asked."""


def test_replay_shows_the_fakes_while_nothing_is_held() -> None:
    part, fake = Replay(size=10), numbered(1, 6)
    drawn = part.draw(part.start(NUMBERS, Nobody()), fake, Nobody(), torch.empty(0))
    assert torch.equal(drawn.x, fake.x)
    assert torch.equal(numbers(drawn), torch.arange(1, 7))
    assert not drawn.x.requires_grad


def test_replay_fills_up_then_replaces_at_random_and_draws_the_last_half_uniformly() -> None:
    part = Replay(size=10)
    memory = part.start(NUMBERS, Nobody())
    held = dict(memory)
    for turn in range(3):
        part.keep(memory, numbered(1 + 8 * turn, 8), Nobody(), START)
        inside = memory["x"][: int(memory["held"]), 0].long().tolist()
        if turn < 2:
            assert inside == [1, 2, 3, 4, 9, 10, 11, 12][: 4 * (turn + 1)]
            assert set(numbers(part.draw(memory, numbered(50, 80), Nobody(), torch.empty(0)))[40:].tolist()) == {
                *inside
            }
    # Two empty places first, then two that are taken.
    assert int(memory["held"]) == 10
    assert {17, 18, 19, 20} < set(inside)
    assert len(set(inside)) == 10
    assert torch.equal(memory["y"], memory["x"][:, 0].long() % 7)
    assert memory["y"].dtype == torch.int64
    assert all(memory[name] is held[name] for name in held)
    counts = torch.zeros(100)
    for _ in range(1000):
        found = numbers(part.draw(memory, numbered(50, 9), Nobody(), torch.empty(0)))
        assert torch.equal(found[:5], torch.arange(50, 55))
        counts[found[5:]] += 1
    assert (abs(counts[inside] - 400) < 80).all()


def test_replay_forgets_geometrically() -> None:
    """Of 40 places, 4 are taken anew in every step: what was in one is still there after t with probability .9^t."""
    part = Replay(size=40)
    alive = torch.zeros(12)
    for _ in range(200):
        memory = part.start(NUMBERS, Nobody())
        memory["held"].fill_(40)
        memory["x"].fill_(-1)
        for t in range(12):
            part.keep(memory, numbered(0, 8), Nobody(), START)
            alive[t] += (memory["x"][:, 0] == -1).float().mean()
    torch.testing.assert_close(alive / 200, 0.9 ** torch.arange(1.0, 13), atol=0.015, rtol=0)


def test_replay_of_a_few_places_takes_no_more_than_it_holds() -> None:
    part = Replay(size=2)
    memory = part.start(NUMBERS, Nobody())
    part.keep(memory, numbered(1, 9), Nobody(), START)
    assert memory["x"][:, 0].tolist() == [1, 2]
    part.keep(memory, numbered(3, 1), Nobody(), START)  # half of one sample is none
    assert memory["x"][:, 0].tolist() == [1, 2]
    assert numbers(part.draw(memory, numbered(5, 1), Nobody(), torch.empty(0))).tolist() == [5]


@pytest.mark.parametrize("data", [DataSpec(name="a", shape=(3, 4, 5)), DataSpec(name="b", shape=(2,), y_shape=(3,))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_replay_of_images_and_of_conditions(data: DataSpec, dtype: torch.dtype) -> None:
    part = Replay(size=4)
    memory = part.start(data, Nobody())
    first = Batch(torch.randn(8, *data.shape, dtype=dtype), torch.randn(8, *data.y_shape) if data.y_shape else None)
    part.keep(memory, first, Nobody(), START)
    drawn = part.draw(memory, Batch(first.x[4:], None if first.y is None else first.y[4:]), Nobody(), torch.empty(0))
    assert drawn.x.dtype == dtype
    for sample, condition in zip(drawn.x[2:], drawn.y[2:] if drawn.y is not None else [None] * 2, strict=True):
        same = [i for i in range(4) if torch.allclose(first.x[i], sample, atol=1e-6)]
        assert len(same) == 1
        if condition is not None and first.y is not None:
            assert torch.equal(first.y[same[0]], condition)
    assert (drawn.y is None) == (first.y is None)


class Linear(nn.Module):
    """G(z, y) = W z + e(y), with a running statistic."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        self.label = nn.Embedding(7, 2)
        self.norm = nn.BatchNorm1d(2, affine=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if len(z) > 1:
            self.norm(z)
        out: Tensor = self.linear(z)
        return out if y is None else out + self.label(y)

    def written_out(self, z: Tensor, y: Tensor) -> Tensor:
        return z @ self.linear.weight.T + self.label.weight[y]


def renewed(generator: Linear, value: float) -> None:
    with torch.no_grad():
        generator.linear.weight.copy_(value * torch.eye(2))
        generator.label.weight.fill_(10 * value)
        generator.norm.running_mean.fill_(value)  # type: ignore[union-attr]
        generator.norm.num_batches_tracked.fill_(int(value))  # type: ignore[union-attr]


def played(part: PastOpponents, steps: int) -> tuple[Linear, Memory]:
    """A generator whose weights tell after how many steps they were its own, and what is remembered of it."""
    generator = Linear()
    renewed(generator, 0)
    memory = part.start(NUMBERS, generator)
    held = dict(memory)
    for step in range(steps):
        renewed(generator, step + 1)
        part.keep(memory, numbered(0, 4), generator, Clock(step, 4 * step, 0.0, 0.0))
    assert all(memory[name] is held[name] for name in held)
    return generator, memory


@pytest.mark.parametrize(("steps", "known"), [(0, {0}), (4, {0}), (5, {0, 5}), (14, {0, 5, 10}), (29, {15, 20, 25})])
def test_past_opponents_are_the_newest_of_every_so_many_steps(steps: int, known: set[int]) -> None:
    part = PastOpponents(every=5, count=3, share=0.5)
    generator, memory = played(part, steps)
    z, y = torch.randn(6, 2), torch.arange(6)
    fake = Batch(generator(z, y), y)
    assert fake.x.requires_grad
    before = {name: tensor.clone() for name, tensor in (*memory.items(), *generator.state_dict().items())}
    met: dict[int, int] = {}
    for _ in range(300):
        drawn = part.draw(memory, fake, generator, z)
        assert not drawn.x.requires_grad
        assert drawn.y is y
        assert torch.equal(drawn.x[:3], fake.x[:3])
        author = round(float(drawn.x[3:].sum() / (z[3:] + 10).sum()))
        torch.testing.assert_close(drawn.x[3:], author * z[3:] + 10 * author)
        met[author] = met.get(author, 0) + 1
    assert met.keys() == known
    expected = 300 / len(known)
    assert max(abs(n - expected) for n in met.values()) <= 4 * (expected * (1 - 1 / len(known))) ** 0.5
    after = {**memory, **generator.state_dict()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(("share", "count", "old"), [(1.0, 5, 5), (0.25, 8, 2), (0.5, 3, 2), (0.1, 2, 0), (0.5, 1, 0)])
def test_past_opponents_make_their_share(share: float, count: int, old: int) -> None:
    part = PastOpponents(every=1, count=2, share=share)
    generator, memory = played(part, 1)
    renewed(generator, 50)
    z, y = torch.randn(count, 2), torch.zeros(count, dtype=torch.int64)
    drawn = part.draw(memory, Batch(generator(z, y), y), generator, z)
    current = (drawn.x == generator.written_out(z, y)).all(1)
    assert current.tolist() == [True] * (count - old) + [False] * old


def test_past_opponents_use_the_buffers_of_their_time() -> None:
    generator = nn.BatchNorm1d(2, affine=False).eval()

    class Normal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = generator

        def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
            out: Tensor = self.norm(z)
            return out

    whole = Normal().eval()
    part = PastOpponents(every=1, count=1, share=1.0)
    memory = part.start(NUMBERS, whole)
    assert memory["weights.norm.num_batches_tracked"].dtype == torch.int64
    with torch.no_grad():
        whole.norm.running_mean.fill_(3.0)
    z = torch.randn(4, 2)
    drawn = part.draw(memory, Batch(whole(z), None), whole, z)
    torch.testing.assert_close(drawn.x, z / (1 + 1e-5) ** 0.5)
    assert drawn.y is None


PARTS = [Replay(size=6), PastOpponents(every=2, count=3)]


def step(game: Adversarial, nets: dict[str, Any], memory: Memory, number: int) -> Tensor:
    """One step without moves: what the discriminator is shown as fakes."""
    torch.manual_seed(number)
    real = Batch(torch.randn(8, 2), torch.randint(7, (8,)))
    clock = Clock(number, 8 * number, 0.0, 0.0)
    exchange = Exchange(nets, real, lambda n: torch.randn(8, 2), clock=clock, memory=memory)
    game.discriminator_loss(exchange)
    with torch.no_grad():
        nets["generator"].linear.weight.mul_(0.9)
    game.after(exchange)
    assert exchange.judged is not None
    return exchange.judged[1].x


class Judge(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x.sum(1)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_in_a_game_a_copy_of_the_memory_is_all_that_a_resumed_run_needs(part: Any) -> None:
    game = Adversarial(history=part)
    nets = {"generator": Linear(), "discriminator": Judge()}
    memory = game.start(NUMBERS, nets)
    assert all(name.startswith("history.") for name in memory)
    for number in range(7):
        shown = step(game, nets, memory, number)
    assert not torch.equal(shown[4:], nets["generator"](torch.zeros(4, 2), None))
    stored = {name: tensor.clone() for name, tensor in memory.items()}
    weights = {name: tensor.clone() for name, tensor in nets["generator"].state_dict().items()}
    whole = [step(game, nets, memory, number) for number in range(7, 12)]
    again = {"generator": Linear(), "discriminator": Judge()}
    resumed = game.start(NUMBERS, again)
    assert {k: (v.shape, v.dtype) for k, v in resumed.items()} == {k: (v.shape, v.dtype) for k, v in stored.items()}
    again["generator"].load_state_dict(weights)
    for name, tensor in stored.items():
        resumed[name].copy_(tensor)
    for number, expected in zip(range(7, 12), whole, strict=True):
        assert torch.equal(step(game, again, resumed, number), expected)
    assert all(torch.equal(resumed[name], memory[name]) for name in memory)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_comes_back_from_json(part: Any) -> None:
    assert from_json(to_json(part)) == part


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Replay(size=0), "Replay: expected size >= 1, found 0"),
        (lambda: PastOpponents(every=0), "PastOpponents: expected every >= 1"),
        (lambda: PastOpponents(count=0), "PastOpponents: expected every >= 1, count >= 1"),
        (lambda: PastOpponents(share=0.0), "0 < share <= 1"),
        (lambda: PastOpponents(share=1.5), "0 < share <= 1"),
    ],
)
def test_out_of_range_is_refused(make: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make()


def test_opponents_are_kept_in_steps_in_which_the_discriminator_waits() -> None:
    """With two steps for each in turn, every fourth is one of the generator's."""
    game = Adversarial(history=PastOpponents(every=4, count=9))
    nets = {"generator": Linear(), "discriminator": Judge()}
    memory = game.start(NUMBERS, nets)
    for number in range(20):
        clock = Clock(number, 8 * number, 0.0, 0.0)
        exchange = Exchange(
            nets, Batch(torch.zeros(8, 2), None), lambda n: torch.zeros(8, 2), clock=clock, memory=memory
        )
        if number % 4 < 2:
            game.discriminator_loss(exchange)
        game.after(exchange)
    assert int(memory["history.made"]) == 6
