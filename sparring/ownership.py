"""One owner of a run's folder at a time: whoever trains in it holds a lock, which the system lets go when it dies."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparring.core.errors import RequestError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that have no locks."""


@contextmanager
def owned(run: Path) -> Iterator[str | None]:
    """Within it nobody else trains in a run's folder; gives a warning where the file system has no locks, else None.

    The lock is flock's on the file `.lock`, which stays: what counts is who holds it, so a process that was killed
    leaves nothing to clean up. Raises `RequestError` while somebody else holds it, and `OSError` when the file cannot
    be made.
    """
    descriptor = os.open(run / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    owner, warning = os.getpid(), None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise RequestError(
                f"{run}: another process{f', {who},' if who.isdigit() else ''} is training in it; wait for it to end "
                "or stop it first"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            warning = f"the file system of {run} has no locks: see to it that nobody else trains in this folder"
        else:
            with suppress(OSError):  # on a full disk the lock still holds
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{owner}\n".encode(), 0)
        yield warning
    finally:
        if os.getpid() == owner:  # closing alone would leave the lock to processes that were forked meanwhile
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
