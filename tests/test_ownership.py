"""Who holds a run's folder, and until when."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from sparring.core.errors import RequestError
from sparring.ownership import owned


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    with owned(tmp_path) as warning:
        assert (
            warning == f"the file system of {tmp_path} has no locks: see to it that nobody else trains in this folder"
        )


def test_a_process_that_was_forked_meanwhile_does_not_keep_the_folder(tmp_path: Path) -> None:
    with owned(tmp_path):
        pid = os.fork()
        if pid == 0:
            signal.pause()
    try:
        with owned(tmp_path) as warning:
            assert warning is None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_process_that_was_forked_and_ends_does_not_give_the_folder_away(tmp_path: Path) -> None:
    holder = owned(tmp_path)
    holder.__enter__()
    pid = os.fork()
    if pid == 0:
        holder.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(RequestError, match=f"another process, {os.getpid()}, is training in it"), owned(tmp_path):
        pass
    holder.__exit__(None, None, None)
    with owned(tmp_path):
        pass
