"""Run every benchmark of this folder, or those named: `python -m tests.benchmarks run_cost`.

Absolute times mean little: each figure is a ratio of two things measured in one run.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Each module's `main`, one after the other."""
    here = Path(__file__).parent
    modules = sorted(p.stem for p in here.glob("*.py") if not p.stem.startswith("_"))
    for name in sys.argv[1:] or [n for n in modules if n != "targets"]:
        print(f"\n== {name} ==", flush=True)
        import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
