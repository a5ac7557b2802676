from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from sparring.games.show.warp import mirrored, warp


def maps(*rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("size", [(7, 9), (8, 5), (1, 6), (2, 2)])
def test_against_scipy(size: tuple[int, int]) -> None:
    """Any linear map, also one that looks far outside: order 1, and its `mirror` at the borders."""
    random = np.random.default_rng(0)
    x, given = random.normal(size=(6, 2, *size)), random.normal(size=(6, 2, 3)) * [1.5, 1.5, 4]
    found = warp(torch.from_numpy(x), torch.from_numpy(given)).numpy()
    middle = (np.array(size) - 1) / 2
    for i, (matrix, shift) in enumerate(zip(given[:, :, :2], given[:, :, 2], strict=True)):
        swapped, moved = matrix[::-1, ::-1], shift[::-1]  # scipy's first coordinate is the row
        offset = moved + middle - swapped @ middle
        for channel in range(2):
            expected = affine_transform(x[i, channel], swapped, offset, order=1, mode="mirror")
            np.testing.assert_allclose(found[i, channel], expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whole_pixel_maps_give_the_very_numbers_that_were_there(dtype: torch.dtype) -> None:
    x = torch.randn(1, 3, 6, 6, dtype=dtype)
    cases = [
        ([[1, 0, 0], [0, 1, 0]], x),
        ([[-1, 0, 0], [0, 1, 0]], x.flip(3)),
        ([[0, 1, 0], [-1, 0, 0]], x.rot90(-1, (2, 3))),
        ([[0, -1, 0], [1, 0, 0]], x.rot90(1, (2, 3))),
        ([[1, 0, 2], [0, 1, 0]], torch.cat([x[..., 2:], x[..., [4, 3]]], 3)),
    ]
    for given, expected in cases:
        assert torch.equal(warp(x, maps(given).to(dtype)), expected), given  # type: ignore[arg-type]


def test_mirrors_are_on_the_first_and_the_last_pixel() -> None:
    at = torch.arange(-7.0, 10.0)
    expected = [1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert mirrored(at, 4).tolist() == expected
    assert mirrored(at, 1).tolist() == [0] * len(at)


def test_first_and_second_derivatives_against_finite_differences() -> None:
    given = torch.randn(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.randn(3, 1, 4, 3, dtype=torch.float64, requires_grad=True)

    def bent(x: Tensor) -> Tensor:
        return warp(x, given).sin()

    assert gradcheck(bent, (x,))
    assert gradgradcheck(bent, (x,))
