"""What a piece of work costs: run in a process of its own, with a ceiling on both time and memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GB = 1 << 30
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cost:
    """What it took and what it said."""

    code: int
    seconds: float
    """Of processor time: others may share the machine."""
    megabytes: int
    """At its peak."""
    said: str


def cost(*command: str, seconds: int = 20, memory: int = 6 * GB) -> Cost:
    """What a command of Python takes, such as ``-m xlir_bench tasks``."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    env = {k: v for k, v in os.environ.items() if not k.startswith("XLIR_")}
    env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        preexec_fn=limit,
    ) as process:
        said = process.stdout.read().decode() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(
        process.returncode,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss * unit // (1 << 20),
        said,
    )
