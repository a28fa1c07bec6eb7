"""Where work is done: a job in units, in this process, or by workers on a Ray cluster.

with opened("ray") as executor:
    for done in executor.run(job, units):
        use(done.name, done.result())
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xlir_bench.errors import InputError
from xlir_bench.executor.jobs import LOCAL, Done, Executor, Job, Local, processor
from xlir_bench.extras import require

__all__ = ["LOCAL", "Done", "Executor", "Job", "Local", "opened", "place", "processor"]


def place(text: str) -> str:
    """`text`, if it is ``local``, ``ray`` or ``ray:HOST:PORT``; `ValueError` for anything else."""
    if text in ("local", "ray") or re.fullmatch(r"ray:[^/\s]+:\d{1,5}", text):
        return text
    raise ValueError("local, ray or ray:HOST:PORT is wanted")


@contextmanager
def opened(
    on: str = "local",
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> Iterator[Executor]:
    """The executor of a place, until the block ends; `tell` gets messages about its workers."""
    if place(on) == "local":
        for flag, value in (("workers", workers), ("gpus-per-worker", gpus_per_worker)):
            if value is not None:
                raise InputError(f"--{flag} is for workers, and there are none here: add --on ray")
        yield LOCAL
        return
    require("ray", f"--on {on}")
    from xlir_bench.executor.cluster import connected

    with connected(on.partition(":")[2] or None, workers, gpus_per_worker, tell) as cluster:
        yield cluster
