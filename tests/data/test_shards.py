"""Shards: what is read from them is what was packed, and what no honest packer writes is refused."""

from __future__ import annotations

import io
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.core.errors import RequestError, SourceError
from sparring.core.protocols import InBlocks, Source
from sparring.data.images import load_images
from sparring.data.index import Indices
from sparring.data.open import Data, describe
from sparring.data.shards import index_shard
from sparring.data.streamed import Streamed
from sparring.data.tensors import Resident, from_arrays

pytestmark = pytest.mark.usefixtures("away")
Png = Callable[..., bytes]
KEYS = list(from_arrays(np.zeros((2, 2), np.uint8)).report)


def pack(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def members(png: Png, first: int, count: int, label: Callable[[int], object] | None, **more: Any) -> list:
    found = []
    for i in range(first, first + count):
        found.append((f"some/{i:05}.png", png(i, **more)))
        if label is not None:
            found.append((f"some/{i:05}.cls", str(label(i)).encode()))
    return found


def shards(root: Path, png: Png, counts: tuple[int, ...] = (7, 5, 9), **more: Any) -> Path:
    label = more.pop("label", lambda i: i % 3)
    first = 0
    for number, count in enumerate(counts):
        pack(root / f"part-{number:03}.tar", members(png, first, count, label, **more))
        first += count
    return root


def pixels(png: Png, i: int, **more: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(i, **more))))


def load(path: Path, **more: Any) -> Streamed:
    source = Data(source=str(path), **more).load()
    assert isinstance(source, Streamed)
    return source


def test_it_gives_what_was_packed(tmp_path: Path, png: Png) -> None:
    source = load(shards(tmp_path / "set", png))
    assert isinstance(source, Source)
    assert isinstance(source, InBlocks)
    assert len(source) == 21
    assert (source.spec.shape, source.spec.levels, source.spec.class_names) == ((3, 6, 5), 256, ("0", "1", "2"))
    index = [20, 0, 6, 7, 11, 12, 0]
    batch = source.take(torch.tensor(index))
    expected = np.stack([pixels(png, i) for i in index]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(((batch.x + 1) * 127.5).round().numpy(), expected)
    assert batch.y is not None
    assert batch.y.tolist() == [i % 3 for i in index]
    assert batch.x.is_contiguous(memory_format=torch.channels_last)
    assert sum(source.blocks.lengths) == 21
    with pytest.raises(IndexError):
        source.take(torch.tensor([21]))


def test_it_is_the_same_as_held_in_memory(tmp_path: Path, png: Png) -> None:
    root = shards(tmp_path / "set", png)
    streamed, held = load(root), Data(source=str(root), stream=False).load()
    assert isinstance(held, Resident)
    index = torch.randperm(21)
    for mine, its in zip(streamed.take(index), held.take(index), strict=True):
        assert torch.equal(mine, its)
    assert held.spec.replace(sha256="") == streamed.spec.replace(sha256="")
    assert held.report["duplicates"] == 0
    assert streamed.report["notes"] == ["read while it is used, from 3 files; 64 blocks at a time are mixed"]
    assert held.report["notes"] == []
    same = {"duplicates", "notes", "sha256", "seconds"}
    assert {k: v for k, v in held.report.items() if k not in same} == {
        k: v for k, v in streamed.report.items() if k not in same
    }


def test_the_report_has_the_documented_keys(tmp_path: Path, png: Png) -> None:
    source = load(shards(tmp_path / "set", png))
    assert list(source.report) == KEYS
    assert json.loads(json.dumps(source.report)) == source.report
    assert source.report["kind"] == "shards of images"
    assert source.report["classes"] == {"0": 7, "1": 7, "2": 7}
    assert source.report["sizes"] == {"6x5": 21}
    assert source.report["sha256"] == source.spec.sha256
    assert "duplicates    not sought" in describe(source)


def test_the_index_is_kept_and_makes_no_difference(
    tmp_path: Path, png: Png, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shards(tmp_path / "set", png)
    first = load(root)
    kept = sorted((away / "indices").iterdir())
    assert len(kept) == 3
    monkeypatch.setattr("sparring.data.shards.index_shard", None)  # not made again
    again = load(root)
    assert again.spec == first.spec
    os.utime(root / "part-000.tar")
    assert load(root).spec == first.spec  # the time differs, the content does not


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "version", "head", "gone"])
def test_a_damaged_index_is_made_again(tmp_path: Path, png: Png, away: Path, how: str) -> None:
    root = shards(tmp_path / "set", png)
    first = load(root)
    whole = first.take(torch.arange(21))
    for file in (away / "indices").iterdir():
        data = bytearray(file.read_bytes())
        data[-30] ^= 1
        at = data.index(b'"sha256": "') + 11
        head = data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]
        wrong = {
            "head": head,
            "flipped": bytes(data),
            "cut": data[:-5],
            "empty": b"",
            "version": b'{"version": 9}\n',
            "gone": None,
        }
        if wrong[how] is None:
            file.unlink()
        else:
            file.write_bytes(wrong[how])
    source = load(root)
    assert source.spec == first.spec
    for mine, its in zip(source.take(torch.arange(21)), whole, strict=True):
        assert torch.equal(mine, its)


