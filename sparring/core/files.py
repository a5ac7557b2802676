"""Files that are whole or not there: written to a temporary name, flushed to the disk, renamed.

JSON that must be what was written is sealed: it holds a SHA-256 of all its own bytes, the hash itself read as zeros.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from sparring.core.errors import RequestError

MOST_JSON = 64 * 2**20
"""Bytes of a JSON file beyond which it is none of ours."""
SEAL = "json_sha256"
_UNSEALED = "0" * 64
_ESCAPED = "backslashreplace"
"""Of a file's name that is not UTF-8, Python's escapes are also those of JSON."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DamagedError(RequestError):
    """A file is not what was written; the message names it and says what is wrong with it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; an older one of that name stays until the new one is on the disk.

    Raises `OSError`, which names the file, and the bytes needed and free where there is no room.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritten(path, error, len(content)) from error
        raise


def append_line(path: Path, line: str) -> None:
    """Adds a line of JSON to a file, whole or not at all; it is safe from a power cut only after `flush`.

    Raises `OSError` as `write_atomically` does.
    """
    content = f"{line}\n".encode(errors=_ESCAPED)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.fstat(descriptor).st_size
            if os.write(descriptor, content) < len(content):  # what a disk does that is full halfway through
                os.ftruncate(descriptor, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unwritten(path, error, len(content)) from error


def flush(path: Path) -> None:
    """Returns when what was written to a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def unwritten(path: Path, error: OSError, needed: int) -> OSError:
    """The same error with the file's name; where there is no room, with the bytes needed and free."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _NO_ROOM:
        reason += f": {size_text(needed)} needed"
        with suppress(OSError):
            reason += f", {size_text(shutil.disk_usage(path.parent).free)} free"
    return OSError(error.errno or errno.EIO, reason, str(path))


def failure_text(error: OSError) -> str:
    """What could not be written or read, and why."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def remove_leftovers(folder: Path) -> int:
    """Removes what writes that were cut off left in a folder and those in it; returns how many there were.

    Only for the one that owns the folder: a write in progress looks the same.
    """
    found = [path for path in folder.rglob(".*.tmp") if re.fullmatch(r"\..+\.\d+\.tmp", path.name)]
    for path in found:
        path.unlink()
    return len(found)


def write_json(path: Path, data: Any) -> None:
    """Readable JSON, written atomically; NaN and infinity are refused."""
    write_atomically(path, _json(data))


def write_sealed(path: Path, data: dict[str, Any]) -> None:
    """Readable JSON that holds its own hash, written atomically; NaN and infinity are refused."""
    content = _json({SEAL: _UNSEALED} | data)
    digest = hashlib.sha256(content).hexdigest()
    write_atomically(path, content.replace(_UNSEALED.encode(), digest.encode(), 1))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises `DamagedError` when there is none."""
    return _parse(path, _read(path))


def read_sealed(path: Path) -> tuple[dict[str, Any], bool]:
    """A JSON object without its seal, and whether it has one: files older than seals have none.

    Raises `DamagedError` when there is none, or its seal is broken.
    """
    content = _read(path)
    data = _parse(path, content)
    seal = data.pop(SEAL, None)
    if seal is not None:
        unsealed = content.replace(str(seal).encode(), _UNSEALED.encode(), 1)
        if hashlib.sha256(unsealed).hexdigest() != seal:
            raise DamagedError(f"{path}: damaged, its content does not have the hash that it holds")
    return data, seal is not None


def size_text(size: int) -> str:
    """Bytes for people.

    >>> size_text(0), size_text(1500), size_text(2_340_000), size_text(51_000_000_000)
    ('0 B', '1.5 kB', '2.3 MB', '51.0 GB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def user_path(text: str) -> Path:
    """A path as a user types it: `~` is home. Raises `RequestError` where that of `~NAME` is not known."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise RequestError(f"{text}: the home folder that ~ stands for is not known; give the whole path") from None


def cache_folder() -> Path:
    """Where downloads and what can be computed again are kept: `$SPARRING_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("SPARRING_CACHE")
    if chosen:
        return user_path(chosen)
    import pooch  # only here: it is not needed where the folder is given

    return Path(pooch.os_cache("sparring"))


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode(errors=_ESCAPED)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_JSON + 1)
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > MOST_JSON:
        raise DamagedError(f"{path}: larger than {size_text(MOST_JSON)}, which no JSON of a run is")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of two values of one name readers take either, so none is right."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise DamagedError(f"{path}: expected a JSON object")
    return data
