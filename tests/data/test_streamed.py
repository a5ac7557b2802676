"""Reading ahead changes nothing but the time; and what happens when files fail while they are used."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparring.core.errors import RequestError, SourceError
from sparring.core.protocols import Batch, Blocks, DataSpec
from sparring.data import encoded, streamed
from sparring.data.open import Data
from sparring.data.pixels import Picture
from sparring.data.streamed import Rows, Streamed, in_blocks
from sparring.train.order import order_of

Png = Callable[..., bytes]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, away: Path) -> None:
    monkeypatch.setattr(encoded, "PAUSES", (0.0, 0.0, 0.0))


def jpeg_shard(path: Path, png: Png, count: int, first: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for i in range(first, first + count):
            for name, data in ((f"{i:05}.jpg", png(i, (24, 24, 3), "JPEG")), (f"{i:05}.cls", str(i % 4).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def root(tmp_path: Path, png: Png) -> Path:
    for i in range(3):
        jpeg_shard(tmp_path / "set" / f"{i}.tar", png, 40, 40 * i)
    return tmp_path / "set"


def source(root: Path, threads: int) -> Streamed:
    found = Data(source=str(root)).load()
    assert isinstance(found, Streamed)
    found.threads = threads
    return found


def batches(of: Streamed, ahead: bool) -> list[Batch]:
    order, found = order_of(of, 7), []
    for step in range(12):
        found.append(of.take(order.indices(32 * step, 32)))
        if ahead:
            of.ahead(order.indices(32 * (step + 1), 32))
        if step % 3 == 0:  # a look at some of what comes next
            found.append(of.take(order.indices(32 * (step + 1), 5)))
    return found


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("ahead", [False, True])
def test_threads_and_reading_ahead_change_nothing(root: Path, threads: int, ahead: bool) -> None:
    held = Data(source=str(root), stream=False).load()
    found = batches(source(root, threads), ahead)
    order = order_of(source(root, 0), 7)
    at = 0
    for step in range(12):
        for index in [order.indices(32 * step, 32)] + ([order.indices(32 * (step + 1), 5)] if step % 3 == 0 else []):
            expected = held.take(index)
            assert torch.equal(found[at].x, expected.x)
            assert torch.equal(found[at].y, expected.y)  # type: ignore[arg-type]
            at += 1
    assert at == len(found)


class Counting:
    """A reader of numbers, which keeps book of what was read by which thread."""

    def __init__(self) -> None:
        self.read_by: list[tuple[str, tuple[int, ...]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails = 0

    def read(self, numbers: Sequence[int]) -> Rows:
        self.read_by.append((threading.current_thread().name, tuple(numbers)))
        name = threading.current_thread().name
        if name.startswith("sparring-data"):
            self.gate.wait(5)
            if self.fails:
                self.fails -= 1
                raise MemoryError("a thread that dies")
        values = np.array(numbers, np.float32)[:, None] / 1000
        return Rows(np.repeat(values, 2, 1), np.array(numbers, np.int64))

    def labels(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return None

    def part(self, numbers: NDArray[np.int64]) -> Counting:
        return self


def numbered(threads: int = 2) -> tuple[Counting, Streamed]:
    reader = Counting()
    spec = DataSpec(name="numbers", shape=(2,), levels=0)
    report = {"count": 1000, "refused": [], "notes": []}
    return reader, Streamed(reader, spec, report, Blocks([1000], 1), threads=threads)


def test_what_was_told_is_read_in_the_background_and_once() -> None:
    reader, of = numbered()
    of.ahead(torch.arange(10, 30))
    of.ahead(torch.arange(20, 40))  # half of it again
    x = of.take(torch.arange(10, 40)).x
    assert (x[:, 0] * 1000).round().tolist() == list(range(10, 40))
    assert all(name.startswith("sparring-data") for name, _ in reader.read_by)
    assert sorted(n for _, numbers in reader.read_by for n in numbers) == list(range(10, 40))


def test_take_does_not_wait_for_what_it_does_not_ask_for() -> None:
    reader, of = numbered(1)
    reader.gate.clear()
    of.ahead(torch.arange(10, 30))
    started = time.perf_counter()
    assert of.take(torch.tensor([5])).x[0, 0].item() == pytest.approx(0.005)
    assert time.perf_counter() - started < 2
    reader.gate.set()


def test_no_more_than_two_batches_wait_and_each_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    _, of = numbered(1)
    for start in range(0, 500, 10):
        of.ahead(torch.arange(start, start + 10))
    assert len(of._waiting()) == 20
    monkeypatch.setattr(streamed, "AHEAD_BYTES", 8 * 4)  # four samples of two float32
    _, of = numbered(1)
    of.ahead(torch.arange(100))
    assert len(of._waiting()) == 4


def test_a_thread_that_dies_is_stood_in_for() -> None:
    reader, of = numbered()
    reader.fails = 2
    of.ahead(torch.arange(8))
    assert (of.take(torch.arange(8)).x[:, 0] * 1000).round().tolist() == list(range(8))


def test_a_read_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "STALLED", 0.05)
    reader, of = numbered()
    reader.gate.clear()
    of.ahead(torch.arange(8))
    with pytest.raises(SourceError, match="numbers: samples were not read within"):
        of.take(torch.arange(8))
    reader.gate.set()


def test_a_slow_read_that_gets_on_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "STALLED", 0.6)
    reader, of = numbered(1)
    honest = reader.read

    def slow(numbers: Sequence[int]) -> Rows:
        time.sleep(0.015 * len(numbers))
        return honest(numbers)

    monkeypatch.setattr(reader, "read", slow)
    of.ahead(torch.arange(64))  # in parts, 0.96 s together
    assert (of.take(torch.arange(80)).x[:, 0] * 1000).round().tolist() == list(range(80))


def test_a_read_that_never_ends_does_not_keep_the_program_alive() -> None:
    text = """
