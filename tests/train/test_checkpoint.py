"""What a checkpoint holds comes back bit by bit, or is said to be damaged."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.files import DamagedError, read_json, write_json, write_sealed
from sparring.train import checkpoint
from sparring.train.checkpoint import (
    FORMAT,
    checkpoints,
    load_checkpoint,
    name_best,
    named_best,
    prune,
    save_checkpoint,
)

META = {"step": 2, "best": None, "seconds": 0.1, "scores": {"leaders": [[64, 3.5]]}}


def tensors() -> dict[str, Tensor]:
    conv = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    return {"a": conv, "b": torch.tensor(3), "c": torch.randn(5, dtype=torch.float64), "d": torch.zeros(0)}


def old_checkpoint(path: Path, meta: dict[str, Any]) -> Path:
    """One of format 1, as the first version wrote it."""
    content = save({"a": torch.ones(3)})
    path.with_suffix(".safetensors").write_bytes(content)
    write_json(path, {"format": 1, "images": int(path.stem), "sha256": hashlib.sha256(content).hexdigest()} | meta)
    return path


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    saved = tensors()
    path = save_checkpoint(tmp_path / "c", 128, saved, META)
    loaded, meta = load_checkpoint(path, saved)
    assert loaded.keys() == saved.keys()
    for name, tensor in saved.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype
    assert META.items() <= meta.items()
    assert (meta["images"], meta["format"]) == (128, FORMAT)


def overwrite(path: Path, content: bytes) -> None:
    """In place: emptying a file first takes ten times as long."""
    with path.open("r+b") as file:
        file.write(content)
        if len(content) != os.fstat(file.fileno()).st_size:
            file.truncate()


def test_of_a_thousand_damages_every_one_is_found(tmp_path: Path) -> None:
    """A flipped bit or an end that is cut off, anywhere in either file."""
    path = save_checkpoint(tmp_path, 128, tensors(), META)
    files = {file: file.read_bytes() for file in (path, path.with_suffix(".safetensors"))}
    draw = random.Random(0)
    for number in range(1000):
        file = draw.choice(list(files))
        content = bytearray(files[file])
        place = draw.randrange(len(content))
        if number % 2:
            content[place] ^= 1 << draw.randrange(8)
        else:
            del content[place:]
        overwrite(file, content)
        with pytest.raises(DamagedError, match="000000000128"):
            load_checkpoint(path)
        overwrite(file, files[file])
    load_checkpoint(path)


def test_all_of_the_json_is_covered(tmp_path: Path) -> None:
    """Every bit, because a lucky flip turns a digit or a letter into another one."""
    path = save_checkpoint(tmp_path, 128, {}, META)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        overwrite(path, content)
        with pytest.raises(DamagedError):
            load_checkpoint(path)


@pytest.mark.parametrize(("missing", "said"), [(".json", "unfinished"), (".safetensors", "cannot be read")])
def test_half_a_checkpoint_is_named(tmp_path: Path, missing: str, said: str) -> None:
    path = save_checkpoint(tmp_path, 128, tensors(), META)
    path.with_suffix(missing).unlink()
    assert checkpoints(tmp_path) == [path]
    with pytest.raises(DamagedError, match=said):
        load_checkpoint(path)


def test_a_checkpoint_under_another_s_name_is_found(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 128, tensors(), META)
    for suffix in (".json", ".safetensors"):
        path.with_suffix(suffix).rename(tmp_path / f"000000000256{suffix}")
    with pytest.raises(DamagedError, match="holds images 128"):
        load_checkpoint(tmp_path / "000000000256.json")


@pytest.mark.parametrize(
    ("change", "said"), [({"bytes": None}, "tensors have None bytes"), ({"images": 128.0}, "it holds images 128.0")]
)
def test_numbers_that_are_none_are_found(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = save_checkpoint(tmp_path, 128, tensors(), META)
    write_sealed(path, {k: v for k, v in read_json(path).items() if k != "json_sha256"} | change)
    with pytest.raises(DamagedError, match=said):
        load_checkpoint(path)


def test_a_newer_format_is_refused_and_is_no_damage(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 128, tensors(), META)
    write_sealed(path, {k: v for k, v in read_json(path).items() if k != "json_sha256"} | {"format": FORMAT + 1})
    with pytest.raises(RequestError, match=r"format 3, this version reads formats up to 2; use .* newer") as refused:
        load_checkpoint(path)
    assert not isinstance(refused.value, DamagedError)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        (
            "a",
            torch.zeros(4, 3, 2, 3),
            r"a is float32 of shape \(4, 3, 2, 2\), expected float32 of shape \(4, 3, 2, 3\)",
        ),
        ("a", torch.zeros(4, 3, 2, 2, dtype=torch.float64), "expected float64"),
        ("z", torch.zeros(1), r"z is missing, expected float32 of shape \(1,\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tensor: Tensor, said: str
) -> None:
    path = save_checkpoint(tmp_path, 128, tensors(), META)
    monkeypatch.delattr(checkpoint, "load")
    with pytest.raises(DamagedError, match=said):
        load_checkpoint(path, {name: tensor})


def entry(kind: str, shape: list[int], *offsets: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": entry("F32", [1_000_000, 1_000_000], 0, 8)}, "lists 1 tensors of 4000.0 GB in 8 B"),
        ({"a": entry("F32", [-2], 0, 8)}, r"shape \(-2,\)"),
        ({"a": entry("Q9", [2], 0, 8)}, "KeyError"),
        ({"a": 7}, "TypeError"),
        ([1], "TypeError"),
        ({"a": entry("F32", [float("inf")], 0, 8)}, "OverflowError"),  # type: ignore[list-item]
        ({"a": entry("F32", [2], 4, 12)}, "not a safetensors file"),
        ({str(n): entry("F32", [0], 0, 0) for n in range(9)} | {"a": entry("F32", [2], 0, 8)}, "10 tensors"),
    ],
    ids=["larger than it is", "negative", "type", "no entry", "no object", "endless", "offsets", "many"],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: Any, said: str) -> None:
    """With all hashes as they should be: what made it, made them too."""
    monkeypatch.setattr(checkpoint, "MOST_TENSORS", 9)
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + bytes(8)
    path = tmp_path / "000000000128.json"
    path.with_suffix(".safetensors").write_bytes(content)
    write_sealed(path, {"format": 2, "images": 128, "sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(DamagedError, match=said):
        load_checkpoint(path)


@pytest.mark.parametrize("claimed", [10**12, 2**63])
def test_a_header_longer_than_the_file_is_refused(tmp_path: Path, claimed: int) -> None:
    content = struct.pack("<Q", claimed) + b"{}"
    path = tmp_path / "000000000128.json"
    path.with_suffix(".safetensors").write_bytes(content)
    write_sealed(path, {"format": 2, "images": 128, "sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(DamagedError, match="header claims"):
        load_checkpoint(path)


def test_format_1_is_read(tmp_path: Path) -> None:
    """With leaders, and from before there were any: then the best value is that of the checkpoint named the best."""
    scores = {"marks": 2, "leaders": [[64, 3.5]]}
    _, meta = load_checkpoint(old_checkpoint(tmp_path / "000000000128.json", {"step": 2, "scores": scores}))
    assert (meta["format"], meta["step"], meta["scores"]) == (FORMAT, 2, scores)
    first = old_checkpoint(tmp_path / "000000000256.json", {"scores": {"marks": 2, "best": 3.5}})
    assert load_checkpoint(first)[1]["scores"] == {"marks": 2, "leaders": []}
    write_json(tmp_path / "best.json", {"checkpoint": "000000000064"})
    assert load_checkpoint(first)[1]["scores"] == {"marks": 2, "leaders": [[64, 3.5]]}
    none = old_checkpoint(tmp_path / "000000000512.json", {"scores": {"best": None}})
    assert load_checkpoint(none)[1]["scores"] == {"leaders": []}


def test_the_best_is_named_or_nobody_is(tmp_path: Path) -> None:
    assert named_best(tmp_path) is None
    name_best(tmp_path, 640)
    assert named_best(tmp_path) == 640
    whole = (tmp_path / "best.json").read_bytes()
    (tmp_path / "best.json").write_bytes(whole.replace(b"640", b"740"))
    assert named_best(tmp_path) is None


def test_pruning_keeps_the_newest_two_the_best_and_what_is_damaged(tmp_path: Path) -> None:
    for images in range(6):
        save_checkpoint(tmp_path, images, tensors(), META)
    prune(tmp_path, {"000000000001"}, {"000000000000", "000000000005"})
    assert [int(p.stem) for p in checkpoints(tmp_path)] == [0, 1, 3, 4, 5]
