"""Pictures are whole or absent, and one that cannot be written is named."""

from __future__ import annotations

from pathlib import Path

from sparring.core.errors import RequestError
from sparring.core.files import write_atomically


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path` atomically, making its folder where needed.

    Raises `RequestError` naming the path when the place cannot be written or the disk is full; an older file at `path`
    is then as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> RequestError:
    """The one line for a place that cannot be written."""
    reason = error.strerror or str(error) or type(error).__name__
    return RequestError(f"{path} cannot be written ({reason}): free some space there or choose a writable folder")
