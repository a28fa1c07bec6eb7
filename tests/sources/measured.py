"""What a piece of work costs: run in a process of its own, with a ceiling on both time and memory."""

from __future__ import annotations

import json
import os
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
    megabytes: int
    """At its peak."""
    said: str


LAUNCHER = """
import json, os, resource, subprocess, sys

seconds, memory, *command = sys.argv[1:]


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))


process = subprocess.Popen([sys.executable, *command], preexec_fn=limit)
_, status, used = os.wait4(process.pid, 0)
code = os.waitstatus_to_exitcode(status)
print(json.dumps([code, used.ru_maxrss]), file=sys.stderr)
"""
"""The system counts what a parent held as its child's: a small parent measures, not the one that tests."""


def cost(*command: str, seconds: int = 20, memory: int = 6 * GB) -> Cost:
    """What a command of Python takes, such as ``-m xlir_bench tasks``: killed after `seconds` of the processor."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("XLIR_")}
    env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, str(seconds), str(memory), *command],
        capture_output=True, env=env, check=True,
    )  # fmt: skip
    said, _, figures = launched.stderr.decode().rstrip("\n").rpartition("\n")
    code, peak = json.loads(figures)
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(code, peak * unit // (1 << 20), launched.stdout.decode() + said)
