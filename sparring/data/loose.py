"""Folders of images that are too large to be held in memory: each image is a file, read when it is asked for."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparring.core.free import free_bytes
from sparring.data.encoded import Seen, Unlike, again, form_of
from sparring.data.index import ROW, Indices, Part, Parted, Stamp
from sparring.data.index import Rows as Index
from sparring.data.limits import printable
from sparring.data.listing import choose, list_folder
from sparring.data.pixels import Refused, Size

SHARE = 0.4
"""Of the free memory, what a folder's images may take before they are read while they are used instead."""
_MOST_NAMED = 1000
_TRIED = 20


class Folder:
    """The images of a folder by name, ordered by path, with the class folders' names as labels.

    The names are held in memory, about a hundred bytes for each image. Raises `RequestError` as `listing.choose` does.
    """

    def __init__(self, root: Path, split: str, labels: str) -> None:
        listing = list_folder(root)
        chosen = choose(listing.names, split, labels, printable(str(root)))
        self.root = root
        self._positions = [at for at, _ in chosen.files]
        self._read = listing.read
        self.names = [listing.names[at] for at, _ in chosen.files]
        self.labels = [label for _, label in chosen.files]
        self.unreadable, self.ignored, self.notes = listing.unreadable, chosen.ignored, chosen.notes
        self.kind = f"folder-{split}-{labels}"
        self._sha256 = ""

    def indices(self) -> Indices:
        """Their index. What the images hash to is known once `index` has read them, and not before."""
        return Indices(self.kind, self.index, self.stamp, lambda _: self._sha256)

    def stamp(self, root: Path) -> Stamp:
        """The number of images, and a hash of the names, sizes and times of all of them."""
        found = hashlib.sha256()
        for name in self.names:
            try:
                info = os.stat(root / name)  # noqa: PTH116
                found.update(f"{name}\0{info.st_size}\0{info.st_mtime_ns}\0".encode("utf-8", "surrogatepass"))
            except OSError:
                found.update(f"{name}\0".encode("utf-8", "surrogatepass"))
        return str(len(self.names)), found.hexdigest()

    def index(self, root: Path) -> tuple[Index, dict[str, Any]]:
        """Each sound image, whose `offset` is its place among the names, and what is known of all (see
        `shards.index_shard`)."""
        seen, rows, refused = Seen.nothing(), [], [(printable(name), reason) for name, reason in self.unreadable]
        labels: dict[str, int] = {}
        counts: dict[str, int] = {}
        hashes = hashlib.sha256()
        for at, (_, read) in enumerate(self._read(self._positions)):
            name, label = self.names[at], self.labels[at]
            try:
                data = read()
                reason = seen.look(data)
            except (OSError, Refused) as error:
                reason = f"cannot be read ({error})" if isinstance(error, OSError) else str(error)
            if reason:
                refused.append((printable(name), printable(reason)))
                continue
            hashes.update(hashlib.sha256(data).digest() + label.encode("utf-8", "surrogatepass") + b"\0")
            number = labels.setdefault(label, len(labels)) if label else -1
            counts[label] = counts.get(label, 0) + 1
            rows.append((at, len(data), zlib.crc32(data), number))
        self._sha256 = hashes.hexdigest()
        about = {
            "seen": seen._asdict(),
            "labels": {label: counts[label] for label in labels},
            "unlabelled": counts.get("", 0),
            "refused": refused[:_MOST_NAMED],
            "num_refused": len(refused),
            "ignored": self.ignored,
        }
        return np.array(rows, ROW), json.loads(json.dumps(about))

    def takes(self, size: Size | None) -> int:
        """About how many bytes all images take as pixels, if all are like the first that can be read."""
        for _, read in self._read(self._positions[:_TRIED]):
            seen = Seen.nothing()
            try:
                reason = seen.look(read())
            except (OSError, Refused):
                continue
            if not reason:
                form = form_of(seen, size, "")
                return len(self.names) * form.size[0] * form.size[1] * form.channels * (2 if form.deep else 1)
        return 0


class FolderFiles(Parted):
    """The image files of a folder, by number (see `encoded.Files`)."""

    def __init__(self, folder: Folder, indices: Indices, parts: Sequence[Part], numbers: dict[str, int]) -> None:
        super().__init__(indices, parts, numbers)
        self.folder = folder

    def name(self, number: int) -> str:
        return printable(str(self._path(number)))

    def fetch(self, number: int) -> bytes:
        return again(partial(self._one, number), partial(self.name, number))

    def _path(self, number: int) -> Path:
        part, at = self.find(number)
        return self.folder.root / self.folder.names[int(self.rows(part)[at]["offset"])]

    def _one(self, number: int) -> bytes:
        part, at = self.find(number)
        _, length, crc, _ = self.rows(part)[at].item()
        path = self._path(number)
        if path.stat().st_size != length:
            raise Unlike
        data = path.read_bytes()
        if zlib.crc32(data) != crc:
            raise Unlike
        return data


def too_large(bytes_taken: int) -> bool:
    """Whether so many bytes are more than `SHARE` of the memory that is free."""
    return bytes_taken > SHARE * free_bytes()
