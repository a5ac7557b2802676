"""Texts: a file with a text on each line, read as characters or as words.

What is stored are the numbers of the tokens; a batch is one-hot (`core.forms.Text`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.files import size_text
from sparring.core.forms import Text
from sparring.core.protocols import Batch, DataSpec
from sparring.data.limits import max_bytes, printable
from sparring.data.lines import read_lines
from sparring.data.tensors import Resident, from_arrays

Level = Literal["characters", "words"]
SUFFIXES = (".txt", ".txt.gz")
LONGEST: dict[Level, int] = {"characters": 128, "words": 32}
"""Tokens of a text where nothing else is asked; longer ones are cut."""
VOCABULARY: dict[Level, int] = {"characters": 256, "words": 2000}
"""The most different tokens where nothing else is asked, the one that ends a text among them."""
MOST_TOKENS = 65_536
LONGEST_WORD = 100
"""Characters of a token: what is longer is no word."""
_MOST_NAMED, _MOST_SHOWN = 1000, 30
_TOKEN_BYTES = 16  # of a text while it is read


class Texts(Resident):
    """A `Source` that holds the numbers of tokens, uint8 or int32 [N, T], and gives x one-hot, float32 [B, T, V]."""

    def take(self, index: Tensor) -> Batch:
        """The texts at int64 positions [B] in [0, len)."""
        assert isinstance(self.spec.form, Text)
        return Batch(self.spec.form.one_hot(self.images.index_select(0, index.to(self.images.device))), None)

    def to(self, device: torch.device) -> Texts:
        """The same source, held on a device."""
        return Texts(self.images.to(device), None, self.spec, self.report)

    def subset(self, index: Tensor, note: str) -> Texts:
        """The texts at int64 positions [n], in that order; the report counts them anew and its notes say `note`."""
        chosen = super().subset(index, note)
        return Texts(chosen.images, None, chosen.spec, chosen.report)


def load_texts(
    path: Path,
    *,
    level: Level = "characters",
    length: int | None = None,
    vocabulary: int | None = None,
) -> Texts:
    """The texts of a file in UTF-8, packed by gzip or not: x [T, V], T the tokens of the longest text up to `length`.

    Words are what blanks part. The most frequent tokens, up to `vocabulary`, are kept; texts with a rarer one are
    refused and counted, longer ones cut and counted, lines of nothing but blanks ignored and counted.
    Raises `RequestError` as `read_lines` does, and for less than two texts.
    """
    where = printable(str(path))
    most = LONGEST[level] if length is None else length
    size = VOCABULARY[level] if vocabulary is None else vocabulary
    if most < 1 or not 2 <= size <= MOST_TOKENS:
        raise RequestError(
            f"{where}: source.length={most} and source.vocabulary={size}; expected a length of at least 1 and a "
            f"vocabulary of 2 to {MOST_TOKENS:,}"
        )
    lines = read_texts(path, level, most)
    if len(lines.texts) < 2:
        raise RequestError(
            f"{where}: {len(lines.texts)} lines with a text; expected a text on each of at least two lines"
        )
    counts = Counter[str]()
    for text in lines.texts:
        counts.update(text)
    ordered = sorted(counts.items(), key=lambda of: (-of[1], of[0]))
    kept = [token for token, _ in ordered if len(token) <= LONGEST_WORD][: size - 1]
    form = Text(tokens=("", *kept), between=" " if level == "words" else "")
    sound = known(lines.texts, form)
    if sum(sound) < 2:
        raise RequestError(
            f"{where}: {sum(sound)} of {len(lines.texts)} texts are made of the {len(kept)} most frequent {level} "
            "alone; expected at least two; a larger source.vocabulary keeps more"
        )
    notes = [f"read as texts of {level}, one on each line"]
    if lines.cut:
        notes.append(f"{lines.cut} texts were cut to {most} {level} (source.length)")
    if not all(sound):
        notes.append(
            f"{len(sound) - sum(sound)} texts are left out that hold one of {len(counts) - len(kept)} {level} beyond "
            f"the {len(kept)} most frequent ones (source.vocabulary)"
        )
    return held(path, lines, sound, form, max(map(len, compress(lines.texts, sound))), "is rare", notes)


class Lines(NamedTuple):
    """What a file holds."""

    texts: list[Sequence[str]]
    """The tokens of each: a string of characters, or a list of words."""
    numbers: list[int]
    """The line of each, from 1."""
    empty: int
    cut: int


def read_texts(path: Path, level: Level, most: int, *, empty_too: bool = False) -> Lines:
    """The lines of a file, cut to `most` tokens; those of nothing but blanks only where `empty_too`. Raises
    `RequestError` as `load_texts` does."""
    texts: list[Sequence[str]] = []
    numbers: list[int] = []
    empty, cut, room = 0, 0, max_bytes() // _TOKEN_BYTES
    for number, line in enumerate(read_lines(path), 1):
        text = line.rstrip("\r\n")
        if not text.strip() and not empty_too:
            empty += 1
            continue
        tokens = text.split() if level == "words" else text
        cut += len(tokens) > most
        texts.append(tokens[:most])
        numbers.append(number)
        room -= len(texts[-1]) or 1
        if room < 0:
            raise RequestError(
                f"{printable(str(path))}: its texts hold more tokens than fit into half of the memory; a smaller "
                "source.length takes fewer, or train on a part of it"
            )
    return Lines(texts, numbers, empty, cut)


def known(texts: Sequence[Sequence[str]], form: Text) -> list[bool]:
    """Which texts are made of the tokens of a form alone."""
    tokens = frozenset(form.tokens)
    return [tokens.issuperset(text) for text in texts]


def held(path: Path, lines: Lines, sound: Sequence[bool], form: Text, length: int, why: str, notes: list[str]) -> Texts:
    """The `sound` ones of the lines of a file, which are made of the tokens of a form alone, and the report of them;
    the others are refused, as a token of theirs is so: `why`."""
    where = printable(str(path))
    texts = list(compress(lines.texts, sound))
    if len(texts) * length * 4 > max_bytes():
        raise RequestError(
            f"{where}: its texts would take {size_text(4 * len(texts) * length)}, expected at most "
            f"{size_text(max_bytes())}; a smaller source.length takes less"
        )
    number_of = {token: number for number, token in enumerate(form.tokens)}
    numbers = np.zeros((len(texts), length), np.uint8 if len(form.tokens) <= 256 else np.int32)
    for row, text in zip(numbers, texts, strict=True):
        row[: len(text)] = [number_of[token] for token in text]
    flat = from_arrays(numbers.view(np.uint8), name=where)
    spec: DataSpec = flat.spec.replace(
        name=printable(path.stem.partition(".")[0] or path.name), shape=(length, len(form.tokens)), levels=0, form=form
    )
    refused = [
        {"file": f"{printable(path.name)}, line {number}", "reason": _unknown(text, number_of, why)}
        for text, number, is_sound in zip(lines.texts, lines.numbers, sound, strict=True)
        if not is_sound
    ]
    lengths, level = sorted(map(len, texts)), "words" if form.between else "characters"
    report: dict[str, Any] = flat.report | {
        "kind": "text",
        "shape": list(spec.shape),
        "levels": 0,
        "ignored": lines.empty,
        "refused": refused[:_MOST_NAMED],
        "num_refused": len(refused),
        "notes": notes,
        "lengths": {"least": lengths[0], "median": lengths[len(lengths) // 2], "most": lengths[-1]},
        "tokens": {"level": level, "count": len(form.tokens) - 1, "shown": _shown(form)},
    }
    return Texts(torch.from_numpy(numbers), None, spec, report)


def _unknown(text: Sequence[str], number_of: dict[str, int], why: str) -> str:
    token = next(token for token in text if token not in number_of)
    return f"{printable(token[:40])!r} {why if len(token) <= LONGEST_WORD else f'has {len(token):,} characters'}"


def _shown(form: Text) -> str:
    """The alphabet, or the most frequent words."""
    tokens = [printable(token[:40]) for token in form.tokens[1:]]
    return " ".join(tokens[:_MOST_SHOWN]) if form.between else "".join(tokens[:256])
