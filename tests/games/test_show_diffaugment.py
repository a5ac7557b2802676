from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.show import DiffAugment


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def only(name: str, x: Tensor) -> Tensor:
    return DiffAugment(policy=(name,))(x, None)[0]  # type: ignore[arg-type]


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    """Ends, mean and variance of a uniform law, within four standard errors."""
    count, width = len(values), high - low
    assert low <= values.min() < low + 0.02 * width
    assert high - 0.02 * width < values.max() <= high
    assert abs(values.mean() - (low + high) / 2) < 4 * width / (12 * count) ** 0.5
    assert abs(values.var() - width**2 / 12) < 4 * width**2 / (180 * count) ** 0.5


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colour_is_brightness_then_saturation_then_contrast(channels: int) -> None:
    """Saturation and contrast keep the sample's mean, and saturation its grey; so all three can be read off."""
    x = torch.randn(2000, channels, 4, 3, dtype=torch.float64)
    y = only("colour", x)

    def centred(t: Tensor) -> Tensor:
        return t - t.mean((1, 2, 3), keepdim=True)

    def fitted(new: Tensor, old: Tensor) -> Tensor:
        return (new * old).sum((1, 2, 3)) / old.square().sum((1, 2, 3))

    brightness = (y - x).mean((1, 2, 3))
    grey_x, grey_y = (centred(t).mean(1, keepdim=True) for t in (x, y))
    contrast = fitted(grey_y, grey_x)
    assert_uniform(brightness, -0.5, 0.5)
    assert_uniform(contrast, 0.5, 1.5)
    saturation = torch.ones(2000, dtype=torch.float64)
    if channels == 3:
        saturation = fitted(centred(y) - grey_y, centred(x) - grey_x) / contrast
        assert_uniform(saturation, 0, 2)
        assert abs(torch.corrcoef(torch.stack([brightness, contrast, saturation])) - torch.eye(3)).max() < 0.09
    each = (-1, 1, 1, 1)
    expected = contrast.view(each) * (grey_x + saturation.view(each) * (centred(x) - grey_x))
    torch.testing.assert_close(y, expected + (x.mean((1, 2, 3)) + brightness).view(each))


def test_translation_is_uniform_over_whole_pixels_and_zero_outside() -> None:
    """12 rows move by up to 2 (an eighth is 1.5), 8 columns by up to 1."""
    x = torch.randn(1500, 2, 12, 8)
    y = only("translation", x)
    found = torch.zeros(1500, dtype=torch.int64)
    for down in range(-2, 3):
        for right in range(-1, 2):
            expected = torch.zeros_like(x)
            rows, columns = slice(max(down, 0), 12 + min(down, 0)), slice(max(right, 0), 8 + min(right, 0))
            expected[:, :, rows, columns] = x[
                :, :, max(-down, 0) : 12 - max(down, 0), max(-right, 0) : 8 - max(right, 0)
            ]
            same = (expected == y).flatten(1).all(1)
            assert 60 < same.sum() < 145  # 100 expected, standard deviation 9.7
            found += same
    assert (found == 1).all()


@pytest.mark.parametrize(("size", "side", "firsts"), [(7, 4, range(-2, 6)), (8, 4, range(-2, 7)), (9, 5, range(-2, 7))])
def test_cutout_is_a_square_with_its_middle_anywhere_on_the_image(size: int, side: int, firsts: range) -> None:
    x = torch.ones(1800, 2, size, 6)
    y = only("cutout", x)
    assert torch.equal(y[:, 0], y[:, 1])
    cut = (y[:, 0] == 0).numpy()
    rows, columns = cut.any(2), cut.any(1)
    assert (cut == rows[:, :, None] & columns[:, None, :]).all()
    squares = {tuple(first <= i < first + side for i in range(size)): 0 for first in firsts}
    assert len(squares) == len(firsts)
    for row in rows:
        squares[tuple(row.tolist())] += 1
    expected = 1800 / len(firsts)
    assert max(abs(n - expected) for n in squares.values()) < 4 * expected**0.5
    assert abs(np.corrcoef(rows[:, 0], columns[:, 0])[0, 1]) < 0.1


def test_first_and_second_derivatives_against_finite_differences() -> None:
    def same(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return DiffAugment()(x, None)[0].sin()

    x = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(same, (x,))
    assert gradgradcheck(same, (x,), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 5])
def test_keeps_shape_precision_and_labels(dtype: torch.dtype, count: int) -> None:
    x, y = torch.randn(count, 3, 1, 9, dtype=dtype), torch.arange(count)
    shown, labels = DiffAugment()(x, y)
    assert (shown.shape, shown.dtype) == (x.shape, dtype)
    assert labels is y


def test_the_order_is_the_policy_s() -> None:
    """Cut out last, the square is 0; brightened afterwards it is not."""
    x = torch.ones(50, 1, 8, 8)
    assert (DiffAugment(policy=("colour", "cutout"))(x, None)[0] == 0).flatten(1).any(1).all()
    assert not (DiffAugment(policy=("cutout", "colour"))(x, None)[0] == 0).any()


def test_comes_back_from_json() -> None:
    part = DiffAugment(policy=("cutout", "colour"))
    assert from_json(to_json(part)) == part


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError, match=r"DiffAugment: expected images, found vectors \(2,\) in ring"):
        DiffAugment().check(DataSpec(name="ring", shape=(2,)), torch.nn.Identity())
    DiffAugment().check(DataSpec(name="photos", shape=(4, 8, 8)), torch.nn.Identity())
    with pytest.raises(RequestError, match="no 'color': did you mean 'colour'"):
        DiffAugment(policy=("color",))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="once in policy, found cutout, cutout"):
        DiffAugment(policy=("cutout", "cutout"))
    with pytest.raises(RequestError, match="at least one name in policy"):
        DiffAugment(policy=())
