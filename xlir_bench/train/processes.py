"""Several processes that train one model (`torchrun`): which one this is, and what they send each other.

Each process reads every batch, encodes its part of each column of it, and gets the vectors of the others. So
every process computes the loss of the whole batch, which is the same as in one process, and sends gradients
into its own part. The first process alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(days=2)
"""How long a process waits for the first one, which may read many rows or evaluate for hours."""


def launched() -> bool:
    """Whether `torchrun` started this process as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(on_cpu: bool) -> Iterator[None]:
    """This process among those that `torchrun` started with it; nothing where it is alone."""
    if not launched() or dist.is_initialized():
        yield
        return
    if not on_cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("gloo" if on_cpu else "nccl", timeout=PATIENCE)
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process; 0 is the first, which alone writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def shared(value: Any) -> Any:
    """What the first process gives, in all of them."""
    if processes() == 1:
        return value
    told = [value]
    dist.broadcast_object_list(told, src=0)
    return told[0]


def part(count: int, rank: int, processes: int) -> slice:
    """Which of the texts of a column a process encodes."""
    return slice(count * rank // processes, count * (rank + 1) // processes)


def gathered(vectors: Tensor, count: int) -> Tensor:
    """The vectors of all `count` texts of a column, from this process's part of them."""
    return vectors if processes() == 1 else _Gathered.apply(vectors, count)  # type: ignore[no-untyped-call]


class _Gathered(torch.autograd.Function):
    """Every process computes the same loss of all vectors, so its own part of the gradient is complete.

    The gradients of the weights are averaged over the processes afterwards, where their sum is wanted.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, count: int) -> Tensor:
        """A part may be empty, and is then encoded from one text that does not count."""
        parts = [part(count, number, processes()) for number in range(processes())]
        ctx.own, ctx.shape = parts[rank()], vectors.shape
        longest = max(p.stop - p.start for p in parts)
        padded = vectors.new_zeros((longest, *vectors.shape[1:]))
        own = vectors[: ctx.own.stop - ctx.own.start]
        padded[: len(own)] = own
        every = [torch.empty_like(padded) for _ in parts]
        dist.all_gather(every, padded)
        return torch.cat([v[: p.stop - p.start] for v, p in zip(every, parts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient of this process's part."""
        own = gradient.new_zeros(ctx.shape)
        own[: ctx.own.stop - ctx.own.start] = gradient[ctx.own] * processes()
        return own, None
