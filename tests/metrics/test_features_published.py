import functools
import hashlib
import http.server
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from sparring.core.errors import RequestError
from sparring.metrics.features import clip, dinov2, inception
from sparring.metrics.features.published import Published, read_published

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(7)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is served on this machine, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()
        thread.join()


def put(path: Path) -> str:
    """Tensors in that file; its hash."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_downloaded_once_and_said_so(
    name: str, server: tuple[Path, str], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = server
    known = Published(name, url + name, put(folder / name), 12)
    found = read_published(known)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)
    assert capsys.readouterr().err == f"downloading {name} (12 MB) from {url}{name}\n"
    (folder / name).unlink()
    assert torch.equal(read_published(known)["a.weight"], TENSORS["a.weight"])
    assert capsys.readouterr().err == ""
    assert [path.name for path in (cache / "networks").iterdir()] == [name]


def test_a_download_of_another_hash_is_not_kept(server: tuple[Path, str], cache: Path, never_read: None) -> None:
    folder, url = server
    put(folder / "net.pth")
    known = Published("net.pth", f"{url}net.pth", "0" * 64, 1)
    with pytest.raises(RequestError, match=r"net.pth: http.* gave other bytes; download it \(SHA-256 000"):
        read_published(known)
    assert list((cache / "networks").iterdir()) == []


def test_a_download_that_fails_says_where_to_put_the_file(server: tuple[Path, str], cache: Path) -> None:
    _, url = server
    known = Published("net.pth", f"{url}net.pth", "0" * 64, 1)
    with pytest.raises(RequestError, match=r"net.pth gave HTTPError; download it .* to .*cache/networks/net.pth$"):
        read_published(known)
    closed = known._replace(url="http://127.0.0.1:1/net.pth")
    with pytest.raises(RequestError, match="gave ConnectionError; download it"):
        read_published(closed)


@pytest.fixture
def never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("read before its hash was found to fit")

    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr(safetensors.torch, "load", never)


def test_files_in_torch_s_older_form_are_read_too(cache: Path) -> None:
    """Inception's weights were published in 2020, before files were zip archives for all."""
    path = cache / "networks" / "net.pth"
    path.parent.mkdir(parents=True)
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    known = Published("net.pth", "http://127.0.0.1:1/", hashlib.sha256(path.read_bytes()).hexdigest(), 1)
    assert torch.equal(read_published(known)["a.weight"], TENSORS["a.weight"])


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_bytes_of_another_hash_are_never_read(name: str, cache: Path, never_read: None) -> None:
    (cache / "networks").mkdir(parents=True)
    found = put(cache / "networks" / name)
    with pytest.raises(RequestError, match=f"{name}: has SHA-256 {found}, expected 000"):
        read_published(Published(name, "http://127.0.0.1:1/", "0" * 64, 1))


def test_even_with_the_right_hash_only_tensors_are_built(cache: Path, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = cache / "networks" / "net.pth"
    path.parent.mkdir(parents=True)
    torch.save({"a": Runs()}, path)
    known = Published("net.pth", "http://127.0.0.1:1/", hashlib.sha256(path.read_bytes()).hexdigest(), 1)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        read_published(known)
    assert not (tmp_path / "ran").exists()


def test_all_known_files_have_whole_hashes_and_secure_addresses() -> None:
    every = [inception.WEIGHTS, *clip.WEIGHTS.values(), *dinov2.WEIGHTS.values()]
    assert len({known.file for known in every}) == len({known.sha256 for known in every}) == len(every)
    for known in every:
        assert len(bytes.fromhex(known.sha256)) == 32
        assert known.url.startswith("https://")
