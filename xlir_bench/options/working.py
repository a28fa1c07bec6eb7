"""Where work is done. It decides how long something takes, and no number."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xlir_bench.executor import place
from xlir_bench.options.stating import option

MACHINES = "Machines"


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """Who does the work."""

    on: str = option(
        "Where work is done: here, by workers of the Ray cluster of RAY_ADDRESS or of this machine (else of one"
        " that is started here), or of the cluster with this head.",
        "local", group=MACHINES, metavar="local|ray|ray:HOST:PORT", parse=place,
    )  # fmt: skip
    workers: int | None = option(
        "How many workers.  [default: one a GPU, or else one a node]", None, group=MACHINES, metavar="N", least=1
    )  # fmt: skip
    gpus_per_worker: float | None = option(
        "GPUs of each; 0.5 is half of one.  [default: 1 where the cluster has any]",
        None, group=MACHINES, metavar="N", least=0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shard:
    """One of so many parts, counted from 1."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """From I/N."""
        found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if found is None or int(found[1]) > int(found[2]):
            raise ValueError("I/N is wanted, the I-th of N parts, such as 1/8")
        return cls(int(found[1]), int(found[2]))
