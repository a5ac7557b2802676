"""Samples that are neither images nor plain vectors as pictures: series as lines, texts and rows of tables as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Table, Text
from sparring.core.protocols import DataSpec
from sparring.pictures.series import draw_series
from sparring.pictures.texts import draw_table, draw_texts

if TYPE_CHECKING:
    from torch import Tensor

_WORDS_WIDE = 60
"""Characters that are shown of texts made of words."""


def draw_samples(x: Tensor, data: DataSpec, near: Tensor | None = None) -> Image.Image:
    """A picture of samples x [n, *data.shape], as many as there is room for; beside each the training sample of
    `near` [n, *data.shape], where that is given. Raises `RequestError` for data without a form."""
    if data.form is None:
        raise RequestError(f"a picture of {data.name}: expected series, texts or rows of a table")
    found, real = data.form.decode(x), None if near is None else data.form.decode(near)
    match data.form:
        case Series():
            return draw_series(found, data.form, data.shape[0], real)
        case Text():
            width = data.shape[0] if data.form.between == "" else _WORDS_WIDE
            return draw_texts(found, width, real)
        case Table():
            return draw_table(found, real)
    raise RequestError(f"a picture of {data.name}: nobody has said how {type(data.form).__name__} is drawn")
