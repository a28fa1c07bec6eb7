"""Feeds spoilt files to a border and notes what comes back: nothing, an error of ours, or something else."""

from __future__ import annotations

import contextlib
import io
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from fuzz.spoiling import spoil

from xlir_bench.errors import XlirError

SECONDS, BYTES = 5.0, 1 << 30
"""What no input may take; seconds of the processor, whatever else the machine does."""
LONGEST, LINES = 6000, 14
"""Characters and lines of a message: faults are listed up to ten."""


@dataclass(frozen=True, slots=True)
class Border:
    """One place where files from outside are read."""

    name: str
    prepare: Callable[[Path], None]
    """Lays valid files into an empty folder."""
    read: Callable[[Path], Any]
    """Reads them, as commands and Python do."""
    files: str = "*"
    """Which of them are spoilt: a pattern."""
    writes: bool = False
    """Whether reading changes files: then each input has a folder of its own."""
    fails: bool = False
    """Whether the valid files are refused too, later than where they are read."""
    share: int = 40
    """Of the inputs of a run, in proportion to the others."""


@dataclass(slots=True)
class Outcome:
    """What came of the inputs of a border."""

    inputs: int = 0
    ours: int = 0
    others: dict[str, str] = field(default_factory=dict)
    """By where it happened: the first input that did it, and its traceback."""
    other_count: int = 0
    slowest: float = 0.0
    peak: int = 0
    """Bytes by which one input raised the memory of the process at most."""


class TooSlowError(BaseException):
    """An input took longer than any may; no `except Exception` takes it for something else."""


class FoundError(Exception):
    """What an error of ours, or the output of a command, must not be."""


def fuzz(border: Border, folder: Path, seed: int, inputs: int, seconds: float = 1e9) -> Outcome:
    """So many inputs, or as many as there is time for."""
    template = folder / "valid"
    template.mkdir(parents=True)
    border.prepare(template)
    names = sorted(p.relative_to(template) for p in template.rglob(border.files) if p.is_file())
    assert names, f"{border.name} has no file to spoil"
    world = folder / "spoilt"
    shutil.copytree(template, world)
    with contextlib.suppress(XlirError) if border.fails else contextlib.nullcontext():
        border.read(world)  # what is valid is read; and everything is imported
    outcome, end = Outcome(), time.process_time() + seconds
    for number in range(inputs):
        if time.process_time() > end:
            break
        random = Random(f"{border.name} {seed} {number}")
        if border.writes:
            shutil.rmtree(world)
            shutil.copytree(template, world)
        name = random.choice(names)
        spoilt = spoil(name.name, (template / name).read_bytes(), random)
        (world / name).write_bytes(spoilt)
        one(border, world, outcome, f"{seed}/{number} {name}")
        if not border.writes:
            shutil.copyfile(template / name, world / name)
    return outcome


def one(border: Border, world: Path, outcome: Outcome, label: str) -> None:
    """One input: read, timed, weighed, its outcome noted."""
    before, began = _peak(), time.process_time()
    outcome.inputs += 1
    try:
        with warnings.catch_warnings(), _no_longer_than(SECONDS):
            warnings.simplefilter("ignore")
            border.read(world)
    except XlirError as error:
        outcome.ours += 1
        message = str(error)
        if not message.strip() or len(message) > LONGEST or message.count("\n") > LINES:
            _note(outcome, label, f"empty or too long: {message[:300]!r}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _note(outcome, label, _where(error), "".join(traceback.format_exception(error)[-12:]))
    took, grew = time.process_time() - began, _peak() - before
    outcome.slowest, outcome.peak = max(outcome.slowest, took), max(outcome.peak, grew)
    if took > SECONDS or grew > BYTES:
        _note(outcome, label, f"cost: {took:.1f} s, {grew >> 20} MiB")


def _note(outcome: Outcome, label: str, where: str, detail: str = "") -> None:
    outcome.other_count += 1
    outcome.others.setdefault(where, f"{label}\n{detail}")


def _where(error: BaseException) -> str:
    """The error and the last place of ours that it went through: the same fault is counted once."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "xlir_bench" in f.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    place = f"{last.filename.rpartition('xlir_bench/')[2]}:{last.lineno} {last.name}"
    text = type(error).__name__ + (f" {error}"[:120] if isinstance(error, FoundError) else "")
    return f"{text} at {place}"


def _peak() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


@contextlib.contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def command(*args: str | Path) -> None:
    """A command of ours: exit code and both streams are what the contract says they are."""
    from xlir_bench.cli import exit_code

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = exit_code([str(a) for a in args])
    said = out.getvalue() + err.getvalue()
    if code not in (0, 1, 2, 3) or "a fault of the program" in said:
        reason = said.strip().splitlines()[-1:] or [""]
        raise FoundError(f"exit {code}: {reason[0]}")
    for sign in said:
        if sign not in "\n\t\r" and (
            ord(sign) < 32 or 0x7F <= ord(sign) < 0xA0 or 0xD800 <= ord(sign) < 0xE000
        ):
            raise FoundError(f"{args[0]} prints the character {ord(sign):#x}")
    if any(line.startswith("::error") for line in said.splitlines()):
        raise FoundError(f"{args[0]} prints a line that begins with ::error")
    if code in (2, 3):
        raise XlirError(err.getvalue())
