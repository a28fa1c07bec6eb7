"""Kill a command anywhere, run it again, and see whether it ends as if it had never been killed.

A try is a fork of this process, which has imported everything and computed nothing: starting costs nothing,
and the kill is a real SIGKILL. It comes before the n-th file operation that the command does below its
folder (the interpreter's audit events name them), or after a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kills.operations import die_before

VOLATILE = {
    "created", "seconds", "command", "profile", "environment", "resumed_from", "when", "time",
    "peak_memory_bytes", "train_seconds", "evaluate_seconds", "encoded_texts", "cached_texts", "steps_per_second",
}  # fmt: skip
"""What two runs of one command may say differently."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, what it starts from, and what it writes."""

    name: str
    prepare: Callable[[Path], None]
    """Fills an empty folder; every try gets a copy of it."""
    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()
    """Added where the command was begun before."""
    begun: str = ""
    """…which is so where this path is there; empty: always say the same."""
    ignored: tuple[str, ...] = ("cache",)
    """Folders whose files may differ; nothing unfinished may lie in them all the same."""
    sound: Callable[[Path], None] = lambda place: None
    """Raises if what readers meet right after a kill is neither the old nor the new."""


@dataclass(slots=True)
class Tally:
    """What became of the tries of one scenario."""

    tries: int = 0
    killed: int = 0
    faults: list[str] = field(default_factory=list)


def attempt(scenario: Scenario, prepared: Path, place: Path, kill: Kill) -> list[str]:
    """One try in a fresh copy: killed, looked at, run again; what is wrong, and nothing if all is well."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(prepared, place)
    code = forked(scenario, place, kill)
    kill.came = code == -signal.SIGKILL
    if not kill.came and code != 0:
        return [f"exit code {code} before any kill"]
    faults = []
    try:
        scenario.sound(place)
    except Exception as error:
        faults.append(f"after the kill: {type(error).__name__}: {error}")
    if kill.came and (code := forked(scenario, place, Kill())) != 0:
        faults.append(
            f"exit code {code} when it was run again: {(place / 'said').read_text()[-300:]}"
        )
    return faults


@dataclass(slots=True)
class Kill:
    """When to kill; by default never."""

    operation: int = 0
    seconds: float = 0.0
    came: bool = False


def forked(scenario: Scenario, place: Path, kill: Kill) -> int:
    """The exit code of the command in `place`, negative for a signal."""
    more = scenario.again if scenario.begun and (place / scenario.begun).exists() else ()
    child = os.fork()
    if not child:
        _become(scenario, [*scenario.arguments, *more], place, kill)
    if kill.seconds:
        deadline = time.monotonic() + kill.seconds
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(scenario: Scenario, arguments: list[str], place: Path, kill: Kill) -> None:
    """Run the command in this (forked) process and end it."""
    code = 70
    try:
        os.chdir(place)
        os.environ["XLIR_CACHE"] = str(place / "cache")
        os.environ.pop("XLIR_DATA", None)
        said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        counted = die_before(kill.operation, str(place), ("/said", "/operations"))
        from xlir_bench.cli import exit_code

        code = exit_code(arguments)
        Path("operations").write_text(str(counted()))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def snapshot(place: Path, ignored: tuple[str, ...]) -> dict[str, str]:
    """Every file by its path, with a digest of what it says, less what two runs may say differently."""
    found = {}
    for path in sorted(place.rglob("*")):
        relative = path.relative_to(place).as_posix()
        if relative in ("said", "operations") or path.is_dir():
            continue
        unfinished = ".tmp" in path.name or path.name.endswith((".lock", ".part", ".journal"))
        if relative.split("/")[0] in ignored and not unfinished:
            continue
        found[relative] = hashlib.sha256(_settled(path)).hexdigest()[:16]
    return found


def _settled(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(_without(json.loads(data)), sort_keys=True).encode()
    if path.suffix == ".jsonl":
        lines = [_without(json.loads(line)) for line in data.splitlines()]
        return json.dumps(lines, sort_keys=True).encode()
    if path.suffix == ".md":
        return re.sub(rb"[\d.,]+ (seconds|minutes)", b"", data)
    return data


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without(v) for k, v in value.items() if k not in VOLATILE}
    return [_without(v) for v in value] if isinstance(value, list) else value


def what_differs(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The files that are missing, left behind, or other."""
    return [
        *(f"missing: {name}" for name in sorted(expected.keys() - found.keys())),
        *(f"left behind: {name}" for name in sorted(found.keys() - expected.keys())),
        *(
            f"other bytes: {name}"
            for name in sorted(expected.keys() & found.keys())
            if expected[name] != found[name]
        ),
    ]


@contextmanager
def reference(
    scenario: Scenario, folder: Path
) -> Iterator[tuple[Path, dict[str, str], int, float]]:
    """What the command starts from, what it leaves when it is not killed, its operations and seconds."""
    prepared, place = folder / f"{scenario.name}-prepared", folder / scenario.name
    prepared.mkdir(parents=True)
    scenario.prepare(prepared)
    shutil.copytree(prepared, place)
    began = time.monotonic()
    code = forked(scenario, place, Kill())
    seconds = time.monotonic() - began
    if code != 0:
        raise SystemExit(f"{scenario.name}: exit code {code}: {(place / 'said').read_text()}")
    whole = snapshot(place, scenario.ignored)
    yield prepared, whole, int((place / "operations").read_text()), seconds
    shutil.rmtree(place)
    shutil.rmtree(prepared)


def tried(scenario: Scenario, folder: Path, kills: Callable[[int, float], list[Kill]]) -> Tally:
    """Every kill that `kills` asks for, given the number of file operations and the seconds of a run."""
    tally = Tally()
    with reference(scenario, folder) as (prepared, whole, operations, seconds):
        for kill in kills(operations, seconds):
            # The same path as the reference had: some files hold paths.
            place = folder / scenario.name
            faults = attempt(scenario, prepared, place, kill)
            faults += what_differs(whole, snapshot(place, scenario.ignored))
            tally.tries += 1
            tally.killed += kill.came
            at = f"operation {kill.operation}" if kill.operation else f"{kill.seconds:.2f} s"
            tally.faults += [f"{scenario.name}, killed at {at}: {fault}" for fault in faults]
    return tally
