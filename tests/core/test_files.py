from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from sparring.core import files
from sparring.core.errors import RequestError
from sparring.core.files import (
    DamagedError,
    append_line,
    failure_text,
    flush,
    read_json,
    read_sealed,
    remove_leftovers,
    user_path,
    write_atomically,
    write_json,
    write_sealed,
)


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failing_write_leaves_the_old_file_and_says_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as failed:
        write_atomically(path, bytes(2500))
    assert failed.value.errno == errno.ENOSPC
    assert failure_text(failed.value).startswith(f"{path}: No space left on device: 2.5 kB needed, ")
    assert failure_text(failed.value).endswith("B free")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_flushed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_text("a\n")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as failed:
        flush(tmp_path / "log")
    assert failure_text(failed.value) == f"{tmp_path / 'log'}: No space left on device"


def test_what_cannot_be_made_is_named_without_talk_of_room(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotADirectoryError) as failed:
        write_atomically(tmp_path / "file" / "below", b"x")
    assert failure_text(failed.value) == f"{tmp_path / 'file' / 'below'}: Not a directory"


def test_interrupted_writes_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


def test_lines_are_appended_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    append_line(path, "ä")
    append_line(path, "b")
    assert path.read_bytes() == "ä\nb\n".encode()
    write = os.write
    monkeypatch.setattr(files.os, "write", lambda descriptor, content: write(descriptor, content[:3]))
    with pytest.raises(OSError, match="6 B needed"):
        append_line(path, "later")
    assert path.read_bytes() == "ä\nb\n".encode()
    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        append_line(path, "later")
    assert path.read_bytes() == "ä\nb\n".encode()


def test_names_that_are_not_utf_8_come_back(tmp_path: Path) -> None:
    """They are written as JSON's own escapes, so every reader of JSON takes the file."""
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "a.json", {name: name})
    assert read_json(tmp_path / "a.json") == {name: name}
    append_line(tmp_path / "log", json.dumps([name], ensure_ascii=False))
    assert (tmp_path / "log").read_bytes() == b'["caf\\udce9"]\n'


def test_whose_home_is_not_known_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/x") == tmp_path / "x"
    with pytest.raises(RequestError, match="~nobody-of-that-name/x: the home folder"):
        user_path("~nobody-of-that-name/x")


def test_only_leftovers_of_ours_are_removed(tmp_path: Path) -> None:
    ours = [".recipe.json.12.tmp", "samples/.000.png.7.tmp"]
    others = [".mine.tmp", "recipe.json.12.tmp", ".recipe.json.12.tmpx", "a.tmp"]
    (tmp_path / "samples").mkdir()
    for name in ours + others:
        (tmp_path / name).write_text("x")
    assert remove_leftovers(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "samples"])
    assert list((tmp_path / "samples").iterdir()) == []


def test_json_round_trip_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ä": [1, 2.5, None]})
    assert read_json(path) == {"ä": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"ä": [1, 2.5, None]}


def test_a_seal_is_a_hash_that_others_can_check(tmp_path: Path) -> None:
    """SHA-256 of the file with the 64 digits of the hash as zeros; other zeros in it do no harm."""
    path = tmp_path / "a.json"
    content = {"a": 1, "zeros": "0" * 64}
    write_sealed(path, content)
    assert read_sealed(path) == (content, True)
    seal = json.loads(path.read_text())["json_sha256"]
    unsealed = path.read_bytes().replace(seal.encode(), b"0" * 64)
    assert hashlib.sha256(unsealed).hexdigest() == seal
    path.write_bytes(path.read_bytes().replace(b": 1", b": 2"))
    with pytest.raises(DamagedError, match=r"a\.json: damaged"):
        read_sealed(path)
    write_json(path, content)
    assert read_sealed(path) == (content, False)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": 1, "a": 1}', b"\xff\xfe", b"[1]", b"[" * 100_000, b'{"a": 1' + b"1" * 5000 + b"}"]
)
def test_what_is_no_json_object_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"a\.json"):
        read_json(path)


def test_only_so_much_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_JSON", 10)
    (tmp_path / "a.json").write_text('{"a": 123}')
    assert read_json(tmp_path / "a.json") == {"a": 123}
    (tmp_path / "a.json").write_text('{"a": 1234}')
    with pytest.raises(DamagedError, match="larger than 10 B"):
        read_json(tmp_path / "a.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"gone\.json: cannot be read"):
        read_json(tmp_path / "gone.json")
