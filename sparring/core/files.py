"""Files that are whole or not there: written to a temporary name, flushed to the disk, renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sparring.core.errors import RequestError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; an older one of that name stays until the new one is on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, data: Any) -> None:
    """Readable JSON, written atomically; NaN and infinity are refused."""
    write_atomically(path, (json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


def cache_folder() -> Path:
    """Where downloads and what can be computed again are kept: `$SPARRING_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("SPARRING_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch  # only here: it is not needed where the folder is given

    return Path(pooch.os_cache("sparring"))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises `RequestError` when there is none."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RequestError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise RequestError(f"{path}: expected a JSON object")
    return data