def test_a_shard_that_changed_is_another_set_and_said(tmp_path: Path, png: Png) -> None:
    root = shards(tmp_path / "set", png)
    before = load(root)
    pack(root / "part-001.tar", members(png, 100, 5, lambda i: i % 3))
    after = load(root)
    assert after.spec.sha256 != before.spec.sha256
    assert "1 files changed since they were used before, the first is part-001.tar" in after.report["notes"]
    assert not torch.equal(after.take(torch.tensor([8])).x, before.take(torch.tensor([1])).x)


@pytest.mark.parametrize("how", ["known anew", "cache emptied", "no shard any more"])
def test_a_shard_that_changes_in_use_is_never_taken_for_what_it_was(
    tmp_path: Path, png: Png, away: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparring.data.encoded.PAUSES", (0.0,))
    root = shards(tmp_path / "set", png)
    load(root)
    source = load(root)  # by its index, of which no row has been read yet
    pack(root / "part-001.tar", members(png, 100, 5, lambda i: (i + 1) % 3))
    if how == "known anew":
        load(root)
    else:
        shutil.rmtree(away)
    if how == "no shard any more":
        (root / "part-001.tar").write_bytes(b"?" * 4096)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"part-001\.tar: is no longer what was indexed, after 2 tries"):
            source.take(torch.tensor([8]))
    assert source.take(torch.tensor([0, 20])).y.tolist() == [0, 2]  # type: ignore[union-attr]


def test_an_index_that_lies_is_made_again(tmp_path: Path, png: Png) -> None:
    root = shards(tmp_path / "set", png)
    indices = Indices("shard", index_shard)
    part = indices.part(root / "part-000.tar")
    honest = indices.rows(part)
    head = indices._read_head(part.path)
    assert head is not None
    for field, value in (("offset", -1), ("length", -1), ("length", 2**62), ("label", -2), ("label", 3)):
        rows = honest.copy()
        rows[field][3] = value
        indices._write(part.path, {key: head[key] for key in head if key != "rows"}, rows)
        assert np.array_equal(Indices("shard", index_shard).rows(part), honest), field


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, png: Png, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away.write_bytes(b"")  # a file where the folder should be
    monkeypatch.setattr("sparring.data.index._KEPT_BYTES", 1)
    source = load(shards(tmp_path / "set", png))
    assert source.take(torch.tensor([20, 0, 8, 1])).y.tolist() == [2, 0, 2, 1]  # type: ignore[union-attr]
    indices = source.reader.files.indices  # type: ignore[attr-defined]
    assert len(indices._rows) == 1


def test_a_pipe_in_place_of_a_shard_is_not_waited_for(
    tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparring.data.encoded.PAUSES", ())
    root = shards(tmp_path / "set", png)
    source = load(root)
    (root / "part-000.tar").unlink()
    os.mkfifo(root / "part-000.tar")
    with pytest.raises(SourceError, match=r"part-000\.tar: sample 0 at byte 512: cannot be read"):
        source.take(torch.tensor([0]))


def test_labels_that_lie_apart_from_their_images_are_counted(tmp_path: Path, png: Png) -> None:
    root = tmp_path / "set"
    pack(root / "a.tar", sorted(members(png, 0, 6, lambda i: i % 2), key=lambda file: file[0][-3:], reverse=True))
    found = load(root).report
    assert found["ignored"] == 6
    assert "files that make no sample were ignored: 6 label without an image beside it" in found["notes"]


def test_an_empty_line_of_classnames_keeps_its_number(tmp_path: Path, png: Png) -> None:
    root = shards(tmp_path / "set", png)
    (root / "classnames.txt").write_text("a\n\nc\n\n")
    assert load(root).report["classes"] == {"a": 7, "": 7, "c": 7}


def test_published_sums_are_held_against(tmp_path: Path, png: Png) -> None:
    import hashlib

    root = shards(tmp_path / "set", png)
    sums = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(root.glob("*.tar"))}
    lines = [f"{value} {' *'[i % 2]}{name}\n" for i, (name, value) in enumerate(sums.items())]
    (root / "SHA256SUMS").write_text("".join(lines))
    load(root)
    with (root / "part-001.tar").open("r+b") as file:
        file.seek(600)
        byte = file.read(1)
        file.seek(600)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(RequestError, match=r"part-001.tar: has SHA-256 .* as SHA256SUMS says"):
        load(root)


