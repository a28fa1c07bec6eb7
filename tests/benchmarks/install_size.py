"""The size of an installation on disk: the core, and the core with models, each in a new environment.

Versions are those of constraints.txt; bytecode is counted, the empty environment is not. Its figures are in
docs/install.md.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import venv
from pathlib import Path

from tests.benchmarks.targets import Measured

ROOT = Path(__file__).parents[2]
TARGETS = {"": "<= 1", "[models]": "<= 2.5"}
"""By extra, in GB; the second is for a torch without CUDA."""
LARGEST = 8


def megabytes(place: Path) -> float:
    """The sizes of all files below."""
    files = (path for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def measure(extra: str) -> Measured:
    """Install into a new environment, and measure its size; the largest folders are in the detail."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place, with_pip=True)
        empty = megabytes(place)
        install = [place / "bin" / "python", "-m", "pip", "install", "--quiet", f"{ROOT}{extra}"]
        began = time.perf_counter()
        subprocess.run(
            [*install, "--constraint", ROOT / "constraints.txt"], check=True, stderr=subprocess.DEVNULL
        )  # fmt: skip
        seconds = time.perf_counter() - began
        sizes = {path.name: megabytes(path) for path in place.glob("lib/*/site-packages/*/")}
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:LARGEST]
        detail = f"{seconds:.0f} s; in MB: " + ", ".join(
            f"{name} {sizes[name]:.0f}" for name in largest
        )
        size = (megabytes(place) - empty) / 1000
    return Measured(f"GB of xlir-bench{extra}", size, TARGETS[extra], detail)


def main() -> None:
    """Print both."""
    for extra in TARGETS:
        measure(extra).show()


if __name__ == "__main__":
    main()
