"""Texts: tokens that follow each other, characters or words."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms.form import Form


class Text(Form):
    """x [T, V]: a number for each of V `tokens` at each of T places; of real samples 1 for the token that is there and
    0 for the others, of fakes what a generator makes of it, of which the greatest counts.

    The first token, "", ends a text, and fills the places after it. `between` stands between tokens: nothing between
    characters, a space between words.
    """

    tokens: tuple[str, ...]
    between: str = ""

    def __post_init__(self) -> None:
        if len(self.tokens) < 2 or self.tokens[0] != "" or len(set(self.tokens)) < len(self.tokens):
            raise RequestError('Text: expected different tokens, the first of them "", which ends a text')

    def decode(self, x: Tensor) -> list[str]:
        """x [N, T, V] as texts."""
        return self.read(x.argmax(2))

    def read(self, numbers: Tensor) -> list[str]:
        """Texts of the numbers of their tokens, integers [N, T]."""
        found = []
        for row in numbers.tolist():
            end = row.index(0) if 0 in row else len(row)
            found.append(self.between.join(self.tokens[number] for number in row[:end]))
        return found

    def one_hot(self, numbers: Tensor) -> Tensor:
        """x float32 [N, T, V] of the numbers of tokens [N, T]."""
        return torch.nn.functional.one_hot(numbers.long(), len(self.tokens)).float()