def test_the_hash_sees_what_a_run_depends_on(tmp_path: Path, png: Png) -> None:
    root = shards(tmp_path / "set", png)
    found = {load(root).spec.sha256, load(root, labels="ignore").spec.sha256, load(root, size=(4, 4)).spec.sha256}
    (root / "classnames.txt").write_text("a\nb\nc\n")
    assert len({*found, load(root).spec.sha256}) == 4


def test_labels_in_every_form(tmp_path: Path, png: Png) -> None:
    def shard(name: str, labels: list[tuple[str, str] | None]) -> Path:
        files = []
        for i, label in enumerate(labels):
            files.append((f"{i}.png", png(i)))
            if label is not None:
                files.insert(2 * i, (f"{i}.{label[0]}", label[1].encode()))
        return pack(tmp_path / name / "a.tar", files)

    names = load(shard("names", [("cls", "dog\n"), ("cls", "cat"), ("json", '{"label": "dog"}')]))
    assert names.spec.class_names == ("cat", "dog")
    assert names.take(torch.arange(3)).y.tolist() == [1, 0, 1]  # type: ignore[union-attr]
    both = [("0.png", png(0)), ("0.json", b'{"label": "no"}'), ("0.cls", b"yes"), ("1.png", png(1)), ("1.cls", b"yes")]
    assert load(pack(tmp_path / "both.tar", both)).spec.class_names == ("yes",)
    numbers = load(shard("numbers", [("json", '{"x": 1, "cls": 1}'), ("cls", "1"), ("cls", "0")]))
    assert numbers.report["classes"] == {"0": 1, "1": 2}
    assert numbers.take(torch.arange(3)).y.tolist() == [1, 1, 0]  # type: ignore[union-attr]
    (tmp_path / "numbers" / "classnames.txt").write_text("cat\ndog\nowl\n")
    named = load(tmp_path / "numbers")
    assert named.report["classes"] == {"cat": 1, "dog": 2, "owl": 0}
    assert "1 of 3 classes have no sample, the first is 'owl'" in named.report["notes"]
    plain = load(tmp_path / "numbers", labels="ignore")
    assert (plain.spec.num_classes, plain.take(torch.arange(3)).y) == (0, None)
    with pytest.raises(RequestError, match="labels missing for 1 of 3 images"):
        load(shard("some", [("cls", "1"), None, ("cls", "0")]))
    with pytest.raises(RequestError, match="a label is negative"):
        load(shard("negative", [("cls", "-1"), ("cls", "0")]))
    with pytest.raises(RequestError, match="label 7 for 2 samples"):
        load(shard("gaps", [("cls", "7"), ("cls", "0")]))
    for bad in ("[1]", '{"label": [1]}', '{"label": true}', "[" * 60_000, '{"label": 1'):
        with pytest.raises(RequestError, match="labels missing for 1 of 2"):
            load(shard(f"bad{len(bad)}", [("cls", "1"), ("json", bad)]))


def test_without_labels_beside_them_a_folder_of_shards_is_still_one(tmp_path: Path, png: Png) -> None:
    root = shards(tmp_path / "set", png, label=None)
    assert load(root).spec.num_classes == 0
    assert "no labels: training is unconditional" in load(root).report["notes"]
    (root / "more.png").write_bytes(png(0))
    (root / "one.png").write_bytes(png(1))
    beside = Data(source=str(root)).load()  # archives beside images are left alone, as ever
    assert isinstance(beside, Resident)
    assert len(beside) == 2


