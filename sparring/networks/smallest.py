"""The smallest images that networks of convolutions take: two grids, the coarsest of at least 4×4."""

from __future__ import annotations

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec

SMALLEST = 8
"""Pixels of the shorter side."""


def check_images(who: str, data: DataSpec) -> None:
    """Raises `RequestError` for what is no image, and for smaller ones, with the nearest size that is none of them."""
    if data.is_image and min(data.shape[1:]) >= SMALLEST:
        return
    mend = "take an MLP"
    if data.is_image:
        height, width = (max(side, SMALLEST) for side in data.shape[1:])
        mend = f"--size {height}x{width} is the nearest, or take an MLP"
    raise RequestError(
        f"{who}: expected images of at least {SMALLEST}×{SMALLEST} pixels, found {data.name} of shape {data.shape}: "
        f"{mend}"
    )
