"""A checkpoint: tensors in one safetensors file, everything else in the JSON file that names and hashes it.

The JSON file is written last, so it is the mark of a whole checkpoint. Both go to a temporary name first, are flushed
to the disk and then renamed. At load the tensors are compared with their hash, because neither format notices a
flipped bit. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.files import read_json, write_atomically, write_json

FORMAT = 1


def save_checkpoint(folder: Path, images: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Writes `folder/<images>.safetensors` and `.json`; returns the JSON file's path."""
    folder.mkdir(exist_ok=True)
    name = f"{images:012d}"
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    write_atomically(folder / f"{name}.safetensors", content)
    path = folder / f"{name}.json"
    write_json(path, {"format": FORMAT, "images": images, "sha256": hashlib.sha256(content).hexdigest()} | meta)
    return path


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the rest of a checkpoint, from its JSON file's path.

    Raises `RequestError` when a file is missing, of another version, or not what was written.
    """
    meta = read_json(path)
    if meta.get("format") != FORMAT:
        raise RequestError(f"{path}: checkpoint format {meta.get('format')!r}, this version reads {FORMAT}")
    file = path.with_suffix(".safetensors")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RequestError(f"{file}: cannot be read ({error.strerror}); expected the tensors of {path.name}") from None
    if hashlib.sha256(content).hexdigest() != meta.get("sha256"):
        raise RequestError(f"{file}: damaged, its hash is not the one in {path.name}; use an older checkpoint")
    try:
        return load(content), meta
    except SafetensorError as error:
        raise RequestError(f"{file}: not a safetensors file ({error})") from None


def checkpoints(folder: Path) -> list[Path]:
    """The JSON files of all whole checkpoints, oldest first."""
    return sorted(p for p in folder.glob("*.json") if p.stem.isdigit() and p.with_suffix(".safetensors").exists())


def prune(folder: Path, keep: set[str]) -> None:
    """Removes all checkpoints but the newest two and those named (by stem) in `keep`."""
    for path in checkpoints(folder)[:-2]:
        if path.stem not in keep:
            path.unlink()
            path.with_suffix(".safetensors").unlink()
