"""Kill every command that writes, many times: `make kills`, or in tests/ `python -m kills [--random 50] [NAME]…`.

Prints a line a command: tries, how many were killed before they had ended, and what was wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from kills.harness import Kill, tries
from kills.scenarios import scenarios
from sources.serving import SMALL, packed, serving

from xlir_bench.measures import score

MODULES = [
    "pandas", "pyarrow.parquet", "scipy.special",
    *(f"xlir_bench.cli.{x}" for x in ("gate", "publishing", "run")),
    "xlir_bench.evaluation", "xlir_bench.reports.gate_text", "xlir_bench.reports.leaderboard.pages",
]  # fmt: skip
OF_TRAINING = ["torch", "datasets", "sentence_transformers", "ranx", "xlir_bench.train.loop"]
"""What commands import, here before any fork, so that a try costs its work alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Every scenario, or those named; the exit code is 1 if anything was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--random", type=int, default=50, help="kills after a time, over all")
    parser.add_argument("--injected", type=int, default=100, help="kills at a file operation")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    training = not asked.names or {"train", "experiment", "translate"} & {*asked.names}
    for name in MODULES + OF_TRAINING if training else MODULES:
        import_module(name)
    score([], ["map"])  # imports what of ranx it needs
    content = {f"/{lang}.json": packed(SMALL[lang]) for lang in SMALL}
    with tempfile.TemporaryDirectory() as folder, serving(content) as server:
        chosen = [s for s in scenarios(server.url) if not asked.names or s.name in asked.names]
        rng = random.Random(asked.seed)

        def kills(operations: int, seconds: float) -> list[Kill]:
            injected = min(-(-asked.injected // len(chosen)), operations)
            return [
                *(Kill(n) for n in sorted(rng.sample(range(1, operations + 1), injected))),
                *(
                    Kill(seconds=rng.uniform(0, seconds))
                    for _ in range(-(-asked.random // len(chosen)))
                ),
            ]

        wrong = 0
        for scenario in chosen:
            found = list(tries(scenario, Path(folder).resolve(), kills))
            faults = [fault for one in found for fault in one.faults]
            wrong += len(faults)
            killed = sum(one.killed for one in found)
            print(f"{scenario.name}: {len(found)} tries, {killed} killed, {len(faults)} faults")
            print("".join(f"  {fault}\n" for fault in faults[:20]), end="", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
