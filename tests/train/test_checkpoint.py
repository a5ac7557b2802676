from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.files import read_json, write_json
from sparring.train.checkpoint import checkpoints, load_checkpoint, prune, save_checkpoint


def tensors() -> dict[str, Tensor]:
    conv = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    return {"a": conv, "b": torch.tensor(3), "c": torch.randn(5, dtype=torch.float64), "d": torch.zeros(0)}


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    saved = tensors()
    path = save_checkpoint(tmp_path / "c", 128, saved, {"step": 2, "best": None, "seconds": 0.1})
    loaded, meta = load_checkpoint(path)
    assert loaded.keys() == saved.keys()
    for name, tensor in saved.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype
    assert meta["step"] == 2
    assert meta["seconds"] == 0.1
    assert meta["images"] == 128


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "version", "json"])
def test_damage_is_found_and_named(tmp_path: Path, damage: str) -> None:
    path = save_checkpoint(tmp_path / "c", 128, tensors(), {})
    file = path.with_suffix(".safetensors")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-3] ^= 4
        file.write_bytes(content)
    elif damage == "truncate":
        file.write_bytes(content[:-10])
    elif damage == "remove":
        file.unlink()
    elif damage == "version":
        write_json(path, read_json(path) | {"format": 99})
    else:
        path.write_text("{")
    with pytest.raises(RequestError, match="000000000128"):
        load_checkpoint(path)


def test_pruning_keeps_the_newest_two_and_the_best(tmp_path: Path) -> None:
    for images in range(5):
        save_checkpoint(tmp_path, images, tensors(), {})
    (tmp_path / "000000000009.json").write_text("{}")  # without its tensors: no checkpoint
    assert [int(p.stem) for p in checkpoints(tmp_path)] == [0, 1, 2, 3, 4]
    prune(tmp_path, {"000000000001"})
    assert [int(p.stem) for p in checkpoints(tmp_path)] == [1, 3, 4]
