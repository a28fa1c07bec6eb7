"""Kill every command that writes, many times: `python -m tests.kills [--random 50] [--injected 100] [NAME]…`.

Prints a line a command: tries, how many were killed before they had ended, and what was wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.kills.harness import Kill, tried
from tests.kills.scenarios import scenarios


def main() -> None:
    """Every scenario, or those named; exit code 1 if anything was wrong."""
    sys.path.insert(0, "tests")
    from sources.serving import SMALL, packed, serving

    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--random", type=int, default=50)
    parser.add_argument("--injected", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    _import_all(not asked.names or bool({"train", "experiment", "translate"} & {*asked.names}))
    content = {f"/{lang}.json": packed(SMALL[lang]) for lang in SMALL}
    with tempfile.TemporaryDirectory() as folder, serving(content) as server:
        chosen = [s for s in scenarios(server.url) if not asked.names or s.name in asked.names]
        each = -(-asked.random // len(chosen)), -(-asked.injected // len(chosen))
        rng = random.Random(asked.seed)

        def kills(operations: int, seconds: float) -> list[Kill]:
            injected = rng.sample(range(1, operations + 1), min(each[1], operations))
            return [
                *(Kill(operation=n) for n in sorted(injected)),
                *(Kill(seconds=rng.uniform(0, seconds)) for _ in range(each[0])),
            ]

        wrong = 0
        for scenario in chosen:
            tally = tried(scenario, Path(folder).resolve(), kills)
            wrong += len(tally.faults)
            print(
                f"{scenario.name}: {tally.tries} tries, {tally.killed} killed,"
                f" {len(tally.faults)} faults",
                flush=True,
            )
            for fault in tally.faults[:20]:
                print(f"  {fault}", flush=True)
    sys.exit(1 if wrong else 0)


def _import_all(training: bool) -> None:
    """What the commands import, before any fork, so that a try costs its work alone."""
    modules = ["pyarrow.parquet", *(f"xlir_bench.cli.{x}" for x in ("gate", "leaderboard", "run"))]
    if training:
        modules += ["torch", "datasets", "sentence_transformers", "ranx", "xlir_bench.train.loop"]
    for name in modules:
        import_module(name)


if __name__ == "__main__":
    main()
