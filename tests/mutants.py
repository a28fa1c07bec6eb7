"""Do the tests notice faults? Puts small faults into the package, one at a time, and runs the tests of their folder.

    python -m tests.mutants                          200 faults, drawn with seed 0
    python -m tests.mutants --root OTHER --folders retrieval,measures --count 50

A fault swaps one operator, comparison or constant of a function. First, `coverage` measures which
tests run each line; only these can notice a fault there. Faults that no test notices are listed with their lines: a
test is missing, or the fault changes nothing that matters.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

FOLDERS = "retrieval,measures,results"
BESIDE = 120
"""CPU seconds that the tests of a fault may take beyond five times their usual time: an endless loop is noticed, too.
Compiling the kernels takes a minute."""
WAITED = 6
"""The limit by the clock is so many times the CPU limit: it ends a test that waits for ever."""
KEPT = "MUTANTS_TESTS"
"""The variable that names the file of tests that are to run, in their order."""
TOLD = "MUTANTS_TOLD"
"""The variable that names the file that the tests' seconds and fixtures are written to."""
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
    """Its path in the package."""
    line: int
    start: int
    """The first byte that is replaced, counted from the beginning of the file."""
    stop: int
    text: str
    compiled: bool
    """Whether numba compiles the function: `coverage` cannot see which tests run it."""

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
            yield Fault(file, source[:at].count(b"\n") + 1, at, at + len(old), new, compiled)

    def of(node: ast.Constant, text: str) -> Fault:
        return Fault(file, node.lineno, place(node, False), place(node, True), text, compiled)

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
                yield of(node, str(not value))
            case ast.Constant(value=int() as number):
                yield of(node, str(number + 1))
            case ast.UnaryOp(op=ast.Not()):
                start, stop = place(node, False), place(node.operand, False)
                yield Fault(file, node.lineno, start, stop, "", compiled)

    tree = ast.parse(source)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            compiled = any("njit" in ast.dump(d) for d in function.decorator_list)
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


@dataclass(frozen=True)
class Tests:
    """What the tests of a folder did without any fault."""

    seconds: dict[str, float]
    """By test, of those that pass."""
    lines: dict[tuple[str, int], set[str]]
    """The tests that run each line of the package."""

    @classmethod
    def of(cls, copy: Path, folder: str) -> Tests:
        """Run the tests of a folder once, and record which of them run each line."""
        from coverage import CoverageData

        told, data = copy / "told.json", copy / ".coverage"
        tests = [str(p) for p in sorted((copy / "tests" / folder).glob("test_*.py"))]
        program = [
            sys.executable,
            "-m",
            "coverage",
            "run",
            "--source=xlir_bench",
            f"--data-file={data}",
        ]
        subprocess.run(
            [*program, *PYTEST, *tests],
            cwd=copy,
            env=environment(copy, TOLD, told),
            capture_output=True,
            check=False,
        )
        seconds = {}
        users: dict[str, set[str]] = {}
        for test, (took, fixtures) in json.loads(told.read_text("utf-8")).items():
            seconds[test] = took
            users[test] = {test}
            for fixture in fixtures:
                users.setdefault(f"fixture {fixture}", set()).add(test)
        measured = CoverageData(str(data))
        measured.read()
        lines = {
            (Path(file).relative_to(copy / "xlir_bench").as_posix(), line): set().union(
                *(users.get(context, ()) for context in contexts)
            )
            for file in measured.measured_files()
            for line, contexts in measured.contexts_by_lineno(file).items()
        }
        return cls(seconds, lines)

    def that_run(self, fault: Fault) -> Collection[str]:
        """The tests that can notice a fault."""
        if fault.compiled:
            return self.seconds
        # `coverage` records a statement over several lines at its first line.
        at = max((n for f, n in self.lines if f == fault.file and n <= fault.line), default=0)
        return self.lines.get((fault.file, at), set())


PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "mutants_plugin"]


