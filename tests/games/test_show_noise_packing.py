from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Exchange
from sparring.core.protocols import Batch, DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import NonSaturating
from sparring.games.show import InstanceNoise, Packing


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("progress", "sigma"), [(0.0, 0.8), (0.1, 0.6), (0.2, 0.4), (0.3, 0.2)])
@pytest.mark.parametrize("shape", [(3, 8, 8), (50,)])
def test_noise_falls_in_a_straight_line(progress: float, sigma: float, shape: tuple[int, ...]) -> None:
    now = InstanceNoise(sigma=0.8, until=0.4).at(START._replace(progress=progress), {})
    x, y = torch.randn(300, *shape, dtype=torch.float64), torch.arange(300)
    shown, labels = now(x, y)
    noise = ((shown - x) / sigma).flatten()
    count = len(noise)
    assert abs(noise.mean()) < 4 / count**0.5
    assert abs(noise.square().mean() - 1) < 4 * (2 / count) ** 0.5
    assert abs(noise.pow(4).mean() - 3) < 4 * (96 / count) ** 0.5  # a Gaussian's fourth moment
    assert labels is y


@pytest.mark.parametrize("progress", [0.4, 0.7, 1.0])
def test_noise_ends(progress: float) -> None:
    x = torch.randn(3, 2)
    assert InstanceNoise(sigma=0.8, until=0.4).at(START._replace(progress=progress), {})(x, None)[0] is x


def test_noise_is_another_for_every_number_and_passes_gradients_on() -> None:
    x = torch.zeros(4, 3, 2, requires_grad=True)
    shown = InstanceNoise(sigma=1.0)(x, None)[0]
    assert len(shown.unique()) == 24
    (slope,) = torch.autograd.grad((shown * torch.arange(24.0).view(4, 3, 2)).sum(), x)
    assert torch.equal(slope.flatten(), torch.arange(24.0))


@pytest.mark.parametrize("wrong", [{"sigma": -0.1}, {"sigma": float("nan")}, {"until": 0.0}, {"until": 1.1}])
def test_noise_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="InstanceNoise: expected sigma >= 0 and 0 < until <= 1"):
        InstanceNoise(**wrong)


@pytest.mark.parametrize("shape", [(2, 4, 5), (3,)])
def test_a_pack_is_its_samples_one_after_another(shape: tuple[int, ...]) -> None:
    x = torch.randn(6, *shape).contiguous()
    if len(shape) == 3:
        x = x.to(memory_format=torch.channels_last)
    packed, y = Packing(size=3)(x, None)
    assert y is None
    assert packed.shape == (2, *Packing(size=3).data(DataSpec(name="d", shape=shape)).shape)
    for pack in range(2):
        assert torch.equal(packed[pack], torch.cat([x[3 * pack], x[3 * pack + 1], x[3 * pack + 2]]))


def test_a_batch_that_packs_do_not_divide_is_refused() -> None:
    with pytest.raises(RequestError, match=r"packs of 3 divide, found 8: set train\.batch to a multiple of 3"):
        Packing(size=3)(torch.zeros(8, 2), None)


def test_labels_are_refused() -> None:
    digits = DataSpec(name="digits", shape=(1, 8, 8))
    Packing().check(digits, nn.Identity())
    for labelled in (digits.replace(num_classes=10), digits.replace(y_shape=(4,))):
        with pytest.raises(RequestError, match="a pack of 2 samples has as many labels"):
            Packing().check(labelled, nn.Identity())


def test_a_pack_of_one_is_refused() -> None:
    with pytest.raises(RequestError, match="Packing: expected size >= 2, found 1"):
        Packing(size=1)


class Sum(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x.flatten(1) @ self.weight


class Same(nn.Module):
    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z


def test_a_game_judges_packs() -> None:
    """The mean loss over packs, written out, for both players; half as many logits as samples."""
    data = DataSpec(name="ring", shape=(2,))
    game = Adversarial(show=(Packing(),))
    size = game.shown(data).shape[0]
    assert size == 4
    nets = {"generator": Same(), "discriminator": Sum(size)}
    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    exchange = Exchange(nets, Batch(real, None), lambda n: fake)
    weight = nets["discriminator"].weight
    logits = [torch.stack([weight @ torch.cat([x[i], x[i + 1]]) for i in (0, 2, 4)]) for x in (real, fake)]
    torch.testing.assert_close(game.discriminator_loss(exchange), NonSaturating().discriminator(*logits).mean())
    torch.testing.assert_close(game.generator_loss(exchange), NonSaturating().generator(*logits).mean())


@pytest.mark.parametrize("part", [InstanceNoise(sigma=0.3, until=0.9), Packing(size=4)])
def test_comes_back_from_json(part: InstanceNoise | Packing) -> None:
    assert from_json(to_json(part)) == part
