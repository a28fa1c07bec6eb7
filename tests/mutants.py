"""Would the tests notice? Small faults put into the package one at a time, each met by its folder's tests alone.

    python -m tests.mutants                          200 faults, drawn with seed 0
    python -m tests.mutants --root OTHER --folders embed,search,measures,results --count 50

A fault swaps one operator, comparison or constant of a function. The tests of the file with the same name go
first. What survives is listed with its line: a test is missing there, or the fault changes nothing that counts.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

FOLDERS = "retrieval,measures,results"
TESTED_AT_MOST = 600
"""Seconds of the processor that the tests of a fault may take: a loop that never ends is noticed too."""
WAITED_AT_MOST = 6 * TESTED_AT_MOST
"""Seconds on the clock, for a fault that waits and does not work."""
SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}


@dataclass(frozen=True)
class Fault:
    """One change of one line."""

    file: str
    """In the package."""
    line: int
    start: int
    """First byte of what is replaced, in the file."""
    stop: int
    text: str

    @property
    def folder(self) -> str:
        return self.file.split("/")[0]


def faults_of(path: Path, file: str) -> Iterator[Fault]:
    """Every fault that could be put into a file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(node: ast.AST, end: bool) -> int:
        line, column = (
            (node.end_lineno, node.end_col_offset) if end else (node.lineno, node.col_offset)
        )  # type: ignore[attr-defined]
        return starts[line - 1] + column

    def swapped(operator: ast.AST, left: ast.AST, right: ast.AST) -> Iterator[Fault]:
        old, new = SWAPS.get(type(operator), ("", ""))
        start, stop = place(left, end=True), place(right, end=False)
        at = source.find(old.encode(), start, stop) if old else -1
        if at >= 0:
            yield Fault(file, source[:at].count(b"\n") + 1, at, at + len(old), new)

    def inside(node: ast.AST) -> Iterator[Fault]:
        match node:
            case ast.Compare():
                sides = [node.left, *node.comparators]
                for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
                    yield from swapped(operator, left, right)
            case ast.BinOp():
                yield from swapped(node.op, node.left, node.right)
            case ast.BoolOp():
                yield from swapped(node.op, *node.values[:2])
            case ast.Constant(value=bool() as value):
                yield Fault(
                    file, node.lineno, place(node, False), place(node, True), str(not value)
                )
            case ast.Constant(value=int() as number):
                yield Fault(
                    file, node.lineno, place(node, False), place(node, True), str(number + 1)
                )
            case ast.UnaryOp(op=ast.Not()):
                yield Fault(file, node.lineno, place(node, False), place(node.operand, False), "")

    tree = ast.parse(source)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                # zip's `strict` only says what is expected: turned round, it changes nothing.
                skipped = {
                    n.value
                    for n in ast.walk(statement)
                    if isinstance(n, ast.keyword) and n.arg == "strict"
                }
                for node in ast.walk(statement):
                    if node not in skipped:
                        yield from inside(node)


def noticed(copy: Path, fault: Fault) -> bool:
    """Whether a test of the fault's folder fails."""
    path = copy / "xlir_bench" / fault.file
    source = path.read_bytes()
    path.write_bytes(source[: fault.start] + fault.text.encode() + source[fault.stop :])
    folder = copy / "tests" / fault.folder
    first = folder / f"test_{Path(fault.file).stem}.py"
    tests = [str(first)] if first.exists() else []
    tests += [str(p) for p in sorted(folder.glob("test_*.py")) if p != first]
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    environment.pop("XLIR_DATA", None)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            capture_output=True,
            timeout=WAITED_AT_MOST,
            preexec_fn=limited,
            check=False,
        )
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_bytes(source)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (TESTED_AT_MOST, TESTED_AT_MOST))


def main() -> int:
    """Draw, test, tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path(), help="a checkout")
    parser.add_argument("--folders", default=FOLDERS, help="of the package, each with its tests")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes", type=float, default=60, help="at most; faults not begun then are left"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="at once")
    asked = parser.parse_args()
    root = asked.root.resolve()
    package = root / "xlir_bench"
    files = [p for f in asked.folders.split(",") for p in sorted((package / f).rglob("*.py"))]
    # A node inside a nested function is met twice.
    every = list(
        dict.fromkeys(x for p in files for x in faults_of(p, p.relative_to(package).as_posix()))
    )
    drawn = random.Random(asked.seed).sample(every, min(asked.count, len(every)))
    copies: Queue[Path] = Queue()
    began, caught, survivors = time.monotonic(), Counter[str](), list[Fault]()
    with tempfile.TemporaryDirectory() as spare, ThreadPoolExecutor(asked.workers) as threads:
        for number in range(asked.workers):
            copy = Path(spare) / str(number)
            for name in ("xlir_bench", "tests", "tasks"):
                shutil.copytree(root / name, copy / name)
            for name in ("pyproject.toml", "README.md", "leaderboards"):
                (copy / name).symlink_to(root / name)
            copies.put(copy)

        def tried(fault: Fault) -> tuple[Fault, bool] | None:
            if time.monotonic() - began > 60 * asked.minutes:
                return None
            copy = copies.get()
            try:
                return fault, noticed(copy, fault)
            finally:
                copies.put(copy)

        tested = []
        for outcome in threads.map(tried, drawn):
            if outcome is None:
                break
            fault, is_caught = outcome
            tested.append(fault)
            caught[fault.folder] += is_caught
            if not is_caught:
                survivors.append(fault)
            print(
                f"\r{len(tested)} of {len(drawn)}, {len(survivors)} survive",
                end="",
                file=sys.stderr,
                flush=True,
            )
    print(file=sys.stderr)
    of = Counter(fault.folder for fault in tested)
    for folder, count in sorted(of.items()):
        print(f"{folder}: {caught[folder]} of {count} noticed")
    print(
        f"all: {caught.total()} of {len(tested)} noticed ({len(every)} possible), {time.monotonic() - began:,.0f} s"
    )
    for fault in sorted(survivors, key=lambda f: (f.file, f.line)):
        source = (package / fault.file).read_bytes()
        line = source.splitlines()[fault.line - 1].decode().strip()
        print(
            f"survived: {fault.file}:{fault.line}: {source[fault.start : fault.stop].decode()!r} -> {fault.text!r}: {line}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
