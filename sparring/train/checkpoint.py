"""A checkpoint: tensors in one safetensors file, everything else in the JSON file that names and hashes it.

The JSON file is written last, so it is the mark of a whole checkpoint. Both go to a temporary name first, are flushed
to the disk and then renamed. The JSON holds the hash of the tensors and one of itself, because neither format notices a
flipped bit; both are compared at load, and so are the tensors' names, types and shapes, before any of them is made.
Nothing is ever unpickled.

Formats: 1 has no hash of the JSON. 2 has, and every later one must have it too, so that what is newer can be told from
what is damaged.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.files import DamagedError, read_sealed, size_text, write_atomically, write_sealed

FORMAT = 2
MOST_TENSORS, MOST_HEADER = 100_000, 16 * 2**20
"""Tensors, and bytes of the header that lists them, beyond which a file is none of ours."""
_STEM = re.compile("[0-9]{12,15}")
_TYPES = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "I16": ("int16", 2),
    "I32": ("int32", 4),
    "I64": ("int64", 8),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F32": ("float32", 4),
    "F64": ("float64", 8),
}
"""Of the types that tensors are stored in: torch's name, and bytes of one value."""


def save_checkpoint(folder: Path, images: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Writes `folder/<images>.safetensors` and `.json`; returns the JSON file's path."""
    folder.mkdir(exist_ok=True)
    name = f"{images:012d}"
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    write_atomically(folder / f"{name}.safetensors", content)
    path = folder / f"{name}.json"
    digest = hashlib.sha256(content).hexdigest()
    write_sealed(path, {"format": FORMAT, "images": images, "bytes": len(content), "sha256": digest} | meta)
    return path


def load_checkpoint(
    path: Path, expected: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the rest of a checkpoint, from its JSON file's path.

    Every tensor of `expected` must be there, in that type and shape; others may be there too. Raises `DamagedError`
    when a file is missing or not what was written, and `RequestError` for a format of a newer version.
    """
    meta = read_meta(path)
    file = path.with_suffix(".safetensors")
    try:
        size = file.stat().st_size
        if size != meta.get("bytes", size):
            raise DamagedError(f"{file}: damaged, it has {size:,} bytes instead of {meta['bytes']:,}")
        content = file.read_bytes()
    except OSError as error:
        raise DamagedError(f"{file}: cannot be read ({error.strerror}); expected the tensors of {path.name}") from None
    if hashlib.sha256(content).hexdigest() != meta["sha256"]:
        raise DamagedError(f"{file}: damaged, its hash is not the one in {path.name}")
    found = _header(file, content)
    for name, tensor in (expected or {}).items():
        asked = (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        if found.get(name) != asked:
            shown = "missing" if name not in found else "{} of shape {}".format(*found[name])
            raise DamagedError(
                f"{file}: does not fit the recipe: {name} is {shown}, expected {asked[0]} of shape {asked[1]}"
            )
    try:
        return load(content), meta
    except SafetensorError as error:
        raise DamagedError(f"{file}: not a safetensors file ({error})") from None


def read_meta(path: Path) -> dict[str, Any]:
    """All of a checkpoint but its tensors, in the present format; raises as `load_checkpoint` does."""
    if not path.exists() and path.with_suffix(".safetensors").exists():
        raise DamagedError(f"{path.with_suffix('.safetensors')}: unfinished, {path.name} was never written beside it")
    meta, sealed = read_sealed(path)
    version = meta.get("format")
    if version != FORMAT and sealed:
        raise RequestError(
            f"{path}: checkpoint of format {version!r:.40}, this version reads formats up to {FORMAT}; use the version "
            "of sparring that wrote it, or a newer one"
        )
    if not sealed:
        if version != 1:
            raise DamagedError(f"{path}: damaged, it holds no hash of itself")
        meta = _from_format_1(meta, path)
    images = meta.get("images")
    if type(images) is not int or images != int(path.stem) or not isinstance(meta.get("sha256"), str):
        raise DamagedError(f"{path}: not the checkpoint that its name says: it holds images {images!r:.40}")
    if not isinstance(meta.get("bytes", 0), int):  # format 1 has none
        raise DamagedError(f"{path}: damaged, it says that its tensors have {meta['bytes']!r:.40} bytes")
    return meta


def _from_format_1(meta: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content of format 1 in that of format 2.

    The first ledgers of scores knew the best value alone, not the leaders; which checkpoint had it is in `best.json`.
    """
    scores = meta.get("scores")
    if isinstance(scores, dict) and "leaders" not in scores:
        scores = dict(scores)
        value, best = scores.pop("best", None), named_best(path.parent)
        scores["leaders"] = [] if value is None or best is None else [[best, value]]
        meta = meta | {"scores": scores}
    return meta | {"format": FORMAT}


def _header(file: Path, content: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Types and shapes by name; raises `DamagedError` for a header that lists anything but the bytes that follow it."""
    length = int.from_bytes(content[:8], "little")
    if length > min(MOST_HEADER, len(content) - 8):
        raise DamagedError(f"{file}: its header claims {size_text(length)} of {size_text(len(content))}")
    try:
        listed = json.loads(content[8 : 8 + length])
        listed.pop("__metadata__", None)
        found, total = {}, 0
        for name, entry in listed.items():
            kind, size = _TYPES[entry["dtype"]]
            shape = tuple(int(side) for side in entry["shape"])
            if min(shape, default=0) < 0:
                raise ValueError(f"{name!r:.40} has the shape {shape}")
            found[name] = kind, shape
            total += size * math.prod(shape)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"{file}: not a safetensors file ({type(error).__name__}: {error})") from None
    if len(found) > MOST_TENSORS or total != len(content) - 8 - length:
        raise DamagedError(
            f"{file}: lists {len(found):,} tensors of {size_text(total)} in {size_text(len(content) - 8 - length)}"
        )
    return found


def name_best(folder: Path, images: int) -> None:
    """From now on `best` means the checkpoint at so many images."""
    write_sealed(folder / "best.json", {"checkpoint": f"{images:012d}"})


def named_best(folder: Path) -> int | None:
    """The images of the checkpoint that is named the best; None where none is, or what names it is damaged."""
    try:
        found = read_sealed(folder / "best.json")[0].get("checkpoint")
    except DamagedError:
        return None
    return int(found) if isinstance(found, str) and _STEM.fullmatch(found) else None


def checkpoints(folder: Path) -> list[Path]:
    """The JSON files of all checkpoints, oldest first, whole or not, also where one is missing beside its tensors."""
    found = {path.stem for suffix in ("json", "safetensors") for path in folder.glob(f"*.{suffix}")}
    return [folder / f"{stem}.json" for stem in sorted(found) if _STEM.fullmatch(stem)]


def prune(folder: Path, keep: set[str], damaged: set[str]) -> None:
    """Removes all checkpoints but the newest two and those named (by stem) in `keep`.

    What is `damaged` is neither counted nor removed.
    """
    for path in [path for path in checkpoints(folder) if path.stem not in damaged][:-2]:
        if path.stem not in keep:
            path.unlink(missing_ok=True)
            path.with_suffix(".safetensors").unlink(missing_ok=True)
