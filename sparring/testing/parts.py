"""Checks of single parts: objectives, penalties, what is shown, constraints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Memory, Seen
from sparring.core.game import Constraint, Critic, GeneratorPenalty, Objective, Part, Penalty, Show
from sparring.core.protocols import DataSpec
from sparring.core.spec import to_json
from sparring.testing.expect import expect, round_trip

EXTREME = 1e4
"""Logits at which losses and their gradients must still be finite."""
_IMAGES = DataSpec(name="images", shape=(3, 8, 8))
_VECTORS = DataSpec(name="vectors", shape=(6,), levels=0)


def check_objective(objective: Objective) -> None:
    """Shapes, unreduced, pure, gradients by finite differences in float64, finite at extreme logits, that the
    generator's loss reads real logits only where `paired` says so, and that a sample's loss depends on the rest of its
    batch only where `coupled` does."""
    name = round_trip(objective)
    memory = objective.memory(_VECTORS)
    now = objective.at(START, _copied(memory))
    losses = {"discriminator": _repeated(now.discriminator), "generator": _repeated(now.generator)}
    for player, loss in losses.items():
        for count in (2, 7):
            real, fake = _logits(count), _logits(count, seed=1)
            found = loss(real, fake)
            expect(found.shape == (count,), f"{name}.{player}: loss of shape {list(found.shape)} for {count} logits")
            expect(found.dtype == real.dtype, f"{name}.{player}: {found.dtype} of {real.dtype} logits")
            expect(torch.equal(found, loss(real, fake)), f"{name}.{player}: the same random numbers give two results")
            kept = torch.equal(real, _logits(count)) and torch.equal(fake, _logits(count, seed=1))
            expect(kept, f"{name}.{player}: the logits that it was given are changed")
        real, fake = (_logits(6, seed=s) for s in (4, 5))
        if not objective.coupled and torch.equal(
            loss(real, fake), getattr(now, player)(real, fake)
        ):  # no random numbers
            more = loss(torch.cat([real, _logits(6, seed=6)]), torch.cat([fake, _logits(6, seed=7)]))[:6]
            alone = torch.allclose(more, loss(real, fake), rtol=1e-12, atol=0)
            expect(alone, f"{name}.{player}: compares the samples of a batch, so it must say `coupled = True`")
        real, fake = (_logits(5, seed=s).requires_grad_() for s in (2, 3))
        if player == "generator" and not objective.paired:
            missing = torch.full_like(real, torch.nan)
            same = torch.equal(loss(missing, fake), loss(real, fake))
            expect(same, f"{name}.generator: reads real logits, so it must say `paired = True`")
            _slopes(lambda fake: loss(missing, fake), (fake,), f"{name}.{player}")  # noqa: B023
        else:
            _slopes(loss, (real, fake), f"{name}.{player}")
        ends = torch.tensor([-EXTREME, -50.0, 0.0, 50.0, EXTREME])
        real, fake = (grid.flatten().requires_grad_() for grid in torch.meshgrid(ends, ends, indexing="ij"))
        found = loss(real, fake)
        gradients = torch.autograd.grad(found.sum(), (real, fake), allow_unused=True)
        expect(bool(found.isfinite().all()), f"{name}.{player}: not finite at logits up to {EXTREME:g}")
        for gradient in gradients:
            finite = gradient is None or bool(gradient.isfinite().all())
            expect(finite, f"{name}.{player}: its gradient is not finite at logits up to {EXTREME:g}")
    _expect_remembers(objective, memory, name)


def check_penalty(penalty: Penalty) -> None:
    """An unreduced, finite term in proportion to its weight, whose gradient for the discriminator's weights is that of
    finite differences in float64."""
    name = round_trip(penalty)
    for data in _fitting(penalty, Smooth):
        critic = Critic(Smooth(data))
        memory = _copied(penalty.memory(data))
        real, fake = (_samples(data, 4, seed) for seed in (0, 1))

        def term(weight: float | None = None, critic: Critic = critic, memory: Memory = memory) -> Tensor:
            part = penalty if weight is None else penalty.replace(weight=weight, final=None)
            torch.manual_seed(3)
            seen = [Seen(x.clone().requires_grad_(), None, torch.empty(0)) for x in (real, fake)]  # noqa: B023
            seen = [s._replace(logits=critic(s.x, None)) for s in seen]
            return part.at(START, memory)(critic, *seen)

        found = term()
        expect(found.shape in ((4,), ()), f"{name}: a term of shape {list(found.shape)} for 4 samples")
        expect(torch.equal(found, term()), f"{name}: the same random numbers give two results")
        double = torch.allclose(term(2.0), 2 * term(1.0), rtol=1e-9, atol=1e-12)
        expect(double, f"{name}: twice the weight is not twice the term")
        _along(lambda term=term: term().sum(), list(critic.net.parameters()), name)  # type: ignore[misc]
        steep = Critic(Smooth(data, scale=EXTREME))
        gradients = torch.autograd.grad(term(None, steep).sum(), list(steep.net.parameters()), allow_unused=True)
        for gradient in gradients:
            finite = gradient is None or bool(gradient.isfinite().all())
            expect(finite, f"{name}: its gradient is not finite at logits up to {EXTREME:g}")
        _expect_remembers(penalty, memory, name)


def check_generator_penalty(penalty: GeneratorPenalty) -> None:
    """As `check_penalty`, for the generator's weights; what it wants remembered has names that its memory has."""
    name = round_trip(penalty)
    for data in _fitting(penalty, SmoothGenerator):
        generator = SmoothGenerator(data)
        memory = _copied(penalty.memory(data))
        z = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

        def term(generator: nn.Module = generator, z: Tensor = z, memory: Memory = memory) -> Tensor:
            torch.manual_seed(3)
            found, remembered = penalty.at(START, memory)(generator, z, None)
            expect(remembered.keys() <= memory.keys(), f"{name}: remembers {sorted(remembered)}, which it has not")
            return found

        found = term()
        expect(found.shape in ((4,), ()), f"{name}: a term of shape {list(found.shape)} for 4 samples")
        _along(lambda term=term: term().sum(), list(generator.parameters()), name)  # type: ignore[misc]


