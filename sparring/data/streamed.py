"""Data that are not held in memory: samples are read from their files when they are asked for, or a little before.

What is told to come next is read and decoded by a few threads in the background (Pillow lets go of the interpreter's
lock while it decodes). They compute pure functions of the samples' numbers, so how many there are, and whether anything
was told, changes how soon a batch is ready and nothing else; there is no state that a checkpoint would need.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparring.core.errors import RequestError, SourceError
from sparring.core.protocols import Batch, Blocks, DataSpec
from sparring.data.limits import max_bytes
from sparring.data.tensors import Resident, from_arrays, seen

AHEAD_BYTES = 2**28
"""What is decoded ahead takes at most this much memory, for each of two batches."""
STALLED = 60.0
"""Seconds after which reads count as lost, if none of all that are asked for has ended or failed."""
MIXED = 2**14
"""Samples that a window of blocks is to hold, so that what lies together in a file is far apart in the order."""
NOTED = "read while it is used"
"""How the note begins that says so in the report, and that does not hold of what is held."""
_SMALLEST_BLOCK = 256
_MOST_BLOCKS = 2**16
_FEWEST_MIXED = 4
_LEAST_WORK, _MOST_WORK = 4, 16  # samples that are handed to a thread together


class Rows(NamedTuple):
    """Samples as they are stored, `Resident`'s way: pixels [n, H, W, C] uint8 or int16, or values [n, D]."""

    x: NDArray[Any]
    numbers: NDArray[np.int64]
    """int64 [n]: whose samples they are, which is what was asked for but where another stands in."""
    replaced: tuple[tuple[str, str], ...] = ()
    """(sample, why) of those that cannot be decoded, in whose place another stands."""


