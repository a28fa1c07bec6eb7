"""Several processes that train one model (`torchrun`): which one this is, and what they send each other.

Each process reads every batch, encodes its part of each column, and gets the vectors of the other parts. So
every process computes the loss of the whole batch, the same as a single process would, and passes gradients back
through its own part. Only the first process writes.
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
    """Join the other processes that `torchrun` started; do nothing if this process is alone."""
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
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def shared(value: Any) -> Any:
    """The `value` that the first process passes, returned in every process."""
    if processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def part(count: int, rank: int, processes: int) -> slice:
    """Which of the `count` texts of a column the process `rank` encodes."""
    return slice(count * rank // processes, count * (rank + 1) // processes)


def gathered(vectors: Tensor, count: int) -> Tensor:
    """The vectors of all `count` texts of a column, from this process's part of them."""
    return vectors if processes() == 1 else _Gathered.apply(vectors, count)  # type: ignore[no-untyped-call]


class _Gathered(torch.autograd.Function):
    """Gathers vectors from all processes, and gives each process the gradient of its own part.

    Every process computes the same loss from all vectors, so no gradients have to be sent. Afterwards the library
    averages the gradients of the weights over the processes, although their sum is needed: so `backward` multiplies by
    the number of processes.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, count: int) -> Tensor:
        """The vectors of all parts, in order. A process with an empty part encodes one text, whose vector is dropped here."""
        parts = [part(count, number, processes()) for number in range(processes())]
        ctx.own, ctx.shape = parts[rank()], vectors.shape
        longest = max(p.stop - p.start for p in parts)
        padded = vectors.new_zeros((longest, *vectors.shape[1:]))
        own_vectors = vectors[: ctx.own.stop - ctx.own.start]
        padded[: len(own_vectors)] = own_vectors
        every = [torch.empty_like(padded) for _ in parts]
        dist.all_gather(every, padded)
        return torch.cat([v[: p.stop - p.start] for v, p in zip(every, parts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient of this process's part."""
        own_gradient = gradient.new_zeros(ctx.shape)
        own_gradient[: ctx.own.stop - ctx.own.start] = gradient[ctx.own] * processes()
        return own_gradient, None