def check_show(show: Show) -> None:
    """What is shown has the shape that `data` says, is finite, repeats with the same random numbers, and passes
    gradients on that are those of finite differences in float64."""
    name = round_trip(show)
    for data in _fitting(show, Smooth):
        memory = show.memory(data)
        now = show.at(START, _copied(memory))
        x = _samples(data, 12, 0)

        def shown(x: Tensor, now: Show = now) -> Tensor:
            torch.manual_seed(5)
            return now(x, None)[0]

        found = shown(x)
        expect(found.shape[1:] == show.data(data).shape, f"{name}: shows {list(found.shape)}, said {show.data(data)}")
        count = len(x) // show.together
        expect(len(found) == count, f"{name}: shows {len(x)} samples as {len(found)}, but says `together` for {count}")
        expect(found.dtype == x.dtype, f"{name}: {found.dtype} of {x.dtype} samples")
        expect(bool(found.isfinite().all()), f"{name}: what it shows is not finite")
        expect(torch.equal(found, shown(x)), f"{name}: the same random numbers give two results")
        weights = torch.randn(found.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
        moved = x.clone().requires_grad_()
        _along(lambda: (shown(moved) * weights).sum(), [moved], name)  # noqa: B023
        _expect_remembers(show, memory, name)


def check_constraint(constraint: Constraint) -> None:
    """Works in place, keeps shapes and finite values."""
    name = round_trip(constraint)
    tensors = [torch.randn(4, 3) * 100, torch.randn(4)]
    for what, act in (("limit", constraint.limit), ("project", constraint.project)):
        given = [tensor.clone() for tensor in tensors]
        act(given)
        for before, after in zip(tensors, given, strict=True):
            fits = before.shape == after.shape and bool(after.isfinite().all())
            expect(fits, f"{name}.{what}: {list(before.shape)} became {list(after.shape)}, or is not finite")


class Smooth(nn.Module):
    """A discriminator with derivatives of every order, in float64."""

    def __init__(self, data: DataSpec, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = scale
        self.inner = nn.Linear(int(np.prod(data.shape)), 5, dtype=torch.float64)
        self.outer = nn.Linear(5, 1, dtype=torch.float64)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logits: Tensor = self.scale * self.outer(self.inner(x.flatten(1)).tanh()).squeeze(1)
        return logits


class SmoothGenerator(nn.Module):
    """A generator with derivatives of every order, in float64."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.shape = data.shape
        torch.manual_seed(1)
        self.linear = nn.Linear(3, int(np.prod(data.shape)), dtype=torch.float64)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x: Tensor = self.linear(z).tanh().reshape(-1, *self.shape)
        return x


def _expect_remembers(part: Part, memory: Memory, name: str) -> None:
    """`after` changes the memory in place, and nothing of the part."""
    if not memory:
        return
    own, before = _copied(memory), to_json(part)
    held = dict(own)
    real, fake = (Seen(_samples(_VECTORS, 5, s).float(), None, _logits(5, s).float()) for s in (0, 1))
    with torch.no_grad():
        part.after(own, real, fake)
    expect(own.keys() == held.keys(), f"{name}.after: remembers {sorted(own)}, was {sorted(held)}")
    expect(all(own[k] is held[k] for k in held), f"{name}.after: puts new tensors in the place of the old")
    expect(to_json(part) == before, f"{name}.after: changes the part itself")


def _fitting(part: Part, net: Callable[[DataSpec], nn.Module]) -> list[DataSpec]:
    """Images and vectors, but those that the part refuses for such a network; at least one must be left."""
    fits = []
    for data in (_IMAGES, _VECTORS):
        try:
            part.check(data, net(data))
        except RequestError:
            continue
        fits.append(data)
    expect(bool(fits), f"{type(part).__name__}: refuses images and vectors alike")
    return fits


def _copied(memory: Memory) -> Memory:
    return {name: tensor.clone() for name, tensor in memory.items()}


def _logits(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


def _samples(data: DataSpec, count: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, *data.shape, dtype=torch.float64, generator=random) * 1.8 - 0.9


def _repeated(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss with the same random numbers in every call."""

    def again(*logits: Tensor) -> Tensor:
        torch.manual_seed(11)
        return loss(*logits)

    return again


def _slopes(loss: Callable[..., Tensor], given: tuple[Tensor, ...], name: str) -> None:
    agrees = torch.autograd.gradcheck(loss, given, check_undefined_grad=False, raise_exception=False)
    expect(agrees, f"{name}: its gradient is not that of finite differences")


def _along(value: Callable[[], Tensor], tensors: list[Tensor], name: str, step: float = 1e-6) -> None:
    """The gradient along one random direction against a central difference."""
    gradients = torch.autograd.grad(value(), tensors, allow_unused=True)
    random = torch.Generator().manual_seed(7)
    ways = [torch.randn(t.shape, dtype=t.dtype, generator=random) for t in tensors]
    slope = sum(float((g * way).sum()) for g, way in zip(gradients, ways, strict=True) if g is not None)
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for tensor, way in zip(tensors, ways, strict=True):
                tensor.add_(way, alpha=sign * step)
        ends.append(float(value().detach()))
        with torch.no_grad():
            for tensor, way in zip(tensors, ways, strict=True):
                tensor.sub_(way, alpha=sign * step)
    measured = (ends[0] - ends[1]) / (2 * step)
    close = abs(slope - measured) <= 1e-4 * max(1.0, abs(measured))
    expect(close, f"{name}: its gradient along a direction is {slope:.8g}, finite differences give {measured:.8g}")
