from __future__ import annotations

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sparring.core.download import fetch

CONTENT = bytes(range(256)) * 20
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the content; /endless never ends, /cut ends early, /elsewhere leads to the content."""

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/content")
            self.end_headers()
            return
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        try:
            self.wfile.write(CONTENT[:100] if self.path == "/cut" else CONTENT)
            while self.path == "/endless":
                self.wfile.write(CONTENT * 100)
        except (BrokenPipeError, ConnectionResetError):
            pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            patch.delenv(proxy, raising=False)
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join(5)


@pytest.mark.parametrize("name", ["content", "elsewhere"])
def test_the_file_is_there_when_size_and_hash_fit(address: str, name: str, tmp_path: Path) -> None:
    fetch(f"{address}/{name}", HASH, len(CONTENT), tmp_path / "kept" / "file")
    assert (tmp_path / "kept" / "file").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "sha256", "most", "error"),
    [
        ("content", "0" * 64, len(CONTENT), "does not match the known hash"),
        ("content", HASH, len(CONTENT) - 1, "gives more than 5,119 bytes"),
        ("endless", HASH, 1_000_000, "gives more than 1,000,000 bytes"),
        ("cut", HASH, len(CONTENT), "IncompleteRead"),
    ],
)
def test_else_nothing_is(address: str, name: str, sha256: str, most: int, error: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError), match=error):
        fetch(f"{address}/{name}", sha256, most, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_safe_line_is_not_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lead(*_: object, **__: object) -> requests.Response:
        found, step = requests.Response(), requests.Response()
        found.status_code, found.raw = 200, io.BytesIO(CONTENT)
        found.url, step.url = "http://open.example/file", "https://safe.example/file"
        found.history = [step]
        return found

    monkeypatch.setattr(requests, "get", lead)
    with pytest.raises(ValueError, match="leads away from https"):
        fetch("https://safe.example/file", HASH, 1000, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
