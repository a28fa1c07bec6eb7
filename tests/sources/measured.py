"""What a command costs: run in a process of its own, with a ceiling on both time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GB = 1 << 30
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cost:
    """What it took and what it said."""

    code: int
    megabytes: int
    """At its peak."""
    said: str


LAUNCHER = """
import json, os, resource, sys
from importlib import import_module

for name in ("__init__", "augment", "data", "run", "tasks"):
    import_module(f"xlir_bench.cli.{name}")
import_module("xlir_bench.evaluation.run")
from xlir_bench.cli import main

for line in sys.stdin:
    seconds, memory, command = json.loads(line)
    there, here = os.pipe()
    process = os.fork()
    if not process:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        os.dup2(here, 1)
        os.dup2(here, 2)
        os.close(here)
        main(command)
    os.close(here)
    with open(there, encoding="utf-8") as said:
        told = said.read()
    _, status, used = os.wait4(process, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss, told]), flush=True)
"""
"""Commands are forks of a process that has imported them, and has next to nothing in memory besides: the system counts
what a parent held as its child's."""


@contextmanager
def launcher(seconds: int = 20, memory: int = 6 * GB) -> Iterator[Callable[..., Cost]]:
    """What runs a command, such as ``tasks``, and tells its cost: killed after `seconds` of the processor."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("XLIR_")}
    env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-c", LAUNCHER]
    unit = 1 if sys.platform == "darwin" else 1024

    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    ) as process:

        def cost(*command: object) -> Cost:
            asked = json.dumps([seconds, memory, [str(word) for word in command]])
            print(asked, file=process.stdin, flush=True)
            code, peak, said = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            return Cost(code, peak * unit // (1 << 20), said)

        yield cost
