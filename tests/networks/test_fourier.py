import json
import math

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.networks.fourier import FourierDiscriminator, Waves


def test_waves_have_the_frequencies_that_are_said() -> None:
    """In one dimension a wave of frequency f comes back after 1/f, and sine and cosine lie on a circle."""
    module, shape = Waves(3, 2.0, 2.0).build((1,))
    assert shape == (7,)
    frequencies = module.frequencies.detach() / (2 * math.pi)
    x = torch.rand(50, 1)
    out = module(x).detach()
    assert torch.equal(out[:, :1], x)
    torch.testing.assert_close(out[:, 1:4].square() + out[:, 4:].square(), torch.ones(50, 3))
    for i in range(3):
        again = module(x + 1 / frequencies[i]).detach()
        torch.testing.assert_close(again[:, [1 + i, 4 + i]], out[:, [1 + i, 4 + i]], atol=1e-4, rtol=0)
    assert module(torch.zeros(1, 1)).tolist() == [[0, 0, 0, 0, 1, 1, 1]]


def test_frequencies_are_spread_by_the_scale_and_learnt() -> None:
    module, _ = Waves(20_000, 1.5, 1.5).build((2,))
    assert (module.frequencies.detach() / (2 * math.pi)).std(0).tolist() == pytest.approx([1.5, 1.5], rel=0.03)
    many = (Waves(30_001, 1.0, 16.0).build((2,))[0].frequencies.detach() / (2 * math.pi)).square().mean(1)
    for share, scale in ((0.25, 2.0), (0.5, 4.0), (0.75, 8.0)):  # evenly in the logarithm
        at = round(share * 30_000)
        assert many[at - 500 : at + 501].mean().sqrt().item() == pytest.approx(scale, rel=0.06)
    (slope,) = torch.autograd.grad(module(torch.rand(4, 2)).sum(), module.frequencies)
    assert slope.abs().min() > 0


@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_player_for_the_plane(num_classes: int) -> None:
    data = DataSpec(name="p", shape=(2,), levels=0, num_classes=num_classes)
    discriminator = FourierDiscriminator(width=16)
    assert from_json(json.loads(json.dumps(to_json(discriminator)))) == discriminator
    y = torch.arange(5) % 3 if num_classes else None
    net = discriminator.build(data, 4)
    assert net(torch.rand(5, 2), y).shape == (5,)
    assert net.per_sample is True


def test_what_cannot_be_built() -> None:
    with pytest.raises(RequestError, match=r"Waves: expected a vector .* found \(1, 2, 2\): put Flatten"):
        Waves(3).build((1, 2, 2))
    with pytest.raises(RequestError, match="Waves: low must be more than 0"):
        Waves(3, 0.0)
    with pytest.raises(RequestError, match="Waves: high must be at least `low`"):
        Waves(3, 2.0, 1.0)
    with pytest.raises(RequestError, match="FourierDiscriminator: expected width and waves of at least 1"):
        FourierDiscriminator(waves=0)
    with pytest.raises(RequestError, match="rising scales above 0, found 128, 64, 2"):
        FourierDiscriminator(scales=(1.0, 0.5))
