"""Shards: uncompressed `.tar` files in the layout of WebDataset, read in place by an index of where each sample lies.

Files whose path is the same up to the first dot of their name are one sample: KEY.jpg (or .png, .webp, ...) beside
KEY.cls, a class as a number or a name, or KEY.json with a field `label`. Nothing is extracted. The layout is described
in A. Aizman, G. Maltby and T. Breuel, "High performance I/O for large scale deep learning", 2020, arXiv:2001.01858.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import struct
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparring.core.errors import RequestError
from sparring.data.encoded import Seen, Unlike, again
from sparring.data.index import ROW, Parted
from sparring.data.index import Rows as Index
from sparring.data.limits import MAX_FILE_BYTES, printable
from sparring.data.listing import IMAGE_SUFFIXES, check_member, tar_members

MAX_LABEL_BYTES = 2**16
MOST_LABELS = 2**16
_MOST_NAMED = 1000
_LABELS_FIELDS = ("label", "cls", "class")
_PEEKED = 64
_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)")


class _Member(NamedTuple):
    """One file of a shard: its bytes are at hand for labels, and for images while they are looked at."""

    key: str
    suffix: str
    offset: int
    data: bytes


_DAMAGED = (EOFError, tarfile.TarError, lzma.LZMAError, zlib.error, struct.error, UnicodeDecodeError)
"""What the standard library raises of a tar that is none, or is packed and damaged."""


def is_shard(path: Path) -> bool:
    """Whether one of the first files of a tar is a label that belongs to an image."""
    images, labels = set(), set()
    try:
        for (member, _), _ in zip(tar_members(path), range(_PEEKED), strict=False):
            found = _KEY.fullmatch(member.name)
            if found and f".{found[2].lower()}" in IMAGE_SUFFIXES:
                images.add(found[1])
            elif found and found[2].lower() in ("cls", "json"):
                labels.add(found[1])
    except (OSError, *_DAMAGED):
        return False  # whoever reads it will say what is wrong
    return bool(images & labels)


def index_shard(path: Path) -> tuple[Index, dict[str, Any]]:
    """Where the samples of a shard lie, and what is known of them: `seen` of their headers, `labels` {text: count},
    `unlabelled`, `refused` [[name, reason]], `num_refused` and `ignored` {suffix: count}.

    Raises `RequestError` for what is no plain tar or holds members that no honest tar of samples does.
    """
    where = printable(str(path))
    with path.open("rb") as file:
        if file.read(6)[:2] in (b"\x1f\x8b", b"\xfd7"):
            raise RequestError(f"{where}: a compressed shard; expected a plain .tar, whose samples are read in place")
    seen, ignored, labels = Seen.nothing(), Counter[str](), dict[str, int]()
    counts: Counter[str] = Counter()
    refused: list[tuple[str, str]] = []
    rows: list[tuple[int, int, int, int]] = []
    try:
        for _, group in groupby(_members(path, ignored), key=lambda member: member.key):
            image, label = _sample(group, ignored)
            if image is None:
                ignored["label without an image beside it"] += 1
                continue
            reason = seen.look(image.data)
            if reason:
                refused.append((printable(f"{image.key}.{image.suffix}"), reason))
                continue
            if label is not None:
                counts[label] += 1
                if len(labels) >= MOST_LABELS and label not in labels:
                    raise RequestError(f"{where}: more than {MOST_LABELS} different labels; expected classes")
            number = -1 if label is None else labels.setdefault(label, len(labels))
            rows.append((image.offset, len(image.data), zlib.crc32(image.data), number))
    except _DAMAGED as error:
        raise RequestError(f"{where}: cannot be read as a tar ({printable(str(error))})") from None
    about = {
        "seen": seen._asdict(),
        "labels": {text: counts[text] for text in labels},
        "unlabelled": len(rows) - counts.total(),
        "refused": refused[:_MOST_NAMED],
        "num_refused": len(refused),
        "ignored": ignored,
    }
    return np.array(rows, ROW), json.loads(json.dumps(about))


def _members(path: Path, ignored: Counter[str]) -> Iterator[_Member]:
    for member, archive in tar_members(path):
        check_member(path, member.name, (member.isreg() and not member.issparse()) or member.isdir())
        if member.isdir():
            continue
        found = _KEY.fullmatch(member.name)
        suffix = found[2].lower() if found else ""
        is_image = f".{suffix}" in IMAGE_SUFFIXES
        if found is None or not (is_image or suffix in ("cls", "json")):
            ignored[printable(f".{suffix}") if suffix else "no suffix"] += 1
            continue
        data = b""
        if member.size <= (MAX_FILE_BYTES if is_image else MAX_LABEL_BYTES):
            file = archive.extractfile(member)
            data = b"" if file is None else file.read()
        yield _Member(found[1], suffix, member.offset_data, data)


def _sample(group: Iterator[_Member], ignored: Counter[str]) -> tuple[_Member | None, str | None]:
    """The image and the label of one sample; `.cls` counts before `.json`."""
    image: _Member | None = None
    texts: dict[str, str | None] = {}
    for member in group:
        if member.suffix == "cls":
            texts["cls"] = _text(member.data)
        elif member.suffix == "json":
            texts["json"] = _field(member.data)
        elif image is None:
            image = member
        else:
            ignored[f"second image .{member.suffix}"] += 1
    return image, texts.get("cls") or texts.get("json")


def _text(data: bytes) -> str | None:
    try:
        return data.decode().strip()[:200] or None
    except UnicodeDecodeError:
        return None


def _field(data: bytes) -> str | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    value = next((found[name] for name in _LABELS_FIELDS if name in found), None) if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value)[:200] or None


class Shards(Parted):
    """The image files of all shards, by number (see `encoded.Files`)."""

    def name(self, number: int) -> str:
        part, at = self.find(number)
        return printable(f"{part.path}: sample {at} at byte {self.rows(part)[at]['offset']}")

    def fetch(self, number: int) -> bytes:
        return again(partial(self._one, number), partial(self.name, number))

    def _one(self, number: int) -> bytes:
        part, at = self.find(number)
        offset, length, crc, _ = self.rows(part)[at].item()
        # Opened for each sample, so that a file that is gone or another is found out, and none is left open.
        file = os.open(part.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # of a pipe, it would wait for ever
        try:
            data = os.pread(file, length, offset)
        finally:
            os.close(file)
        if zlib.crc32(data) != crc:
            raise Unlike
        return data