def environment(copy: Path, variable: str, value: Path) -> dict[str, str]:
    """The environment of a process that tests a copy, with this file as a plugin of pytest."""
    path = os.pathsep.join([str(copy), str(copy.parent)])
    inherited = {name: value for name, value in os.environ.items() if name != "XLIR_DATA"}
    return {**inherited, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", variable: str(value)}


def noticed(copy: Path, fault: Fault, tests: Tests) -> bool:
    """Whether a test of the fault's folder fails."""
    chosen = tests.that_run(fault)
    if not chosen:
        return False
    by_file: dict[str, list[str]] = {}
    for test in chosen:
        by_file.setdefault(test.split("::")[0], []).append(test)
    took = {file: sum(tests.seconds[test] for test in by_file[file]) for file in by_file}
    # The quickest file first: fixtures of a file are made once.
    files = sorted(by_file, key=took.__getitem__)
    kept = copy / "kept.json"
    kept.write_text(json.dumps([test for file in files for test in by_file[file]]), "utf-8")
    limit = int(5 * sum(took.values())) + BESIDE
    path = copy / "xlir_bench" / fault.file
    source = path.read_bytes()
    path.write_bytes(source[: fault.start] + fault.text.encode() + source[fault.stop :])
    try:
        done = subprocess.run(
            [sys.executable, *PYTEST, "-x", *(str(copy / file) for file in files)],
            cwd=copy,
            env=environment(copy, KEPT, kept),
            capture_output=True,
            timeout=WAITED * limit,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)),
            check=False,
        )
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_bytes(source)


class Recorder:
    """The plugin that names to `coverage` the test that runs, or the shared fixture that is made."""

    def __init__(self, told: Path) -> None:
        self.told = told
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.fixtures: dict[str, list[str]] = {}

    def context(self, name: str) -> None:
        from coverage import Coverage

        measuring = Coverage.current()
        assert measuring is not None
        measuring.switch_context(name)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self.context(item.nodeid)
        self.fixtures[item.nodeid] = list(getattr(item, "fixturenames", ()))
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function":
            return (yield)
        self.context(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self.context(os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if not report.passed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        told = {
            test: (took, self.fixtures[test])
            for test, took in self.seconds.items()
            if test not in self.failed
        }
        self.told.write_text(json.dumps(told), "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """This file is a plugin of pytest too, in the process that a copy's tests run in."""
    if TOLD in os.environ:
        config.pluginmanager.register(Recorder(Path(os.environ[TOLD])))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The chosen tests alone, in their order."""
    if KEPT in os.environ:
        kept = json.loads(Path(os.environ[KEPT]).read_text("utf-8"))
        place = {test: n for n, test in enumerate(kept)}
        items[:] = sorted((i for i in items if i.nodeid in place), key=lambda i: place[i.nodeid])


def main() -> int:
    """Draw faults, test each, and print which survive."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout to test")
    parser.add_argument(
        "--folders", default=FOLDERS, help="folders of the package; their tests have the same names"
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes", type=float, default=60, help="after so many, no further fault is begun"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="faults that are tested at once"
    )
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
        shutil.copy(__file__, Path(spare) / "mutants_plugin.py")
        for number in range(asked.workers):
            copy = Path(spare) / str(number)
            for name in ("xlir_bench", "tests", "tasks"):
                shutil.copytree(root / name, copy / name)
            for name in ("pyproject.toml", "README.md", "leaderboards"):
                (copy / name).symlink_to(root / name)
            copies.put(copy)

        def tests_of(folder: str) -> Tests:
            copy = copies.get()
            try:
                return Tests.of(copy, folder)
            finally:
                copies.put(copy)

        folders = asked.folders.split(",")
        tests = dict(zip(folders, threads.map(tests_of, folders), strict=True))

        def tried(fault: Fault) -> tuple[Fault, bool] | None:
            if time.monotonic() - began > 60 * asked.minutes:
                return None
            copy = copies.get()
            try:
                return fault, noticed(copy, fault, tests[fault.folder])
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
    by_folder = Counter(fault.folder for fault in tested)
    for folder, count in sorted(by_folder.items()):
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