import os, signal, threading, torch
from sparring.core.protocols import Blocks, DataSpec
from sparring.data.streamed import Streamed
class Stuck:
    def read(self, numbers):
        threading.Event().wait()
of = Streamed(Stuck(), DataSpec(name="stuck", shape=(2,)), {"count": 100}, Blocks([100], 1), threads=2)
of.ahead(torch.arange(80))
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    of.take(torch.arange(80))
except KeyboardInterrupt:
    print("stopped")
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")


def test_threads_end_with_their_source() -> None:
    before = set(threading.enumerate())
    reader, of = numbered(3)
    reader.gate.clear()
    of.ahead(torch.arange(200))
    new = set(threading.enumerate()) - before
    assert len(new) == 3
    del of
    gc.collect()
    reader.gate.set()
    for thread in new:
        thread.join(5)
        assert not thread.is_alive()
    assert len(reader.read_by) <= 3  # what was waiting is not read any more


def test_what_nobody_came_for_is_not_read() -> None:
    reader, of = numbered(1)
    reader.gate.clear()
    for start in range(0, 500, 10):
        of.ahead(torch.arange(start, start + 10))
    reader.gate.set()
    of.take(torch.arange(480, 500))
    assert len({n for _, numbers in reader.read_by for n in numbers}) <= 40


def test_a_set_that_memory_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, of = numbered()
    monkeypatch.setattr(streamed, "max_bytes", lambda: 1000 * 2 * 4 - 1)
    with pytest.raises(RequestError, match=r"numbers: held in memory the samples take .*; leave out source.stream"):
        of.held()


def test_files_are_opened_one_by_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = source(root, 0)
    said: list[str] = []
    files = of.reader.files  # type: ignore[attr-defined]
    fetch, decode = files.fetch, encoded.decode
    monkeypatch.setattr(files, "fetch", lambda number: (said.append("fetch"), fetch(number))[1])
    monkeypatch.setattr(encoded, "decode", lambda *given: (said.append("decode"), decode(*given))[1])
    of.take(torch.arange(5))
    assert said == ["fetch", "decode"] * 5


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("how", ["deleted", "cut", "other bytes", "a folder"])
def test_a_file_that_fails_midway_is_named(root: Path, png: Png, threads: int, how: str) -> None:
    of = source(root, threads)
    path = root / "1.tar"
    whole = path.read_bytes()
    of.take(torch.arange(0, 80, 7))
    if how == "cut":
        path.write_bytes(whole[:2000])
    elif how == "other bytes":
        jpeg_shard(path, png, 40, 400)
    else:
        path.unlink()
        if how == "a folder":
            path.mkdir()
    if threads:
        of.ahead(torch.arange(37, 47))
    reason = "cannot be read" if how in ("deleted", "a folder") else "is no longer what was indexed"
    with pytest.raises(SourceError, match=rf"set/1\.tar: sample \d+ at byte \d+: {reason}.*after 4 tries") as caught:
        of.take(torch.arange(37, 47))
    assert "\n" not in str(caught.value)
    of.take(torch.tensor([0, 39, 119]))  # the other shards are as they were
    if how != "a folder":
        path.write_bytes(whole)  # and it is taken up again once the file is back
        index = torch.arange(37, 47)
        assert torch.equal(of.take(index).x, source(root, 0).take(index).x)


