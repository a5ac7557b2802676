"""Penalties on logits: consistency, and distance from moving averages."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Clock, Memory, Seen
from sparring.core.game import Critic, Show
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.penalties import BalancedConsistency, Consistency, LeCam

DATA = DataSpec(name="test", shape=(3,))


class Moved(Show):
    """x + by."""

    by: float = 1.0

    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return x + self.by, y


class Doubled(Show):
    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return 2 * x, None if y is None else 1 - y


class Adaptive(Moved):
    def memory(self, data: DataSpec) -> Memory:
        return {"by": torch.zeros(())}


class Fading(Moved):
    """Less of it the longer the run."""

    def at(self, clock: Clock, memory: Memory) -> Fading:
        return self.replace(by=self.by * (1 - clock.progress))


class Shorter(Moved):
    def data(self, data: DataSpec) -> DataSpec:
        return data.replace(shape=(1,))


class Refusing(Moved):
    def check(self, data: DataSpec, net: nn.Module) -> None:
        raise RequestError(f"no moving of {data.name}")


class Linear(nn.Module):
    """D(x, y) = w[y]·x"""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[1.0, 2.0, -6.0], [0.5, 0.5, 0.5]], dtype=dtype))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return (x * (self.w[0] if y is None else self.w[y])).sum(1)


def seen(critic: Critic, x: Tensor, y: Tensor | None = None) -> Seen:
    return Seen(x, y, critic(x, y))


def test_consistency_closed_form_and_its_own_gradient() -> None:
    """Moving x by b changes w·x by b Σ w; doubling after that adds x + b."""
    critic = Critic(Linear())
    real, fake = (seen(critic, x) for x in torch.randn(2, 5, 3, dtype=torch.float64))
    term = Consistency(weight=7.0, show=(Moved(by=2.0),))(critic, real, fake)
    torch.testing.assert_close(term, torch.full((5,), 7.0 * 36, dtype=torch.float64))
    (slope,) = torch.autograd.grad(term.sum(), critic.net.w)
    torch.testing.assert_close(slope[0], torch.full((3,), 5 * 7.0 * 2 * -6 * 2, dtype=torch.float64))
    term = Consistency(weight=1.0, show=(Moved(by=2.0), Doubled()))(critic, real, fake)
    torch.testing.assert_close(term, critic(real.x + 4).square())


def test_the_label_that_an_augmentation_gives_is_the_one_judged() -> None:
    critic, x, y = Critic(Linear()), torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    real = seen(critic, x, y)
    term = Consistency(weight=1.0, show=(Doubled(),))(critic, real, real)
    torch.testing.assert_close(term, (critic(x, y) - critic(2 * x, 1 - y)).square())


def test_what_the_game_shows_comes_after_the_augmentation() -> None:
    critic = Critic(Linear(), (Doubled(),))
    real = seen(critic, torch.randn(4, 3, dtype=torch.float64))
    term = Consistency(weight=1.0, show=(Moved(by=2.0),))(critic, real, real)
    torch.testing.assert_close(term, torch.full((4,), (2 * 2 * -3.0) ** 2, dtype=torch.float64))


def test_balanced_consistency_adds_the_fakes() -> None:
    critic, show = Critic(Linear()), (Doubled(),)
    real, fake = (seen(critic, x) for x in torch.randn(2, 5, 3, dtype=torch.float64))
    term = BalancedConsistency(weight=3.0, fake_share=0.5, show=show)(critic, real, fake)
    torch.testing.assert_close(term, 3 * (real.logits.square() + 0.5 * fake.logits.square()))
    plain = BalancedConsistency(show=show)(critic, real, fake)
    swapped = BalancedConsistency(show=show)(critic, fake, real)
    torch.testing.assert_close(plain, swapped)
    torch.testing.assert_close(plain.detach(), (10 * (real.logits**2 + fake.logits**2)).detach())


@pytest.mark.parametrize("kind", [Consistency, BalancedConsistency])
def test_an_augmentation_that_changes_with_time_is_taken_as_it_is_now(kind: type[Consistency]) -> None:
    critic = Critic(Linear())
    real = seen(critic, torch.randn(4, 3, dtype=torch.float64))
    part = kind(weight=8.0, final=4.0, show=(Fading(by=2.0), Moved(by=0.5)))
    for progress, weight, by in ((0.0, 8.0, 2.5), (0.5, 6.0, 1.5), (1.0, 4.0, 0.5)):
        term = part.at(START._replace(progress=progress), {})(critic, real, real)
        sides = 2 if kind is BalancedConsistency else 1
        torch.testing.assert_close(term, torch.full((4,), sides * weight * (3 * by) ** 2, dtype=torch.float64))


def test_augmentations_that_do_not_fit_are_refused() -> None:
    net = Linear()
    for kind in (Consistency, BalancedConsistency):
        kind(show=(Moved(),)).check(DATA, net)
        with pytest.raises(RequestError, match=f"{kind.__name__}: Adaptive adapts itself"):
            kind(show=(Moved(), Adaptive())).check(DATA, net)
        with pytest.raises(RequestError, match=f"{kind.__name__}: Shorter changes what a sample is"):
            kind(show=(Shorter(),)).check(DATA, net)
        with pytest.raises(RequestError, match="no moving of test"):
            kind(show=(Refusing(),)).check(DATA, net)
        with pytest.raises(RequestError, match=f"{kind.__name__}: expected at least one"):
            kind(show=())
        with pytest.raises(RequestError, match=f"{kind.__name__}: expected weights"):
            kind(show=(Moved(),), weight=-1.0)
    with pytest.raises(RequestError, match="fake_share"):
        BalancedConsistency(show=(Moved(),), fake_share=-1.0)


def given(*logits: float, dtype: torch.dtype = torch.float64) -> Seen:
    values = torch.tensor(logits, dtype=dtype, requires_grad=True)
    return Seen(torch.zeros(len(logits), 1, dtype=dtype), None, values)


def test_lecam_closed_form_and_its_own_gradient() -> None:
    """Real logits go to the fakes' average and the other way round."""
    part = LeCam(weight=2.0, real_logit=5.0, fake_logit=-3.0)
    real, fake = given(4.0, -3.0), given(1.0, 7.0)
    term = part(Critic(nn.Identity()), real, fake)
    assert term.tolist() == [2 * (49 + 16), 2 * (0 + 4)]
    slopes = torch.autograd.grad(term.sum(), (real.logits, fake.logits))
    assert [s.tolist() for s in slopes] == [[2 * 2 * 7, 0], [2 * 2 * -4, 2 * 2 * 2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lecam_remembers_moving_averages(dtype: torch.dtype) -> None:
    """After n steps of the same logits m, an average that started from a is m + (a - m) decayⁿ."""
    part = LeCam(decay=0.9, real_logit=1.0, fake_logit=0.5)
    memory = part.memory(DATA)
    held = dict(memory)
    real, fake = (
        s._replace(logits=s.logits.detach()) for s in (given(3.0, 5.0, dtype=dtype), given(-2.0, dtype=dtype))
    )
    for _ in range(7):
        part.after(memory, real, fake)
    assert all(memory[name] is held[name] for name in held)
    assert float(memory["real_logit"]) == pytest.approx(4 - 3 * 0.9**7)
    assert float(memory["fake_logit"]) == pytest.approx(-2 + 2.5 * 0.9**7)
    now = part.at(START, memory)
    term = now(Critic(nn.Identity()), given(0.0, dtype=dtype), given(0.0, dtype=dtype))
    assert term.dtype is dtype
    assert float(term.detach()) == pytest.approx(0.3 * sum(float(v) ** 2 for v in memory.values()))


def test_lecam_is_finite_at_extreme_logits() -> None:
    real, fake = (given(1e4, -1e4, dtype=torch.float32) for _ in range(2))
    term = LeCam()(Critic(nn.Identity()), real, fake)
    assert term.isfinite().all()
    assert torch.autograd.grad(term.sum(), real.logits)[0].isfinite().all()


@pytest.mark.parametrize("wrong", [{"decay": 1.0}, {"decay": -0.1}, {"weight": -1.0}, {"every": 0}])
def test_lecam_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="LeCam"):
        LeCam(**wrong)  # type: ignore[arg-type]


def test_lecam_through_json_and_back() -> None:
    assert from_json(to_json(LeCam(decay=0.5))) == LeCam(decay=0.5)
