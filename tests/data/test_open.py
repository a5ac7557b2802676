import gzip
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.core.errors import RequestError
from sparring.core.protocols import Source
from sparring.core.spec import from_json, to_json
from sparring.data.open import Data, describe, parse_size
from sparring.data.tensors import from_arrays

Png = Callable[..., bytes]


def folder(root: Path, png: Png, count: int = 4, shape: tuple[int, ...] = (24, 40, 3)) -> Path:
    for i in range(count):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[i % 2] / f"{i:03}.png").write_bytes(png(i, shape))
    return root


def test_every_kind_of_source_opens(tmp_path: Path, png: Png) -> None:
    root = folder(tmp_path / "pictures", png)
    with zipfile.ZipFile(tmp_path / "a.ZIP", "w") as archive:
        for path in sorted(root.rglob("*.png")):
            archive.write(path, path.relative_to(root))
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.uint8))
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4), np.uint8), y=np.array([0, 1, 1]))
    images = np.zeros((3, 4, 5), np.uint8)
    (tmp_path / "idx").mkdir()
    data = b"\0\0\x08\3" + struct.pack(">III", 3, 4, 5) + images.tobytes()
    (tmp_path / "idx" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(data))
    expected = {
        "pictures": ("folder of images", (3, 24, 40), 2),
        "a.ZIP": ("zip of images", (3, 24, 40), 2),
        "a.npy": ("npy", (4,), 0),
        "a.npz": ("npz", (4,), 2),
        "idx": ("IDX", (1, 4, 5), 0),
        "idx/train-images-idx3-ubyte.gz": ("IDX", (1, 4, 5), 0),
    }
    for name, (kind, shape, num_classes) in expected.items():
        source = Data(source=str(tmp_path / name)).load()
        assert isinstance(source, Source)
        assert (source.report["kind"], source.spec.shape, source.spec.num_classes) == (kind, shape, num_classes)
        assert source.report["source"] == str(tmp_path / name)
        assert source.report["seconds"] >= 0
        json.dumps(source.report)
    assert Data(source="digits", split="test").load().report["count"] == 297


def test_it_survives_json(tmp_path: Path) -> None:
    data = Data(source="digits", split="test", size=(24, 40), labels="ignore")
    assert from_json(json.loads(json.dumps(to_json(data)))) == data
    assert Data(source="x").with_path("size", "[24, 40]").size == (24, 40)
    with pytest.raises(RequestError, match="expected 'train' or 'test'"):
        data.with_path("split", "val")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mnits", "mnits: no such file or folder, and no known set; did you mean 'mnist'"),
        ("/nowhere/at/all", "no such file or folder"),
        ("", "no such file or folder|no images"),
    ],
)
def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=message):
        Data(source=source).load()