def test_a_read_that_fails_three_times_is_tried_a_fourth(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    of = source(root, 0)
    expected = of.take(torch.tensor([50])).x
    honest, tries = os.pread, []
    waits: list[float] = []
    monkeypatch.setattr(encoded, "PAUSES", (0.1, 0.5, 2.0))
    monkeypatch.setattr(encoded.time, "sleep", waits.append)

    def flaky(file: int, count: int, offset: int) -> bytes:
        tries.append(offset)
        if len(tries) < 3:
            raise OSError(5, "Input/output error")
        return b"?" + honest(file, count, offset)[1:] if len(tries) == 3 else honest(file, count, offset)

    monkeypatch.setattr(os, "pread", flaky)
    assert torch.equal(of.take(torch.tensor([50])).x, expected)
    assert len(tries) == 4
    assert waits == [0.1, 0.5, 2.0]


def damaged(png: Png, seed: int) -> bytes:
    """A JPEG whose header is sound, and whose pixels end too soon."""
    return png(seed, (24, 24, 3), "JPEG")[:700]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_damaged_image_is_stood_in_for_by_the_next_sound_one(tmp_path: Path, png: Png, threads: int) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(30):
            data = damaged(png, i) if i in (7, 8, 29) else png(i, (24, 24, 3), "JPEG")
            for name, content in ((f"{i:02}.jpg", data), (f"{i:02}.cls", str(i % 3).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    of = source(tmp_path / "a.tar", threads)
    assert of.report["refused"] == []
    index = torch.tensor([6, 7, 8, 9, 29, 0])
    if threads:
        of.ahead(index)
    batch = of.take(index)
    assert torch.equal(batch.x[1], batch.x[3])
    assert torch.equal(batch.x[2], batch.x[3])
    assert torch.equal(batch.x[4], batch.x[5])
    assert batch.y is not None
    assert batch.y.tolist() == [0, 0, 0, 0, 0, 0]  # 6, 9, 9, 9, 0, 0: the classes are the stand-ins' own
    of.take(index)
    assert len(of.report["refused"]) == 3
    names = sorted(entry["file"] for entry in of.report["refused"])
    assert [name.split(": ")[1].split(" at")[0] for name in names] == ["sample 29", "sample 7", "sample 8"]
    assert all("a neighbour stands in for it" in entry["reason"] for entry in of.report["refused"])


def test_what_is_held_out_stands_in_for_nothing(tmp_path: Path, png: Png) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(30):
            data = damaged(png, i) if i % 3 == 0 else png(i, (24, 24, 3), "JPEG")
            info = tarfile.TarInfo(f"{i:02}.jpg")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    of = source(tmp_path, 0)
    kept = of.subset(torch.tensor([0, 2, 3, 5, 9, 11, 12, 14, 27]), "some")
    alone = kept.subset(torch.tensor([0, 1, 8]), "fewer")
    direct = {i: of.take(torch.tensor([i])).x[0] for i in (2, 5, 11, 14)}
    for position, other in enumerate([2, 2, 5, 5, 11, 11, 14, 14, 2]):
        assert torch.equal(kept.take(torch.tensor([position])).x[0], direct[other])
    assert torch.equal(alone.take(torch.tensor([0, 2])).x, torch.stack([direct[2], direct[2]]))


def test_an_image_that_is_not_what_its_header_says_is_stood_in_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = source(root, 0)
    honest, wrong = encoded.decode, [np.zeros((1, 1, 3), np.uint8), np.zeros((24, 24, 4), np.uint8)]
    wrong.append(np.zeros((24, 24, 1), np.uint16))
    for pixels in wrong:
        answers = [Picture(pixels)]
        monkeypatch.setattr(encoded, "decode", lambda *given, a=answers: a.pop() if a else honest(*given))
        x = of.take(torch.tensor([3, 4])).x
        assert torch.equal(x[0], x[1])
    assert of.report["refused"][0]["reason"] == "is not what its header says; a neighbour stands in for it"


def test_damage_everywhere_ends(tmp_path: Path, png: Png) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(20):
            for name, content in ((f"{i:02}.jpg", damaged(png, i)), (f"{i:02}.cls", b"0")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    with pytest.raises(SourceError, match=r"sample 3 at byte \d+: cannot be decoded .*none of the 16 samples after it"):
        source(tmp_path / "a.tar", 0).take(torch.tensor([3]))


def test_a_block_of_which_nothing_is_left_is_none() -> None:
    _, of = numbered()
    of.blocks = Blocks([300, 200, 500], 2)
    assert of.subset(torch.tensor([0, 299, 500]), "three").blocks == Blocks([2, 1], 2)


def test_blocks_are_no_more_than_memory_can_list() -> None:
    for counts in ([2**14, 1, 255], [10_000] * 70, [10**9]):
        blocks = in_blocks(counts)
        assert sum(blocks.lengths) == sum(counts)
        assert len(blocks.lengths) <= 2**16 + len(counts)
        assert 2**13 <= max(blocks.lengths) * blocks.window <= 2**17