class Reader(Protocol):
    """Where a streamed source reads. All functions are pure, and may be called by several threads at a time."""

    def read(self, numbers: Sequence[int]) -> Rows:
        """The samples of these numbers, in this order; raises `SourceError` when a file can no longer be read."""
        ...

    def labels(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The classes of these samples; or None where there are none."""
        ...

    def part(self, numbers: NDArray[np.int64]) -> Reader:
        """The same, for a source of these samples only, int64 [n], rising; each keeps its number."""
        ...


Job = tuple[Future[Rows], Sequence[int]]


class _Threads:
    """Threads that read. They end when nobody holds this any more, and the program's end does not wait for them, as it
    would for those of an executor: a disk that no longer answers must not keep a stopped run alive."""

    def __init__(self, count: int, read: Callable[[Sequence[int]], Rows]) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        for i in range(count):
            threading.Thread(target=_serve, args=(self._jobs, read), name=f"sparring-data-{i}", daemon=True).start()
        weakref.finalize(self, _dismiss, self._jobs, count)

    def submit(self, numbers: Sequence[int]) -> Future[Rows]:
        future: Future[Rows] = Future()
        self._jobs.put((future, numbers))
        return future


def _serve(jobs: SimpleQueue[Job | None], read: Callable[[Sequence[int]], Rows]) -> None:
    while (job := jobs.get()) is not None:
        future, numbers = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(read(numbers))
            except BaseException as error:  # whoever asks for it is told
                future.set_exception(error)
        del job, future  # or what was read would be held until there is something else to do


def _dismiss(jobs: SimpleQueue[Job | None], count: int) -> None:
    with suppress(Empty):
        while True:
            jobs.get_nowait()
    for _ in range(count):
        jobs.put(None)


class Streamed:
    """A `Source` that holds nothing but an index. `threads` decode ahead; 0 leaves all work to `take`.

    `report["refused"]` grows by each sample that is found to be damaged only when it is decoded.
    """

    def __init__(
        self,
        reader: Reader,
        spec: DataSpec,
        report: dict[str, Any],
        blocks: Blocks,
        *,
        threads: int | None = None,
        device: torch.device | None = None,
        positions: Tensor | None = None,
    ) -> None:
        self.reader = reader
        self.spec = spec
        self.report = report
        self.blocks = blocks
        self.threads = _threads() if threads is None else threads
        self.device = device or torch.device("cpu")
        self.positions = positions
        """Of the reader's samples, those that are part of this source, in rising order; None for all."""
        self._pool: _Threads | None = None
        self._ready: deque[dict[int, Future[Rows]]] = deque(maxlen=2)

    def __len__(self) -> int:
        count: int = self.report["count"]
        return count

    def take(self, index: Tensor) -> Batch:
        """The samples at int64 positions [B] in [0, len): x float32 [B, C, H, W] or [B, D] in [-1, 1], y int64 [B].

        Raises `SourceError`, naming the file and the sample, when a file that could be indexed can no longer be read.
        """
        rows = self._gather(self._numbers(index).tolist())
        x = torch.from_numpy(rows.x)
        labels = self.reader.labels(rows.numbers) if self.spec.num_classes else None
        y = None if labels is None else torch.from_numpy(labels)
        if self.device.type == "cuda":  # from pinned memory the copy does not wait for the device
            x, y = x.pin_memory(), None if y is None else y.pin_memory()
        x = x.to(self.device, non_blocking=True)
        return Batch(seen(x), None if y is None else y.to(self.device, non_blocking=True))

    def ahead(self, index: Tensor) -> None:
        """Starts to read the samples that will be taken next, as far as they take `AHEAD_BYTES`."""
        if not self.threads:
            return
        waiting = self._waiting()
        numbers = [n for n in dict.fromkeys(self._numbers(index).tolist()) if n not in waiting]
        if len(self._ready) == self._ready.maxlen:
            for future in self._ready[0].values():
                future.cancel()  # what nobody came for
        self._ready.append(self._submit(numbers[: max(1, AHEAD_BYTES // self._bytes())]))

    def to(self, device: torch.device) -> Streamed:
        """The same source, whose batches are on a device."""
        return Streamed(
            self.reader,
            self.spec,
            self.report,
            self.blocks,
            threads=self.threads,
            device=device,
            positions=self.positions,
        )

    def subset(self, index: Tensor, note: str) -> Streamed:
        """The samples at int64 positions [n], which rise; the report counts them anew and its notes say `note`."""
        if len(index) > 1 and not bool((index[1:] > index[:-1]).all()):
            raise ValueError("the positions of a subset of streamed data must rise")
        ends = torch.as_tensor(self.blocks.lengths, dtype=torch.int64).cumsum(0)
        inside = torch.bincount(torch.searchsorted(ends, index, right=True), minlength=len(ends))
        numbers = torch.from_numpy(self._numbers(index))
        sha256 = hashlib.sha256(f"{self.spec.sha256} of {len(index)}".encode())
        sha256.update(index.numpy().tobytes())
        spec = self.spec.replace(sha256=sha256.hexdigest())
        classes = {}
        labels = self.reader.labels(numbers.numpy()) if self.spec.num_classes else None
        if labels is not None:
            counts = np.bincount(labels, minlength=self.spec.num_classes).tolist()
            classes = dict(zip(self.spec.class_names, counts, strict=True))
        report = self.report | {
            "count": len(index),
            "classes": classes,
            "refused": list(self.report["refused"]),
            "notes": [*self.report["notes"], note],
            "sha256": spec.sha256,
        }
        blocks = self.blocks._replace(lengths=inside[inside > 0].tolist())
        reader = self.reader.part(numbers.numpy())
        return Streamed(reader, spec, report, blocks, threads=self.threads, device=self.device, positions=numbers)

    def held(self) -> Resident:
        """All of it, read into memory; the report says the same of it, and counts what repeats.

        Raises `RequestError` where it would take more than half of the machine's memory.
        """
        taken = len(self) * self._bytes()
        if taken > max_bytes():
            raise RequestError(
                f"{self.spec.name}: held in memory the samples take {taken >> 20} MiB, more than half of this "
                f"machine's ({max_bytes() >> 20} MiB); leave out source.stream=false, or give a smaller --size HxW"
            )
        first = self._gather(self._numbers(torch.zeros(1, dtype=torch.int64)).tolist())
        x = np.empty((len(self), *first.x.shape[1:]), first.x.dtype)
        numbers = np.empty(len(self), np.int64)
        for index in torch.split(torch.arange(len(self)), 256):
            rows = self._gather(self._numbers(index).tolist())
            x[index.numpy()], numbers[index.numpy()] = rows.x, rows.numbers
        labels = self.reader.labels(numbers) if self.spec.num_classes else None
        given = x.view(np.uint16) ^ np.uint16(2**15) if x.dtype == np.int16 else x
        found = from_arrays(given, labels, name=self.spec.name, class_names=self.spec.class_names)
        own = {key: found.report[key] for key in ("duplicates", "sha256")}
        own["notes"] = [note for note in self.report["notes"] if not note.startswith(NOTED)]
        return Resident(found.images, found.labels, found.spec, self.report | own)

    def _numbers(self, index: Tensor) -> NDArray[np.int64]:
        """The reader's numbers of the samples at these positions."""
        index = index.cpu()
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(self):
            raise IndexError(f"positions from {int(index.min())} to {int(index.max())} of {len(self)} samples")
        found: NDArray[np.int64] = (index if self.positions is None else self.positions[index]).numpy()
        return found

    def _bytes(self) -> int:
        """Bytes of one sample as it is stored."""
        return int(np.prod(self.spec.shape)) * {256: 1, 65536: 2}.get(self.spec.levels, 4)

    def _waiting(self) -> dict[int, Future[Rows]]:
        return {number: place for batch in self._ready for number, place in batch.items()}

    def _gather(self, numbers: list[int]) -> Rows:
        """Samples as they are stored, from what was read ahead and what is read now."""
        waiting = self._waiting()
        missing = [n for n in dict.fromkeys(numbers) if n not in waiting]
        if self.threads > 1 and len(missing) > _LEAST_WORK:
            waiting |= self._submit(missing)
            missing = []
        places: dict[int, tuple[Rows, int]] = {}
        for future in dict.fromkeys(waiting[n] for n in numbers if n in waiting):
            together = [n for n, other in waiting.items() if other is future]
            rows = self._result(future, waiting.values())
            if rows is None:
                missing += [n for n in together if n in numbers]
            else:
                places |= {n: (rows, at) for at, n in enumerate(together)}
        if missing:
            rows = self.reader.read(missing)
            places |= {n: (rows, at) for at, n in enumerate(missing)}
        found = [places[n] for n in numbers]
        for rows in {id(rows): rows for rows, _ in found}.values():
            self._note(rows)
        x = np.stack([rows.x[at] for rows, at in found])
        return Rows(x, np.array([rows.numbers[at] for rows, at in found], np.int64))

    def _result(self, future: Future[Rows], others: Iterable[Future[Rows]]) -> Rows | None:
        """What a thread read; None if it failed, for then what is asked for is read once more, and may succeed."""
        waiting = {other for other in others if not other.done()}
        while not future.done():
            ended = wait(waiting, STALLED, FIRST_COMPLETED).done
            if waiting and not ended:
                raise SourceError(
                    f"{self.spec.name}: samples were not read within {STALLED:g} s; see whether the disk or the "
                    "network still answers, then resume the run"
                )
            waiting -= ended
        return None if future.exception() is not None else future.result()  # reading again will say what failed

    def _submit(self, numbers: list[int]) -> dict[int, Future[Rows]]:
        """Hands samples, none of them twice, to the threads; those of one future are in its rows in the same order."""
        if self._pool is None:
            self._pool = _Threads(self.threads, self.reader.read)
        share = min(_MOST_WORK, max(_LEAST_WORK, -(-len(numbers) // self.threads)))
        found: dict[int, Future[Rows]] = {}
        for start in range(0, len(numbers), share):
            part = numbers[start : start + share]
            future = self._pool.submit(part)
            found |= dict.fromkeys(part, future)
        return found

    def _note(self, rows: Rows) -> None:
        for name, reason in rows.replaced:
            entry = {"file": name, "reason": f"{reason}; a neighbour stands in for it"}
            if entry not in self.report["refused"]:
                self.report["refused"].append(entry)


def in_blocks(counts: Sequence[int]) -> Blocks:
    """Files of so many samples cut into runs that are short enough to mix well, and no more than memory can list.

    >>> in_blocks([600, 100])
    Blocks(lengths=[256, 256, 88, 100], window=64)
    """
    length = max(_SMALLEST_BLOCK, -(-sum(counts) // _MOST_BLOCKS))
    lengths = [min(length, count - start) for count in counts for start in range(0, count, length)]
    return Blocks(lengths, max(_FEWEST_MIXED, MIXED // length))


def check_count(count: int, where: str) -> None:
    """Raises `RequestError` for fewer than two samples."""
    if count < 2:
        found = "one sample only" if count else "no samples"
        raise RequestError(f"{where}: {found}; a generator learns from many, so give at least two")


def _threads() -> int:
    """As many as there are cores but one, which steps; at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores - 1))
