"""Parquet files: what is read is what was written, a few row groups at a time."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.core.errors import RequestError, SourceError
from sparring.core.protocols import Blocks
from sparring.data import encoded, parquet
from sparring.data.index import Part
from sparring.data.open import Data
from sparring.data.streamed import Streamed
from sparring.data.tensors import from_arrays
from sparring.train.order import order_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.usefixtures("away")
Png = Callable[..., bytes]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "PAUSES", (0.0, 0.0, 0.0))


def write(path: Path, columns: dict[str, Any], rows: int = 7, metadata: dict[bytes, bytes] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    return path


def images(png: Png, first: int, count: int, *, struct: bool = True) -> dict[str, Any]:
    found = [png(i) for i in range(first, first + count)]
    cells = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(found)] if struct else found
    return {"image": cells, "label": [i % 3 for i in range(first, first + count)]}


def load(path: Path, **more: Any) -> Streamed:
    source = Data(source=str(path), **more).load()
    assert isinstance(source, Streamed)
    return source


def rounded(x: torch.Tensor) -> np.ndarray:
    return ((x + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("struct", [True, False])
def test_images_are_what_was_written(tmp_path: Path, png: Png, struct: bool) -> None:
    names = json.dumps({"info": {"features": {"label": {"names": ["a", "b", "c"]}}}}).encode()
    for i in range(2):
        write(tmp_path / "set" / f"{i}.parquet", images(png, 20 * i, 20, struct=struct), 7, {b"huggingface": names})
    source = load(tmp_path / "set")
    assert source.blocks.lengths == [7, 7, 6, 7, 7, 6]
    assert source.report["classes"] == {"a": 14, "b": 13, "c": 13}
    index = [39, 0, 6, 7, 19, 20, 0]
    batch = source.take(torch.tensor(index))
    expected = np.stack([np.asarray(Image.open(io.BytesIO(png(i)))) for i in index])
    np.testing.assert_array_equal(rounded(batch.x), expected)
    assert batch.y is not None
    assert batch.y.tolist() == [i % 3 for i in index]
    held = Data(source=str(tmp_path / "set"), stream=False).load()
    assert torch.equal(held.take(torch.arange(40)).x, source.take(torch.arange(40)).x)
    assert load(tmp_path / "set").spec == source.spec
    assert list(source.report) == list(from_arrays(np.zeros((2, 2), np.uint8)).report)
    json.dumps(source.report)


def test_splits_as_hugging_face_lays_them_out(tmp_path: Path, png: Png) -> None:
    for split, first in (("train", 0), ("test", 50)):
        write(tmp_path / "data" / f"{split}-00000-of-00001.parquet", images(png, first, 6))
    (tmp_path / "README.md").write_text("a set")
    assert torch.equal(
        load(tmp_path, split="test").take(torch.arange(6)).x,
        load(tmp_path / "data" / "test-*.parquet").take(torch.arange(6)).x,
    )
    assert len(load(tmp_path)) == 6


def test_rows_of_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (40, 3))
    columns = {"a": x[:, 0], "b": x[:, 1], "label": ["dog", "cat"] * 20, "c": x[:, 2], "text": ["?"] * 40}
    source = load(write(tmp_path / "a.parquet", columns))
    assert (source.spec.shape, source.spec.levels, source.spec.class_names) == ((3,), 0, ("cat", "dog"))
    batch = source.take(torch.tensor([39, 3, 8]))
    np.testing.assert_array_equal(batch.x.numpy(), x[[39, 3, 8]].astype(np.float32))
    assert batch.y is not None
    assert batch.y.tolist() == [0, 0, 1]
    held = Data(source=str(tmp_path / "a.parquet"), stream=False).load()
    assert torch.equal(held.take(torch.arange(40)).x, source.take(torch.arange(40)).x)
    plain = load(tmp_path / "a.parquet", labels="ignore")
    assert plain.take(torch.tensor([0])).y is None
    assert plain.spec.shape == (3,)


def test_rows_of_bytes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 2), dtype=np.uint8)
    source = load(write(tmp_path / "a.parquet", {"a": x[:, 0], "b": x[:, 1]}))
    assert source.spec.levels == 256
    assert torch.equal(source.take(torch.arange(20)).x, from_arrays(x).take(torch.arange(20)).x)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [0.5, None, 0.1]}, "row 1 has no a"),
        ({"a": [0.5, 3.0, 0.1]}, r"a is 3 in row 1; expected finite numbers in \[-1, 1\]"),
        ({"a": [0.5, float("nan"), 0.1]}, r"a is nan in row 1"),
        ({"a": [0.5, float("inf"), 0.1]}, r"a is inf in row 1"),
        ({"name": ["x", "y", "z"]}, r"neither images nor numbers among its columns name \(string\)"),
        ({"a": [0.5]}, "one sample only"),
        ({"a": [0.5, 0.1], "label": [0, None]}, "labels missing for 1 of 2"),
        ({"a": [0.5, 0.1], "label": [0, 9]}, "label 9 for 2 samples"),
        ({"image": [b"?", b"!"]}, "2 of 2 images are bad"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        load(write(tmp_path / "a.parquet", columns))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", ["cut", "footer", "empty", "text"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, png: Png, spoil: str) -> None:
    path = write(tmp_path / "a.parquet", images(png, 0, 20))
    data = path.read_bytes()
    wrong = {"cut": data[:-40], "empty": b"", "text": b"a,b\n1,2\n" * 100}
    wrong["footer"] = data[:-200] + bytes(x ^ 255 for x in data[-200:-8]) + data[-8:]
    path.write_bytes(wrong[spoil])
    with pytest.raises(RequestError, match=r"a\.parquet: (cannot be read as Parquet|row group)") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_are_read_or_refused_in_a_line(tmp_path: Path, png: Png) -> None:
    path = write(tmp_path / "a.parquet", images(png, 0, 20))
    whole, random, said = path.read_bytes(), np.random.default_rng(0), []
    for _ in range(40):
        data = bytearray(whole)
        data[random.integers(4, len(data))] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        try:
            source = load(path)
            source.take(torch.arange(len(source)))
        except (RequestError, SourceError) as error:
            said.append(str(error))
    assert len(said) > 3
    assert all(text.startswith(str(path)) and "\n" not in text for text in said)


def test_missing_columns_in_one_of_many(tmp_path: Path, png: Png) -> None:
    write(tmp_path / "set" / "0.parquet", images(png, 0, 6))
    write(tmp_path / "set" / "1.parquet", {"image": images(png, 0, 6)["image"]})
    with pytest.raises(RequestError, match=r"1\.parquet has other columns than 0\.parquet"):
        load(tmp_path / "set")


def test_row_groups_that_do_not_fit_are_refused(tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", images(png, 0, 64), 64)
    monkeypatch.setattr(parquet, "MAX_GROUP", 2000)
    with pytest.raises(RequestError, match=r"row group 0 unpacks to 0 MiB, more than .*row_group_size=4"):
        load(path)


def test_one_value_a_million_times_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_GROUP", 2**20)
    path = write(tmp_path / "a.parquet", {"image": [b"x" * 2**14] * 2000}, 2000)
    assert path.stat().st_size < 2**16  # what is repeated is stored once
    with pytest.raises(RequestError, match="row group 0 unpacks to more than 1 MiB"):
        load(path)


def test_one_label_a_thousand_times_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_GROUP", 2**20)
    path = write(tmp_path / "a.parquet", {"a": [0.5] * 2000, "label": ["x" * 2**14] * 2000}, 2000)
    largest = []
    honest = pq.ParquetFile.iter_batches

    def watched(*given: Any, **more: Any) -> Any:
        for batch in honest(*given, **more):
            largest.append(batch.nbytes)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    with pytest.raises(RequestError, match="row group 0 unpacks to more than 1 MiB"):
        load(path)
    assert max(largest) < 2**19


def test_rows_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_SAMPLES", 99)
    monkeypatch.setattr(parquet, "_MOST_NAMED", 5)
    path = write(tmp_path / "a.parquet", {"image": pa.nulls(99, pa.binary())}, 99)
    about = parquet.index_table(path)[1]
    assert (about["num_refused"], len(about["refused"])) == (99, 5)
    write(path, {"image": pa.nulls(100, pa.binary())}, 50)
    with pytest.raises(RequestError, match="more than 99 rows; cut it into several files"):
        load(path)


def test_names_of_classes_are_those_of_the_column_that_is_read(tmp_path: Path, png: Png) -> None:
    features = {"fine_label": {"names": ["x", "y", "z"]}, "label": {"dtype": "int64"}}
    names = json.dumps({"info": {"features": features}}).encode()
    write(tmp_path / "a.parquet", images(png, 0, 9), 9, {b"huggingface": names})
    assert load(tmp_path / "a.parquet").spec.class_names == ("0", "1", "2")


def test_a_pipe_in_place_of_a_table_is_not_waited_for(tmp_path: Path, png: Png) -> None:
    path = write(tmp_path / "a.parquet", images(png, 0, 6))
    source = load(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError, match=r"a\.parquet: row 0: cannot be read \(not a regular file\)"):
        source.take(torch.tensor([0]))


def test_only_a_few_groups_are_held(tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load(write(tmp_path / "a.parquet", images(png, 0, 84)))
    size = sum(len(png(i)) for i in range(7))
    monkeypatch.setattr(parquet, "_KEPT", 3.5 * size)
    read: list[int] = []
    honest = parquet._batches

    def counting(file: Any, group: int, *more: Any) -> Any:
        read.append(group)
        return honest(file, group, *more)

    monkeypatch.setattr(parquet, "_batches", counting)
    source.blocks = source.blocks._replace(window=3)
    source.threads = 2
    order = order_of(source, 0)
    for position in range(0, 84, 7):
        source.take(order.indices(position, 7))
    groups = source.reader.files  # type: ignore[attr-defined]
    assert len(groups._kept) <= 4
    assert sorted(read) == list(range(12))  # each of them once in an epoch
    source.take(torch.arange(84))
    assert sum(held for _, held in groups._kept.values()) <= 3.5 * size


@pytest.mark.parametrize(("largest", "window"), [(1, 256), (2**20, 128), (2**26, 2), (2**27, 2)])
def test_a_window_holds_as_many_groups_as_there_is_room_for(largest: int, window: int) -> None:
    parts = [Part(Path("a"), "", 5, {"largest": size, "groups": [3, 0, 2]}) for size in (largest, 1)]
    assert parquet.blocks_of(parts) == Blocks([3, 2, 3, 2], window)


def test_rounding_beyond_one_is_clamped(tmp_path: Path) -> None:
    source = load(write(tmp_path / "a.parquet", {"a": [1.0000005, -1.0000005, 0.5]}))
    assert source.take(torch.arange(3)).x[:, 0].tolist() == [1.0, -1.0, 0.5]


def test_a_file_that_fails_midway_is_named(tmp_path: Path, png: Png) -> None:
    for i in range(2):
        write(tmp_path / "set" / f"{i}.parquet", images(png, 20 * i, 20))
    source = load(tmp_path / "set")
    source.take(torch.arange(3))
    whole = (tmp_path / "set" / "1.parquet").read_bytes()
    (tmp_path / "set" / "1.parquet").unlink()
    with pytest.raises(SourceError, match=r"1\.parquet: row 5: cannot be read \(No such file"):
        source.take(torch.tensor([25]))
    write(tmp_path / "set" / "1.parquet", images(png, 60, 20))
    with pytest.raises(SourceError, match=r"1\.parquet: row 5: is no longer what was indexed, after 4 tries"):
        source.take(torch.tensor([25]))
    (tmp_path / "set" / "1.parquet").write_bytes(whole)
    source.take(torch.tensor([25]))


def test_without_pyarrow_it_is_said(tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", images(png, 0, 6))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(RequestError, match=r"needs pyarrow: pip install 'sparring\[parquet\]'"):
        load(path)


def test_a_name_of_a_column_that_is_no_text_is_refused_in_a_line(tmp_path: Path) -> None:
    """The schema says `width`, the row group's own list of columns something else that is no UTF-8."""
    path = write(tmp_path / "a.parquet", {"width": pa.array([0.5, 0.25], pa.float32())})
    content = bytearray(path.read_bytes())
    places = [at for at in range(len(content)) if content[at : at + 5] == b"width"]
    said = []
    for at in places:
        spoilt = content.copy()
        spoilt[at] = 0xFF
        path.write_bytes(spoilt)
        try:
            Data(source=str(path)).load()
        except RequestError as error:
            said.append(str(error))
    assert any("row group 0 cannot be read" in line for line in said)
    assert not any("\n" in line for line in said)
