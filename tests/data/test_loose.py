"""Folders of images that are read while they are used hold what the same folders hold in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.core.errors import RequestError, SourceError
from sparring.data import encoded, loose
from sparring.data.open import Data
from sparring.data.streamed import Streamed
from sparring.data.tensors import Resident

pytestmark = pytest.mark.usefixtures("away")
Png = Callable[..., bytes]


@pytest.fixture
def root(tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(encoded, "PAUSES", (0.0, 0.0, 0.0))
    for i in range(44):
        folder = tmp_path / "pictures" / "abc"[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        shape = (8, 8) if i % 5 == 0 else (8, 8, 3) if i % 7 else (9, 11, 3)
        (folder / f"{i:02}.png").write_bytes(png(i, shape))
    (tmp_path / "pictures" / "a" / "bad.png").write_bytes(b"")
    (tmp_path / "pictures" / "notes.txt").write_text("?")
    return tmp_path / "pictures"


def load(root: Path, **more: object) -> Streamed:
    source = Data(source=str(root), stream=True, size=(8, 8), **more).load()  # type: ignore[arg-type]
    assert isinstance(source, Streamed)
    return source


@pytest.mark.parametrize("labels", ["use", "ignore"])
def test_it_is_the_same_as_held_in_memory(root: Path, labels: str) -> None:
    streamed = load(root, labels=labels)
    held = Data(source=str(root), size=(8, 8), labels=labels).load()  # type: ignore[arg-type]
    assert isinstance(held, Resident)
    assert len(streamed) == len(held) == 44
    mine, its = streamed.take(torch.arange(44)), held.take(torch.arange(44))
    assert torch.equal(mine.x, its.x)
    assert mine.y is its.y is None if labels == "ignore" else torch.equal(mine.y, its.y)  # type: ignore[arg-type]
    assert streamed.spec.replace(sha256="") == held.spec.replace(sha256="")
    different = {"notes", "sha256", "seconds", "duplicates", "ignored"}
    assert {k: v for k, v in streamed.report.items() if k not in different} == {
        k: v for k, v in held.report.items() if k not in different
    }
    assert streamed.report["ignored"] == held.report["ignored"]


def test_what_changes_a_pixels_meaning_is_counted_as_it_is_in_memory(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 3
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    palette = grey.convert("P")
    grey.save(tmp_path / "a.jpg", exif=turned)
    palette.save(tmp_path / "b.png", transparency=3)
    palette.save(tmp_path / "c.png")
    grey.save(tmp_path / "d.gif", save_all=True, append_images=[grey.transpose(Image.Transpose.ROTATE_90)])
    grey.convert("1").save(tmp_path / "e.png")
    grey.convert("1").save(tmp_path / "f.png", transparency=0)
    grey.save(tmp_path / "g.png", transparency=5)
    grey.convert("RGB").save(tmp_path / "h.png", transparency=(5, 5, 5))
    grey.convert("CMYK").save(tmp_path / "i.jpg")
    grey.convert("LA").save(tmp_path / "j.png")
    streamed, held = load(tmp_path), Data(source=str(tmp_path), size=(8, 8)).load()
    assert streamed.report["converted"] == held.report["converted"]
    assert streamed.report["converted"]["EXIF orientation applied"] == 1
    assert streamed.report["converted"]["first frame of several"] == 1
    assert torch.equal(streamed.take(torch.arange(10)).x, held.take(torch.arange(10)).x)


def test_the_index_is_kept_until_a_file_changes(root: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(root)
    looked: list[bytes] = []
    honest = encoded.Seen.look

    def look(seen: encoded.Seen, data: bytes) -> str:
        looked.append(data)
        return honest(seen, data)

    monkeypatch.setattr(encoded.Seen, "look", look)
    assert load(root).spec == first.spec
    assert len(looked) == 1  # of the first, to see how much all would take
    os.utime(root / "a" / "00.png", (1, 1))
    assert load(root).spec == first.spec
    assert len(looked) == 1 + 1 + 44 + 1
    (root / "a" / "00.png").write_bytes(png(999, (8, 8)))
    assert load(root).spec.sha256 != first.spec.sha256
    (root / "a" / "00.png").rename(root / "b" / "00.png")
    assert len({load(root).spec.sha256, first.spec.sha256}) == 2


def test_images_that_were_all_bad_are_read_again_once_they_are_mended(tmp_path: Path, png: Png) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(b"")
    with pytest.raises(RequestError, match="2 of 2 images are bad"):
        load(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(png(0, (8, 8)))
    assert len(load(tmp_path)) == 2


def test_class_folders_called_by_numbers_are_names(tmp_path: Path, png: Png) -> None:
    for i, name in enumerate(["2", "10", "2019", "-1"] * 2):
        (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name / f"{i}.png").write_bytes(png(i, (8, 8)))
    streamed, held = load(tmp_path / "set"), Data(source=str(tmp_path / "set"), size=(8, 8)).load()
    assert streamed.spec.class_names == held.spec.class_names == ("-1", "10", "2", "2019")
    assert streamed.take(torch.arange(8)).y.tolist() == held.take(torch.arange(8)).y.tolist()  # type: ignore[union-attr]


def test_what_does_not_fit_is_streamed_and_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 45 * 8 * 8 * 1  # by the first, which is grey
    for free, streams in ((taken / 0.4 - 1, True), (taken / 0.4 + 1, False)):
        monkeypatch.setattr(loose, "free_bytes", lambda free=free: free)
        source = Data(source=str(root), size=(8, 8)).load()
        assert isinstance(source, Streamed) is streams
        said = [note for note in source.report["notes"] if "more than 40% of what is free" in note]
        assert len(said) == streams
    monkeypatch.setattr(loose, "free_bytes", lambda: 0)
    assert isinstance(Data(source=str(root), size=(8, 8), stream=False).load(), Resident)


def test_an_image_that_goes_or_changes_is_named(root: Path, png: Png) -> None:
    source = load(root)
    (root / "a" / "00.png").unlink()
    with pytest.raises(SourceError, match=r"a/00\.png: cannot be read \(No such file or directory\), after 4 tries"):
        source.take(torch.tensor([0]))
    (root / "a" / "00.png").write_bytes(png(5, (8, 8)))
    with pytest.raises(SourceError, match=r"a/00\.png: is no longer what was indexed"):
        source.take(torch.tensor([0]))


def test_what_cannot_be_streamed_is_said(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"source\.stream: digits is read as a whole; expected a folder of images"):
        Data(source="digits", stream=True).load()


def test_images_beside_class_folders_are_refused(root: Path, png: Png) -> None:
    (root / "beside.png").write_bytes(png(1))
    with pytest.raises(RequestError, match="labels missing for 1 of"):
        load(root)
