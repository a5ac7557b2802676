from typing import Any

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.metrics.features.pixels import resize_tensorflow1, to_rgb


def test_all_256_values_come_back_as_they_were_stored() -> None:
    stored = torch.arange(256, dtype=torch.float32)
    for x in (stored / 127.5 - 1, (stored / 255) * 2 - 1):
        assert torch.equal(to_rgb(x.view(1, 1, 16, 16), "any")[0, 0].flatten(), stored)
    between = to_rgb(torch.tensor([10.4, 10.6, 199.51, 0.3]).view(1, 1, 2, 2) / 127.5 - 1, "any")
    assert between[0, 0].flatten().tolist() == [10, 11, 200, 0]
    beyond = to_rgb(torch.tensor([-7.0, -1.001, 1.003, 9.0]).view(1, 1, 2, 2), "any")
    assert beyond[0, 0].flatten().tolist() == [0, 0, 255, 255]


def test_channels_keep_their_order() -> None:
    x = torch.tensor([-1.0, 0.2, 1.0]).view(1, 3, 1, 1)
    assert to_rgb(x, "any").flatten().tolist() == [0, 153, 255]
    with pytest.raises(RequestError, match="features any: expected grey or RGB images, found samples of shape 4×2×2;"):
        to_rgb(torch.zeros(1, 4, 2, 2), "any")


@pytest.mark.parametrize(("height", "width", "size"), [(7, 11, 29), (31, 40, 29), (29, 29, 29), (1, 2, 5), (8, 8, 299)])
def test_resizing_is_torch_fidelity_s_to_the_last_bit(height: int, width: int, size: int, fidelity: Any) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    x = (torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255).round()
    expected = interpolate_bilinear_2d_like_tensorflow1x(x, size=(size, size), align_corners=False)
    assert torch.equal(resize_tensorflow1(x, size), expected)


def test_a_ramp_doubled() -> None:
    """Output pixel i looks at i / 2; the last has no right neighbour."""
    ramp = torch.tensor([0.0, 2.0, 4.0]).expand(1, 1, 3, 3)
    assert resize_tensorflow1(ramp, 6)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 4]