def test_sizes_channels_and_refused_ones(tmp_path: Path, png: Png) -> None:
    files = [(f"{i}.png", png(i, shape=(6, 5) if i % 2 else (6, 5, 3))) for i in range(40)]
    files[4] = ("4.png", b"")
    files.append(("x.txt", b"?"))
    files.append(("0.cls", b"0"))
    root = pack(tmp_path / "a.tar", [(n, d) for n, d in files if n != "0.cls"])
    source = load(pack(root, [*[(n, d) for name, d in files[:40] for n, d in ((name, d), (name[:-3] + "cls", b"0"))],
                              ("x.txt", b"?")]))  # fmt: skip
    assert source.spec.shape == (3, 6, 5)
    assert source.report["count"] == 39
    assert source.report["refused"] == [{"file": "4.png", "reason": "empty file"}]
    assert source.report["converted"] == {"grey to RGB, as others need it": 20}
    assert source.report["ignored"] == 1
    assert "1 of 40 images are bad (2.5 %) and left out: look at them first" in source.report["notes"]
    held = Data(source=str(root), stream=False).load()
    grey = np.asarray(Image.open(io.BytesIO(files[1][1])))
    np.testing.assert_array_equal(held.numpy()[1], np.repeat(grey[..., None], 3, 2))  # type: ignore[union-attr]


def test_what_is_resized_agrees_with_the_folder_of_the_same_images(tmp_path: Path, png: Png) -> None:
    shapes = [(6, 5, 3), (8, 10, 3), (8, 8, 3), (4, 4, 4)]
    files = [(f"{i:02}.png", png(i, shape=shapes[i % 4])) for i in range(12)]
    (tmp_path / "loose").mkdir()
    for name, data in files:
        (tmp_path / "loose" / name).write_bytes(data)
    loose = load_images(tmp_path / "loose", size=(8, 8))
    labelled = [(n, d) for name, data in files for n, d in ((name, data), (name[:-3] + "cls", b"0"))]
    path = pack(tmp_path / "a.tar", labelled)
    with pytest.raises(RequestError, match=r"images of mixed sizes: .*; choose one with --size HxW"):
        load(path)
    source = load(path, size=(8, 8))
    assert torch.equal(source.take(torch.arange(12)).x, loose.take(torch.arange(12)).x)
    for key in ("sizes", "resized", "cropped", "converted", "shape", "levels", "channels", "count"):
        assert source.report[key] == loose.report[key], key


