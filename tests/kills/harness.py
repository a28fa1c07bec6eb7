"""Kill a command anywhere, run it again, and see whether it ends as if it had never been killed.

A try is a fork of this process, which has imported everything and computed nothing: starting costs nothing,
and the kill is a real SIGKILL. It comes before the n-th file operation that the command does below its
folder, or after a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kills.operations import die_before, exit_code_of

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
    """The path that tells whether it was begun; empty: the arguments are always the same."""
    ignored: tuple[str, ...] = ("cache",)
    """Folders whose files may differ; nothing unfinished may lie in them all the same."""
    sound: Callable[[Path], None] = lambda place: None
    """Raises if readers meet something right after a kill that is neither the old nor the new."""


class Kill(NamedTuple):
    """When to kill."""

    operation: int = 0
    seconds: float = 0.0


class Try(NamedTuple):
    """What became of a command that was to be killed."""

    killed: bool
    """Not, where it ended before."""
    faults: list[str]


def tries(
    scenario: Scenario, folder: Path, kills: Callable[[int, float], list[Kill]]
) -> Iterator[Try]:
    """Every kill that `kills` asks for, given the number of file operations and the seconds of a run."""
    prepared, place = folder / f"{scenario.name}-prepared", folder / scenario.name
    prepared.mkdir(parents=True)
    scenario.prepare(prepared)
    shutil.copytree(prepared, place)
    began = time.monotonic()
    code = run(scenario, place)
    seconds = time.monotonic() - began
    if code != 0:
        raise SystemExit(f"{scenario.name}: exit code {code}: {(place / 'said').read_text()}")
    whole = snapshot(place, scenario.ignored)
    for kill in kills(int((place / "operations").read_text()), seconds):
        # The same path as the whole run had: some files hold paths.
        shutil.rmtree(place)
        shutil.copytree(prepared, place)
        code = run(scenario, place, *kill)
        killed = code == -signal.SIGKILL
        faults = []
        if code and not killed:
            faults.append(f"exit code {code} before any kill")
        try:
            scenario.sound(place)
        except Exception as error:
            faults.append(f"after the kill: {type(error).__name__}: {error}")
        if killed and (code := run(scenario, place)) != 0:
            said = (place / "said").read_text()[-300:]
            faults.append(f"exit code {code} when it was run again: {said}")
        left = snapshot(place, scenario.ignored)
        for name in sorted({name for name, _ in whole.items() ^ left.items()}):
            what = "missing" if name not in left else "other" if name in whole else "left behind"
            faults.append(f"{what}: {name}")
        at = f"operation {kill.operation}" if kill.operation else f"{kill.seconds:.2f} s"
        yield Try(killed, [f"{scenario.name}, killed at {at}: {fault}" for fault in faults])
    shutil.rmtree(place)
    shutil.rmtree(prepared)


def run(scenario: Scenario, place: Path, operation: int = 0, seconds: float = 0.0) -> int:
    """The exit code of the command in `place`, negative for a signal."""
    more = scenario.again if scenario.begun and (place / scenario.begun).exists() else ()
    return command([*scenario.arguments, *more], place, operation, seconds)


def command(arguments: Sequence[str], place: Path, operation: int = 0, seconds: float = 0.0) -> int:
    """The exit code of a command in `place`, in a fork, negative for a signal."""
    return exit_code_of(partial(_command, arguments, place, operation), seconds)


def _command(arguments: Sequence[str], place: Path, fatal: int) -> int:
    os.chdir(place)
    os.environ["XLIR_CACHE"] = str(place / "cache")
    os.environ.pop("XLIR_DATA", None)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    count = die_before(fatal, str(place), ("/said", "/operations"))
    from xlir_bench.cli import exit_code

    code = exit_code(arguments)
    Path("operations").write_text(str(count()), encoding="utf-8")
    return code


def snapshot(place: Path, ignored: tuple[str, ...]) -> dict[str, str]:
    """Every file by its path, with a digest of what it says, less what two runs may say differently."""
    digests = {}
    for path in place.rglob("*"):
        relative = path.relative_to(place).as_posix()
        if relative in ("said", "operations") or path.is_dir():
            continue
        unfinished = ".tmp" in path.name or path.name.endswith((".lock", ".part", ".journal"))
        if relative.split("/")[0] in ignored and not unfinished:
            continue
        digests[relative] = hashlib.sha256(_settled(path)).hexdigest()[:16]
    return digests


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
