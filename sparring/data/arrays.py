"""Arrays saved by numpy: `.npy` holds samples, `.npz` samples and labels. Nothing is ever unpickled.

A header is believed only when the bytes behind it are there: numpy itself would allocate first.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sparring.core.errors import RequestError
from sparring.data.limits import max_bytes, max_unpacked, printable
from sparring.data.tensors import Resident, from_arrays

SAMPLE_KEYS = ("images", "x")
LABEL_KEYS = ("labels", "y")


def load_array(path: Path, split: str = "train") -> Resident:
    """Samples of a `.npy` file, or samples and labels of a `.npz` file, laid out as `from_arrays` expects of numpy.

    In a `.npz` the samples are `x_train` or `x_test` by split, else `images`, `x`, or the first array; the labels are
    `y_train` or `y_test`, else `labels` or `y`; they may also be conditions. Raises
    `RequestError` for damaged files, object arrays, headers that promise more than the file holds, and anything that
    `from_arrays` refuses.
    """
    name = printable(str(path))
    notes: list[str] = []
    try:
        x, y = read_npz(path, name, split, notes) if path.suffix == ".npz" else (read_npy(path, name, split), None)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError) as error:
        if isinstance(error, RequestError):
            raise
        reason = printable(str(error).split(". ")[0][:200])
        raise RequestError(f"{name}: not a readable {path.suffix} file ({reason}); save it again with numpy") from None
    source = from_arrays(x, y, name=name)
    spec = source.spec.replace(name=printable(path.name))
    source.report.update(kind=path.suffix[1:], notes=[*notes, *source.report["notes"]])
    return Resident(source.images, source.labels, spec, source.report)


def read_npy(path: Path, name: str, split: str) -> NDArray[Any]:
    """The array of a `.npy` file, mapped or read; raises `RequestError`, which calls the file `name`."""
    if split != "train":
        raise RequestError(f"{name}: a .npy file has no split {split!r}; name the file that holds it")
    with path.open("rb") as file:
        return _array(file, path.stat().st_size, name)


def read_npz(path: Path, name: str, split: str, notes: list[str]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The samples and, where there are some, the labels of a `.npz` file; what was chosen is added to `notes`. Raises
    `RequestError`, which calls the file `name`."""
    with zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist() if m.filename.endswith(".npy")}
        unpacked = sum(m.file_size for m in members.values())
        if unpacked > max_unpacked(path.stat().st_size):
            raise RequestError(f"{name}: claims to unpack to {unpacked} bytes, too many for its size; save it again")
        keys = [printable(k) for k in members]
        sample_key = next((k for k in (f"x_{split}", *SAMPLE_KEYS) if k in members), None)
        if split != "train" and sample_key != f"x_{split}":
            raise RequestError(f"{name}: has no array 'x_{split}' for split {split!r}, only {', '.join(keys)}")
        if sample_key is None:
            sample_key = next((k for k in members if k not in LABEL_KEYS), None)
            if sample_key is None:
                raise RequestError(f"{name}: holds no samples; expected an array named 'images' (and 'labels')")
            notes.append(f"no array is named 'images' or 'x': samples are the first one, {printable(sample_key)!r}")
        label_keys = (f"y_{split}",) if sample_key == f"x_{split}" else LABEL_KEYS
        label_key = next((k for k in label_keys if k in members), None)
        arrays = []
        for key in (sample_key, label_key):
            if key is not None:
                with archive.open(members[key]) as file:
                    arrays.append(_array(file, members[key].file_size, f"{name}: {printable(key)}"))
        left = [k for k in keys if k not in (sample_key, label_key)]
        if left:
            notes.append(f"arrays not used: {', '.join(left)}")
    return arrays[0], arrays[1] if len(arrays) > 1 else None


def _array(file: IO[bytes], size: int, name: str) -> NDArray[Any]:
    """One array in .npy form from a file of `size` bytes."""
    head = file.read(12)
    version = head[6:8]
    if head[:6] != npy.MAGIC_PREFIX or version not in (b"\1\0", b"\2\0"):
        raise RequestError(f"{name}: not an array saved by numpy (format 1.0 or 2.0); save it again with np.save")
    # The header's length takes 2 bytes in format 1.0 and 4 in 2.0; what belongs to the header is put back in front.
    width = 2 if version == b"\1\0" else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    if length > 10_000:
        raise RequestError(f"{name}: a header of {length} bytes is not one that numpy writes; save it again")
    if len(head) < 12:
        raise RequestError(f"{name}: ends within its header; save the array again")
    header = head[8:] + file.read(max(0, length + width - 4))
    reader = npy.read_array_header_1_0 if width == 2 else npy.read_array_header_2_0
    try:
        shape, fortran_order, dtype = reader(io.BytesIO(header))
    except Exception as error:  # numpy parses the header as a Python literal: hostile text fails in any way
        raise RequestError(f"{name}: its header is not one that numpy writes ({type(error).__name__})") from None
    if dtype.kind not in "buif":
        raise RequestError(
            f"{name}: an array of type {dtype} is not read; expected numbers "
            "(uint8, uint16 or floats in [-1, 1] for samples, integers for labels)"
        )
    count = math.prod(shape)
    claimed, there = count * dtype.itemsize, size - 8 - width - length
    if claimed != there or claimed > max_bytes():
        raise RequestError(
            f"{name}: the header promises {claimed} bytes for shape {list(shape)} of {dtype}, found {there}; "
            "save the array again"
        )
    if count == 0:
        raise RequestError(f"{name}: an array of shape {list(shape)} holds nothing")
    values = bytearray(claimed)
    view, filled = memoryview(values), 0
    while filled < claimed and (chunk := file.read(min(claimed - filled, 2**24))):
        view[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    if filled < claimed:
        raise RequestError(f"{name}: {filled} of {claimed} bytes are there; save the array again")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran_order else "C")
