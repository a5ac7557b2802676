"""Several processes that play one game: each takes its rows of every batch, and all hold the same players.

Started by `torchrun` or anything else that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; gloo on CPUs, NCCL on
GPUs. Gradients are added up by hand after all of a turn's backward passes, not by a wrapper of the networks: that is
right under gradient penalties, which differentiate twice, and for players that wait. What decides about the run's
course (scores, the time) is said by the first process, as numbers or as JSON; nothing is pickled. A wish to stop, and
what one process fails at, is everybody's at the same moment: who waits for a process that does not come waits long.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sparring.core.errors import RequestError, SourceError, TrainingError
from sparring.core.exchange import Rows
from sparring.train.faults import OutOfMemoryError, memory_watched

_PATIENCE = timedelta(minutes=30)  # the first process scores while the others wait


class Ranks:
    """The processes of a run, seen from one of them. One alone needs nobody, and every method is then trivial."""

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.count = rank, count
        self.device = device or torch.device("cpu")

    @classmethod
    def start(cls, device: torch.device) -> Ranks:
        """Joins the others, where the environment says that there are any."""
        try:
            rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        except ValueError:
            raise RequestError(
                f"RANK={os.environ.get('RANK')} WORLD_SIZE={os.environ.get('WORLD_SIZE')}: expected whole numbers, as "
                "torchrun sets them"
            ) from None
        if count > 1 and device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank % torch.cuda.device_count())))
            torch.cuda.set_device(device)
        if count > 1 and not dist.is_initialized():
            try:
                dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
            except (ValueError, RuntimeError) as error:
                raise RequestError(
                    f"process {rank} of {count} can't join the others ({str(error).splitlines()[0]}); start them with "
                    "torchrun, or unset WORLD_SIZE"
                ) from None
        return cls(rank, count, device)

    def leave(self) -> None:
        """The end of working together."""
        if self.count > 1:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        return self.rank == 0

    def rows(self, batch: int) -> Rows:
        """The rows of a batch that are this process's."""
        own = batch // self.count
        return Rows(self.rank * own, (self.rank + 1) * own, batch)

    def add(self, tensor: Tensor) -> Tensor:
        """The sum of everybody's tensor, differentiable any number of times."""
        return tensor if self.count == 1 else _Sum.apply(tensor, self)  # type: ignore[no-untyped-call]

    def add_all(self, tensors: Sequence[Tensor]) -> None:
        """Sums of everybody's tensors, in place, in one message."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1).to(tensors[0].dtype) for tensor in tensors])
        self.sum_up(flat)
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def gather(self, tensor: Tensor) -> Tensor:
        """Everybody's rows, in order."""
        if self.count == 1:
            return tensor
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.count)]
        self._together(lambda: dist.all_gather(parts, tensor.contiguous()))
        return torch.cat(parts)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The means of everybody's values, which have the same names."""
        if self.count == 1 or not values:
            return dict(values)
        flat = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device) / self.count
        self.add_all([flat])
        return dict(zip(values, flat.tolist(), strict=True))

    def tell(self, data: Any) -> Any:
        """What the first process says; the others' `data` is not looked at. It must be JSON."""
        if self.count == 1:
            return data
        text = json.dumps(data).encode() if self.first else b""
        size = torch.tensor(len(text), device=self.device)
        self._together(lambda: dist.broadcast(size, 0))
        content = torch.zeros(int(size), dtype=torch.uint8, device=self.device)
        if self.first:
            content.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        self._together(lambda: dist.broadcast(content, 0))
        return json.loads(bytes(content.cpu().tolist()))

    def agree(self, wish: bool, seconds: float) -> tuple[bool, float]:
        """Whether anybody wishes it, and the first process's seconds."""
        if self.count == 1:
            return wish, seconds
        both = torch.tensor([float(wish), seconds if self.first else 0.0], dtype=torch.float64, device=self.device)
        self.sum_up(both)
        return bool(both[0] > 0), float(both[1])

    def same(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether everybody has the same numbers, by their hash."""
        if self.count == 1:
            return True
        found = hashlib.blake2b(digest_size=16)
        for tensor in tensors.values():
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        own = torch.tensor(list(found.digest()), dtype=torch.uint8, device=self.device)
        return bool((self.gather(own).view(self.count, -1) == own).all())

    def as_one(self) -> AbstractContextManager[None]:
        """What one process fails at within it for want of memory or of data, all fail at: `OutOfMemoryError` or
        `SourceError`. Nobody may wait for the others within it."""
        return memory_watched() if self.count == 1 else self._as_one()

    @contextmanager
    def _as_one(self) -> Iterator[None]:
        failed: OutOfMemoryError | SourceError | None = None
        try:
            with memory_watched():
                yield
        except (OutOfMemoryError, SourceError) as error:
            failed = error
        mine = 0 if failed is None else 2 if isinstance(failed, SourceError) else 1
        worst = torch.tensor(mine, device=self.device)
        self._together(lambda: dist.all_reduce(worst, dist.ReduceOp.MAX))
        if int(worst) == 2 and mine != 2:
            failed = SourceError("another process can't read its data")
        elif int(worst) == 1:
            failed = OutOfMemoryError(str(failed or "another process is out of memory"), agreed=True)
        try:
            if failed is not None:
                raise failed
        finally:
            del failed  # or the error and this call would hold each other, and all that the step was made of

    def sum_up(self, tensor: Tensor) -> None:
        """The sum of everybody's tensor, in place."""
        self._together(lambda: dist.all_reduce(tensor))

    def _together(self, talk: Callable[[], Any]) -> None:
        try:
            talk()
        except RuntimeError as error:
            raise TrainingError(
                f"process {self.rank} of {self.count} has lost the others ({str(error).splitlines()[0][:120]}); the "
                "last checkpoint is good: sparring resume goes on from it"
            ) from None


class _Sum(torch.autograd.Function):
    """y = the sum of everybody's x; a loss that is everybody's sum has the gradient sum of everybody's ∂L/∂y in x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        total = x.clone(memory_format=torch.contiguous_format)
        ranks.sum_up(total)
        return total

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(slope, ctx.ranks), None  # type: ignore[no-untyped-call]