def test_other_files_are_refused(tmp_path: Path, png: Png) -> None:
    (tmp_path / "a.json").write_text("[1, 2]")
    with pytest.raises(RequestError, match="a kind of file that is not read; expected a folder of images"):
        Data(source=str(tmp_path / "a.json")).load()
    (tmp_path / "a.png").write_bytes(png(0))
    with pytest.raises(RequestError, match="one image only; expected a folder"):
        Data(source=str(tmp_path / "a.png")).load()
    for name in ("a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.npz", "a.npy", "images-idx3-ubyte"):
        for content in (b"", b"this is text"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(RequestError, match=name):
                Data(source=str(tmp_path / name)).load()


def test_labels_are_used_unless_set_aside(tmp_path: Path, png: Png) -> None:
    root = folder(tmp_path, png)
    assert Data(source=str(root)).load().spec.num_classes == 2
    for source in (Data(source=str(root), labels="ignore"), Data(source="digits", labels="ignore")):
        loaded = source.load()
        assert loaded.spec.num_classes == 0
        assert loaded.labels is None
        assert any("labels ignored as asked" in note for note in loaded.report["notes"])


def test_size_applies_to_every_kind_of_images(tmp_path: Path, png: Png) -> None:
    source = Data(source=str(folder(tmp_path / "a", png)), size=(12, 20)).load()
    assert source.spec.shape == (3, 12, 20)
    assert (source.report["resized"], source.report["cropped"]) == (4, 0)
    digits = Data(source="digits", size=(16, 12)).load()
    assert digits.spec.shape == (1, 16, 12)
    assert (digits.report["resized"], digits.report["cropped"]) == (1500, 1500)
    assert digits.report["sizes"] == {"8x8": 1500}
    assert digits.report["shape"] == [1, 16, 12]
    assert digits.report["sha256"] == digits.spec.sha256
    np.save(tmp_path / "deep.npy", np.full((2, 4, 5), 40_000, np.uint16))
    deep = Data(source=str(tmp_path / "deep.npy"), size=(8, 10)).load()
    assert deep.spec.levels == 65536
    assert (deep.numpy() == 40_000).all()
    np.save(tmp_path / "vectors.npy", np.zeros((2, 4), np.uint8))
    with pytest.raises(RequestError, match="--size is for images"):
        Data(source=str(tmp_path / "vectors.npy"), size=(8, 10)).load()


@pytest.mark.parametrize("text", ["", "x", "24x", "0x4", "-3", "24x40x3", "a", "99999", "1e3", "24.5"])
def test_sizes_that_make_no_sense(text: str) -> None:
    with pytest.raises(RequestError, match="expected height and width up to 8192 as HxW"):
        parse_size(text)
    with pytest.raises(RequestError, match="expected sides from 1"):
        Data(source="digits", size=(0, 4))


def test_sizes() -> None:
    assert parse_size(" 24X40 ") == (24, 40)
    assert parse_size("24×40") == (24, 40)
    assert parse_size("32") == (32, 32)


def test_describe_tells_everything_within_80_columns(tmp_path: Path, png: Png) -> None:
    root = folder(tmp_path, png, 300)
    for i in range(13):
        (root / "a" / f"broken{i:02}.png").write_bytes(b"text")
    (root / "a" / "notes.txt").write_text("x")
    text = describe(Data(source=str(root), size=(24, 24)).load())
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "300 images of 24x24 (height x width), RGB, 8-bit" in text
    assert "2 (a: 150, b: 150)" in text
    assert "24x40: 300" in text
    assert "300 were cropped" in text
    assert "13 files" in text
    assert text.count("broken") == 10
    assert "and 3 more" in text
    assert "1 .txt" in text
    assert all(line[12:14] == "  " for line in lines)


def test_describe_vectors_and_hostile_names(tmp_path: Path) -> None:
    source = from_arrays(np.zeros((3, 4), np.float32))
    assert "3 vectors of 4 numbers, floats" in describe(source)
    source.report["refused"] = [{"file": "x" * 300, "reason": "empty file"}]
    assert max(map(len, describe(source).splitlines())) <= 80


def test_what_is_held_out_is_not_trained_on(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.uint8)[:, None, None] + np.zeros((8, 8), np.uint8)
    np.savez(tmp_path / "some.npz", images=x, labels=np.arange(60) % 3)
    data = Data(source=str(tmp_path / "some.npz"), hold_out=15)
    kept, held = data.load(), data.load_held_out()
    assert held is not None
    assert (len(kept), len(held)) == (45, 15)
    values = [{int(v) for v in part.images[:, 0, 0, 0]} for part in (kept, held)]
    assert values[0] | values[1] == set(range(60))
    assert sum(kept.report["classes"].values()) == kept.report["count"] == 45
    assert kept.report["sha256"] == kept.spec.sha256 != held.spec.sha256
    assert (kept.report["split"], held.report["split"]) == ("train", "held out")
    assert torch.equal(kept.labels, kept.images[:, 0, 0, 0].long() % 3)
    assert data.load().spec == kept.spec
    with pytest.raises(RequestError, match=r"--hold-out 59: some\.npz holds 60 samples"):
        data.replace(hold_out=59).load()


def test_a_test_split_is_held_out_where_there_is_one(tmp_path: Path) -> None:
    held = Data(source="digits").load_held_out()
    assert held is not None
    assert (len(held), held.report["split"]) == (297, "test")
    assert Data(source="digits", split="test").load_held_out() is None
    for name in ("train/a.png", "test/b.png", "train/c.png", "test/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), len(name)).save(tmp_path / name)
    held = Data(source=str(tmp_path)).load_held_out()
    assert held is not None
    assert len(held) == 2
    np.save(tmp_path / "x.npy", np.zeros((5, 8, 8), np.uint8))
    assert Data(source=str(tmp_path / "x.npy")).load_held_out() is None


def test_what_is_no_file_or_cannot_be_looked_at_is_refused_at_once(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "a.npy", "a.npz", "train-images-idx3-ubyte", "a.png"):
        os.mkfifo(tmp_path / name)  # opening one would wait for ever
        with pytest.raises(RequestError, match="not a regular file"):
            Data(source=str(tmp_path / name)).load()
    with pytest.raises(RequestError, match="cannot be read"):
        Data(source="a" * 5000).load()


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(RequestError, match="home folder"):
        Data(source="~nobody-here/pictures").load()
