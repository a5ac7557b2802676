"""IDX files, the form in which MNIST and its relatives are published, plain or gzipped.

Two zero bytes, a type byte, the number of dimensions, each dimension as a big-endian uint32, then the values (LeCun,
Cortes and Burges, "The MNIST database of handwritten digits"). Only type 0x08, unsigned bytes, is read: all published
image sets of this form use it.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from sparring.core.errors import RequestError
from sparring.data.limits import DEFLATE_RATIO, max_bytes, printable
from sparring.data.tensors import Resident, from_arrays

IMAGES_NAME = re.compile(r"images[-.]idx[34]-ubyte(\.gz)?$")


def read_idx(path: Path, sha256: str = "") -> NDArray[np.uint8]:
    """The array of one IDX file. `sha256`, if given, is the expected SHA-256 of the uncompressed bytes.

    Raises `RequestError` for anything but a header and exactly the bytes that it promises; nothing is allocated on the
    word of a header that the file's size contradicts.
    """
    name = printable(str(path))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if path.suffix != ".gz":
                return _read(file, name, sha256, size)
            with gzip.open(file) as unpacked:
                return _read(cast(BinaryIO, unpacked), name, sha256, size * DEFLATE_RATIO)
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(f"{name}: cannot be read ({error}); fetch the file again") from None


def _read(file: BinaryIO, name: str, sha256: str, most: int) -> NDArray[np.uint8]:
    header = file.read(4)
    if len(header) < 4 or header[:2] != b"\0\0":
        raise RequestError(f"{name}: not an IDX file; expected it to start with two zero bytes, a type and a rank")
    if header[2] != 8:
        raise RequestError(f"{name}: IDX values of type 0x{header[2]:02x}; expected 0x08, unsigned bytes")
    rank = header[3]
    if not 1 <= rank <= 4:
        raise RequestError(f"{name}: IDX array of {rank} dimensions; expected 1 (labels) to 4")
    sides = file.read(4 * rank)
    if len(sides) < 4 * rank:
        raise RequestError(f"{name}: IDX header ends early; fetch the file again")
    shape = struct.unpack(f">{rank}I", sides)
    count = math.prod(shape)
    if count == 0:
        raise RequestError(f"{name}: IDX array of shape {list(shape)} holds nothing")
    if count > most or count > max_bytes():
        raise RequestError(
            f"{name}: the header promises {count} bytes for shape {list(shape)}, more than the file can hold"
        )
    values = bytearray(count)
    view, filled = memoryview(values), 0
    while filled < count and (read := file.readinto(view[filled:])):  # type: ignore[attr-defined]
        filled += read
    if filled < count or file.read(1):
        found = f"only {filled}" if filled < count else "more"
        raise RequestError(f"{name}: shape {list(shape)} needs {count} bytes, found {found}; fetch the file again")
    if sha256:
        content = hashlib.sha256(header + sides)
        content.update(values)
        if content.hexdigest() != sha256:
            raise RequestError(
                f"{name}: its content has SHA-256 {content.hexdigest()}, expected {sha256}; delete it and fetch it "
                "again"
            )
    return np.frombuffer(values, np.uint8).reshape(shape)


def images_in(folder: Path) -> list[Path]:
    """The IDX image files of a folder, by their usual names, in sorted order."""
    return sorted(p for p in folder.iterdir() if IMAGES_NAME.search(p.name) and p.is_file())


def labels_beside(images: Path) -> Path | None:
    """The labels file that belongs to an images file: `images-idx3` becomes `labels-idx1`, gzipped or not."""
    stem = images.name.removesuffix(".gz")
    stem = re.sub(r"images([-.])idx[34]-ubyte$", r"labels\1idx1-ubyte", stem)
    for name in (stem + ".gz", stem) if images.suffix == ".gz" else (stem, stem + ".gz"):
        if name != images.name and (images.parent / name).is_file():
            return images.parent / name
    return None


def load_idx(path: Path, split: str = "train") -> Resident:
    """The images of an IDX file, or of the folder's file for a split (`train-*`; `t10k-*` or `test-*`), with the labels
    beside it, if there are any.

    Raises `RequestError` for a damaged file, a missing split, or labels that do not fit.
    """
    images = _choose(path, split) if path.is_dir() else path
    labels = labels_beside(images)
    x = read_idx(images)
    if x.ndim < 3:
        raise RequestError(
            f"{printable(str(images))}: IDX array of shape {list(x.shape)}; expected images [N,H,W]: "
            "name the images file, its labels are found beside it"
        )
    if x.ndim == 3:
        x = x[..., None]
    y: NDArray[Any] | None = None
    if labels is not None:
        y = read_idx(labels)
        if y.shape != (len(x),):
            raise RequestError(
                f"{printable(str(labels))}: labels of shape {list(y.shape)} for {len(x)} images; expected [{len(x)}]"
            )
    source = from_arrays(x, y, name=printable(path.name))
    source.report["kind"] = "IDX"
    if labels is None:
        source.report["notes"].append("no labels file lies beside the images: training is unconditional")
    return source


def _choose(folder: Path, split: str) -> Path:
    words = ("train",) if split == "train" else ("t10k", "test")
    found = images_in(folder)
    fitting = [p for p in found if any(word in p.name for word in words)]
    unnamed = [p for p in found if not any(word in p.name for word in ("train", "t10k", "test"))]
    if not fitting and split == "train":
        fitting = unnamed
    if len(fitting) != 1:
        names = ", ".join(printable(p.name) for p in found)
        raise RequestError(
            f"{printable(str(folder))}: expected one IDX images file for split {split!r}, found {len(fitting)} "
            f"among {names}; name the file itself"
        )
    return fitting[0]