def test_one_with_transparency_gives_all_a_fourth_channel(tmp_path: Path, png: Png) -> None:
    shapes = [(6, 5, 4), (6, 5, 3), (6, 5)]
    files = [(f"{i}.{end}", data) for i in range(3) for end, data in (("png", png(i, shape=shapes[i])), ("cls", b"0"))]
    source = load(pack(tmp_path / "a.tar", files))
    x = ((source.take(torch.arange(3)).x + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    clear, colour, grey = (np.asarray(Image.open(io.BytesIO(png(i, shape=shapes[i])))) for i in range(3))
    np.testing.assert_array_equal(x[0], clear)
    np.testing.assert_array_equal(x[1], np.dstack([colour, np.full((6, 5), 255)]))
    np.testing.assert_array_equal(x[2], np.dstack([grey, grey, grey, np.full((6, 5), 255)]))


def test_deep_grey_keeps_its_levels(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (4, 6, 5), dtype=np.uint16)
    files = []
    for i, image in enumerate(deep):
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        files += [(f"{i}.png", out.getvalue()), (f"{i}.cls", b"0")]
    source = load(pack(tmp_path / "a.tar", files))
    assert source.spec.levels == 65536
    assert torch.equal(source.take(torch.arange(4)).x, from_arrays(deep).take(torch.arange(4)).x)
    assert Data(source=str(tmp_path / "a.tar"), stream=False).load().spec.levels == 65536


def test_splits_of_a_folder(tmp_path: Path, png: Png) -> None:
    for name, first in (("train-00.tar", 0), ("train-01.tar", 10), ("test-00.tar", 20)):
        pack(tmp_path / "flat" / name, members(png, first, 4, lambda i: i % 2))
    for name, first in (("train/00.tar", 0), ("test/00.tar", 20)):
        pack(tmp_path / "deep" / name, members(png, first, 4, lambda i: i % 2))
    for kind, count in (("flat", 8), ("deep", 4)):
        data = Data(source=str(tmp_path / kind))
        assert len(data.load()) == count
        test = data.load_held_out()
        assert test is not None
        assert test.report["split"] == "test"
        assert torch.equal(test.take(torch.tensor([0])).x.permute(0, 2, 3, 1)[0],
                           torch.tensor(pixels(png, 20)) / 127.5 - 1)  # fmt: skip
    with pytest.raises(RequestError, match="has no split 'test'"):
        load(shards(tmp_path / "one", png), split="test")
    assert len(load(tmp_path / "flat" / "train-*.tar")) == 8
    with pytest.raises(RequestError, match="no such file"):
        load(tmp_path / "flat" / "nothing-*.tar")


def test_some_are_held_out(tmp_path: Path, png: Png) -> None:
    data = Data(source=str(shards(tmp_path / "set", png)), hold_out=6)
    kept, held = data.load(), data.load_held_out()
    assert isinstance(kept, Streamed)
    assert isinstance(held, Streamed)
    assert (len(kept), len(held)) == (15, 6)
    assert sum(kept.blocks.lengths) == 15
    assert kept.positions is not None
    inside = [
        int(((low <= kept.positions) & (kept.positions < high)).sum()) for low, high in ((0, 7), (7, 12), (12, 21))
    ]
    assert kept.blocks.lengths == [count for count in inside if count]
    assert {6, 7, 11, 12} & set(kept.positions.tolist())  # at the ends of blocks, where it could be one beside
    both = torch.cat([kept.take(torch.arange(15)).x, held.take(torch.arange(6)).x])
    whole = load(tmp_path / "set").take(torch.arange(21)).x
    assert sorted(map(str, both.flatten(1).tolist())) == sorted(map(str, whole.flatten(1).tolist()))
    assert sum(kept.report["classes"].values()) == 15
    assert len({kept.spec.sha256, held.spec.sha256, load(tmp_path / "set").spec.sha256}) == 3
    assert held.held().report["count"] == 6
    assert torch.equal(held.held().take(torch.arange(6)).x, held.take(torch.arange(6)).x)


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (tarfile.TarInfo("../9.png"), "has '..' in its path"),
        (tarfile.TarInfo("/9.png"), "has an absolute path"),
        (link("9.png", tarfile.SYMTYPE), "is a link or device"),
        (link("9.png", tarfile.LNKTYPE), "is a link or device"),
        (link("9.png", tarfile.CHRTYPE), "is a link or device"),
        (link("9.png", tarfile.FIFOTYPE), "is a link or device"),
        (link("9.png", tarfile.GNUTYPE_SPARSE), "is a link or device"),
    ],
)
def test_hostile_members_are_refused(tmp_path: Path, png: Png, spoil: tarfile.TarInfo, message: str) -> None:
    path = pack(tmp_path / "a.tar", members(png, 0, 40, lambda i: 0))
    with tarfile.open(path, "a") as archive:
        archive.addfile(spoil)
    with pytest.raises(RequestError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("at", [0, 1, 300, 511, 513, 1024, 5000, 30_000])
def test_a_shard_that_is_cut_is_refused(tmp_path: Path, png: Png, at: int) -> None:
    root = shards(tmp_path / "set", png, (20, 20))
    whole = (root / "part-001.tar").read_bytes()
    assert len(whole) > 30_000
    (root / "part-001.tar").write_bytes(whole[:at])
    with pytest.raises(RequestError, match=r"part-001\.tar: cannot be read as a tar"):
        load(root)


def test_a_compressed_shard_is_refused(tmp_path: Path, png: Png) -> None:
    import gzip

    root = shards(tmp_path / "set", png)
    path = root / "part-000.tar"
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(RequestError, match="a compressed shard; expected a plain"):
        load(root)


def test_a_huge_image_is_refused_by_its_header(tmp_path: Path, png: Png) -> None:
    data = bytearray(png(0))
    import struct
    import zlib

    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path = pack(tmp_path / "a.tar", [*members(png, 0, 40, lambda i: 0), ("x.png", bytes(data)), ("x.cls", b"0")])
    source = load(path)
    assert [entry["file"] for entry in source.report["refused"]] == ["x.png"]
    assert "limit" in source.report["refused"][0]["reason"]


def test_too_many_bad_images_are_refused(tmp_path: Path, png: Png) -> None:
    files = members(png, 0, 20, lambda i: 0) + [(f"bad{i}.png", b"no image") for i in range(2)]
    with pytest.raises(RequestError, match=r"2 of 22 images are bad, more than 5%; the first is 'bad0.png'"):
        load(pack(tmp_path / "a.tar", files))


def test_a_tar_of_class_folders_is_held_as_before(tmp_path: Path, png: Png) -> None:
    path = pack(tmp_path / "a.tar", [(f"{'ab'[i % 2]}/{i}.png", png(i)) for i in range(6)])
    source = Data(source=str(path)).load()
    assert isinstance(source, Resident)
    assert source.spec.class_names == ("a", "b")


def test_a_packed_shard_that_is_damaged_is_refused_in_a_line(tmp_path: Path, png: Png) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in (("0.png", png(0)), ("0.cls", b"0")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    packed = bytearray(lzma.compress(out.getvalue()))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(packed)
    with pytest.raises(RequestError, match=r"a\.tar"):
        Data(source=str(tmp_path / "a.tar")).load()
