"""Files that are whole or absent: written beside their place under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sparring.core.errors import RequestError


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path`, making its folder where needed; whoever reads there sees the old file or the new one.

    Raises `RequestError` naming the path when the place cannot be written or the disk is full; an older file at `path`
    is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # without it a crash can leave the new name on an empty file
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)  # after an interruption too


def unwritable(path: Path, error: OSError) -> RequestError:
    """The one line for a place that cannot be written."""
    reason = error.strerror or str(error) or type(error).__name__
    return RequestError(f"{path} cannot be written ({reason}): free some space there or choose a writable folder")
