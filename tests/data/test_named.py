import functools
import gzip
import hashlib
import http.server
import io
import json
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparring.core.errors import RequestError
from sparring.data import named
from sparring.data.named import IdxSet, Remote, load_cifar10, load_digits, load_idx_set, load_named


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = np.random.RandomState(0).randint(0, 256, (6, 5, 4)).astype(np.uint8)
CONTENT = {"images.gz": idx(IMAGES), "labels.gz": idx(np.array([0, 1, 1, 0, 1, 0], np.uint8))}
PACKED = {name: gzip.compress(data, mtime=0) for name, data in CONTENT.items()}


def tiny(url: str = "http://127.0.0.1:9/", content: bool = True) -> IdxSet:
    remotes = [
        Remote(name, sha256(PACKED[name]), len(PACKED[name]), sha256(CONTENT[name]) if content else "")
        for name in PACKED
    ]
    return IdxSet("tiny", url, {"train": (remotes[0], remotes[1])}, ("a", "b"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path, list[str]]]:
    """A web server on this machine that ends with the test: its address, its folder, and the paths asked for."""
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    folder = tmp_path / "published"
    folder.mkdir()
    for name, data in PACKED.items():
        (folder / name).write_bytes(data)
    handler = type("Handler", (Quiet,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}/", folder, handler.asked
        finally:
            web.shutdown()
            thread.join(5)


def test_digits_are_all_there_in_a_fixed_split() -> None:
    from sklearn.datasets import load_digits as embedded

    train, test = load_digits("train"), load_digits("test")
    assert (len(train), len(test)) == (1500, 297)
    assert train.spec.shape == (1, 8, 8)
    assert train.spec.num_classes == 10
    together = np.concatenate([train.numpy(), test.numpy()])[..., 0]
    # Back to the 17 levels: the very same 1,797 pictures, each once.
    levels = np.array([[round(v * 255 / 16)] for v in range(17)])
    back = np.abs(together[..., None].astype(int) - levels[:, 0]).argmin(-1)
    assert sorted(map(bytes, back.astype(np.uint8))) == sorted(map(bytes, embedded().images.astype(np.uint8)))
    assert together.max() == 255
    assert set(np.unique(together)) <= set(levels[:, 0])
    assert min(train.report["classes"].values()) > 130
    assert load_digits("train").spec.sha256 == train.spec.sha256
    assert train.spec.sha256 == "5895a2b89d41f888d99e530cc93fd68126d8dd1d1dc8d0466deb55775a462e3a"


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'mnist'"):
        load_named("mnits")


@pytest.mark.parametrize("content", [True, False])
def test_a_set_is_downloaded_once_and_checked(away: Path, server: tuple[str, Path, list[str]], content: bool) -> None:
    url, _, asked = server
    for _ in range(2):
        source = load_idx_set(tiny(url, content), "train")
        assert np.array_equal(source.numpy()[..., 0], IMAGES)
        assert source.report["classes"] == {"a": 3, "b": 3}
    assert asked == ["/images.gz", "/labels.gz"]
    assert sorted(p.name for p in (away / "tiny").iterdir()) == ["images.gz", "labels.gz"]


def test_a_download_that_does_not_match_its_hash_is_not_used(away: Path, server: tuple[str, Path, list[str]]) -> None:
    url, folder, _ = server
    (folder / "images.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(RequestError, match=r"gave ValueError; download it \(SHA-256 ") as caught:
        load_idx_set(tiny(url), "train")
    assert str(away / "tiny") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((away / "tiny").iterdir()) == []


def test_offline_says_where_it_looked_and_what_to_do(
    away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path / "data"))
    with pytest.raises(RequestError) as caught:
        load_idx_set(tiny(), "train")
    text = str(caught.value)
    for part in (
        "tiny: images.gz",
        str(tmp_path / "data" / "tiny"),
        str(away / "tiny"),
        "http://127.0.0.1:9/images.gz",
    ):
        assert part in text
    assert "SPARRING_DATA" in text
    assert "\n" not in text


def test_own_data_come_before_the_cache_and_the_network(
    away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    # Recompressed or unpacked, the content's hash is what counts.
    (tmp_path / "tiny" / "images.gz").write_bytes(gzip.compress(CONTENT["images.gz"], 1))
    (tmp_path / "tiny" / "labels").write_bytes(CONTENT["labels.gz"])
    assert np.array_equal(load_idx_set(tiny(), "train").numpy()[..., 0], IMAGES)
    assert not away.exists()


@pytest.mark.parametrize("content", [True, False])
def test_own_data_that_do_not_match_are_refused(
    away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bool
) -> None:
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    for name, data in CONTENT.items():
        (tmp_path / "tiny" / name).write_bytes(gzip.compress(data[:-1] + b"\1"))
    with pytest.raises(RequestError, match=r"images.gz: .* SHA-256 .*, expected .*; delete it"):
        load_idx_set(tiny(content=content), "train")


# CIFAR-10


def records(count: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 10, (count, 3073)).astype(np.uint8)


def binary_archive(path: Path) -> list[np.ndarray]:
    batches = [records(4, i) for i in range(6)]
    with tarfile.open(path, "w:gz") as archive:
        for i in (3, 0, 5, 1, 2, 4):  # the order inside does not matter
            name = "test_batch.bin" if i == 5 else f"data_batch_{i + 1}.bin"
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = batches[i].nbytes
            archive.addfile(member, io.BytesIO(batches[i].tobytes()))
    return batches


def test_official_cifar_archive(away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "cifar-10-binary.tar.gz"
    batches = binary_archive(path)
    with pytest.raises(RequestError, match="expected c4a38c50a1bc5f3a"):
        load_cifar10("train")
    monkeypatch.setattr(named, "CIFAR10", Remote(path.name, sha256(path.read_bytes()), 1))
    train, test = load_named("cifar10"), load_named("cifar10", "test")
    assert (len(train), len(test)) == (20, 4)
    assert train.labels is not None
    assert train.labels[4] == batches[1][0, 0]
    assert train.spec.class_names[3] == "cat"
    # A record is its label, then red, green and blue planes, row by row.
    assert train.numpy()[4, 2, 7, 1] == batches[1][0, 1 + 1024 + 2 * 32 + 7]
    assert test.report["split"] == "test"


def jpeg_archive(path: Path) -> None:
    with tarfile.open(path, "w:xz") as archive:
        for i in range(6):
            out = io.BytesIO()
            Image.fromarray(np.full((32, 32, 3), 40 * i, np.uint8)).save(out, "JPEG")
            member = tarfile.TarInfo(f"cifar10-train/{('cat', 'dog')[i % 2]}/{i}.jpg")
            member.size = len(out.getvalue())
            archive.addfile(member, io.BytesIO(out.getvalue()))


def test_jpeg_cifar_is_decoded_once_and_a_corrupt_cache_is_rebuilt(
    away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    jpeg_archive(tmp_path / "cifar10" / "cifar10-train.tar.xz")
    from sparring.data import images

    decoded, original = [], images.load_images
    monkeypatch.setattr(images, "load_images", lambda path: decoded.append(path) or original(path))
    first = load_named("cifar10")
    assert first.report["classes"] == {"cat": 3, "dog": 3}
    assert first.spec.name == "cifar10"
    assert "not comparable" in first.report["notes"][-1]
    second = load_named("cifar10")
    assert len(decoded) == 1
    assert second.spec == first.spec
    assert second.report == first.report
    [kept] = (away / "decoded").iterdir()
    whole = kept.read_bytes()
    at = whole.find(first.numpy().tobytes()[:64])
    for broken in (b"", whole[:-40], whole[: at + 9] + b"\xff" + whole[at + 10 :], b"junk" * 40):
        kept.write_bytes(broken)
        assert load_named("cifar10").spec == first.spec
        assert load_named("cifar10").spec == first.spec
    assert len(decoded) == 5
    with np.load(kept) as arrays:
        swapped = dict(arrays) | {"labels": arrays["labels"][::-1]}
    np.savez(kept, **swapped)  # whole, but not what was decoded
    assert load_named("cifar10").spec == first.spec
    assert len(decoded) == 6


def test_an_unwritable_cache_is_only_noted(away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    jpeg_archive(tmp_path / "cifar10" / "cifar10-train.tar.xz")
    away.write_text("a file where the cache folder should be")
    source = load_named("cifar10")
    assert len(source) == 6
    assert "could not be kept" in source.report["notes"][-1]


@pytest.mark.mnist
def test_real_mnist_matches_its_hashes(real_mnist_root: Path, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_DATA", str(real_mnist_root))
    source = load_named("mnist", "test")
    assert len(source) == 10_000
    assert source.report["classes"]["1"] == 1135
    assert not away.exists()
    assert json.loads(json.dumps(source.report)) == source.report


@pytest.mark.mnist
def test_one_changed_byte_of_mnist_is_found(
    real_mnist_root: Path, away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "data" / "mnist"
    copy.mkdir(parents=True)
    shutil.copy(real_mnist_root / "mnist" / "t10k-labels-idx1-ubyte.gz", copy)
    images = bytearray(gzip.decompress((real_mnist_root / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()))
    images[1_000_000] ^= 1
    (copy / "t10k-images-idx3-ubyte").write_bytes(images)
    monkeypatch.setenv("SPARRING_DATA", str(copy.parent))
    with pytest.raises(RequestError, match="expected 0fa7898d509279e482958e8ce81c8e77"):
        load_named("mnist", "test")


def test_named_sets_import_no_more_than_they_need() -> None:
    code = (
        "import sys, sparring.data.open, sparring.data.named;"
        "print([m for m in ('PIL', 'sklearn', 'pooch', 'requests') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
