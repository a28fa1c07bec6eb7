"""`make fuzz`: spoilt files over every border, and a table of what came back.

Each border has a process of its own: its memory is its own, and one that dies takes no other with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from fuzz.borders import BORDERS
from fuzz.running import Outcome, fuzz

MEMORY = 16 << 30
"""Of addresses: what asks for more is refused, and is a MemoryError."""


def main() -> int:
    """The exit code: 1 if anything but our own errors came back."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--inputs", type=int, default=200_000, help="over all borders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--border", default="", help="part of a name: only this one")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    chosen = [b for b in BORDERS if args.border in b.name]
    shares = sum(b.share for b in chosen)
    if args.here:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with tempfile.TemporaryDirectory(prefix="xlir-fuzz-") as folder:
            os.environ["XLIR_CACHE"] = f"{folder}/no-cache"
            os.environ.pop("XLIR_DATA", None)
            found = fuzz(chosen[0], Path(folder), args.seed, args.inputs)
        print(json.dumps(asdict(found)))
        return 0
    print("border | inputs | errors of ours | others | slowest input, s | memory of one input, MB")
    print("---|---:|---:|---:|---:|---:")
    total = others = 0
    for border in chosen:
        count = -(-args.inputs * border.share // shares)
        ended = subprocess.run(
            [sys.executable, "-m", "fuzz", "--here", "--border", border.name, "--inputs", f"{count}",
             "--seed", f"{args.seed}"],
            capture_output=True, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        try:
            found = Outcome(**json.loads(ended.stdout.splitlines()[-1]))
        except (IndexError, ValueError):
            died = f"died with {ended.returncode}: {ended.stderr[-2000:]}"
            print(f"{border.name} | {died}", flush=True)
            others += 1
            continue
        print(
            f"{border.name} | {found.inputs:,} | {found.ours:,} | {found.other_count:,}"
            f" | {found.slowest:.2f} | {found.peak >> 20:,}",
            flush=True,
        )
        for where, first in found.others.items():
            print(f"    {where}\n        first: {first[:3000]}", file=sys.stderr, flush=True)
        total, others = total + found.inputs, others + found.other_count
    print(f"all | {total:,} | | {others:,} | |")
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())
