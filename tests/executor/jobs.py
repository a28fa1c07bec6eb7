"""Jobs for tests: modules that workers can import, too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from xlir_bench.errors import UnknownNameError


@dataclass(frozen=True)
class Squares:
    """Squares numbers; keeps a line of what was asked in a folder, and may be told to go wrong."""

    folder: Path
    fatal: int | None = None
    """A number that ends the process, each time."""
    once: int | None = None
    """One that ends it the first time."""
    wrong: int | None = None
    unknown: int | None = None
    seconds: float = 0.0
    together: int = 0
    """So many processes have to be at work before any number is done."""
    cannot_open: bool = False

    def open(self) -> Callable[[int], int]:
        if self.cannot_open:
            raise UnknownNameError("model", ["ngran"], ["ngram"])
        return self.square

    def square(self, number: int) -> int:
        with (self.folder / f"{number}.log").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        until = time.monotonic() + 100
        while time.monotonic() < until and len(processes(self.folder)) < self.together:
            time.sleep(0.05)
        first = len((self.folder / f"{number}.log").read_text().split()) == 1
        if number == self.fatal or (number == self.once and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.wrong:
            raise ZeroDivisionError("of a number")
        if number == self.unknown:
            raise UnknownNameError("number", ["sevn"], ["seven"])
        return number * number


@dataclass(frozen=True)
class Losing:
    """Another job, of which a unit is never done: whoever begins it while the file `wanted` is there waits for its end.

    It says who it is in the file beside, once it has taken that one away; those that it may not be wait until then.
    """

    job: Any
    wanted: Path
    spared: str = ""
    """A node on which no unit is lost."""

    def open(self) -> Callable[[Any], Any]:
        import ray

        work, node = self.job.open(), ray.get_runtime_context().get_node_id()

        def do(unit: Any) -> Any:
            until = time.monotonic() + 100
            while node == self.spared and self.wanted.exists() and time.monotonic() < until:
                time.sleep(0.02)
            with suppress(FileNotFoundError):
                self.wanted.rename(begun := self.wanted.with_suffix(f".{os.getpid()}"))
                time.sleep(max(0, until - time.monotonic()))
                begun.unlink()
            return work(unit)

        return do


@dataclass
class Ending:
    """An executor with which a unit of every job is lost: `end` is called with the process that has begun it."""

    executor: Any
    wanted: Path
    end: Callable[[int], None]
    spared: str = ""
    mend: Callable[[], object] = lambda: None
    """Is called after each job; Ray adds a node in the main thread alone."""
    ended: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.executor, name)

    def run(self, job: Any, units: Any) -> Iterator[Any]:
        self.wanted.touch()
        ending = Thread(target=self._end, daemon=True)
        ending.start()
        yield from self.executor.run(Losing(job, self.wanted, self.spared), units)
        ending.join()
        self.mend()

    def _end(self) -> None:
        until = time.monotonic() + 100
        while time.monotonic() < until:
            for begun in self.wanted.parent.glob(f"{self.wanted.stem}.[0-9]*"):
                self.end(int(begun.suffix[1:]))
                begun.unlink(missing_ok=True)
                self.ended += 1
                return
            time.sleep(0.02)


def processes(folder: Path) -> set[int]:
    """Those that were asked for any number."""
    return {process for each in asked(folder).values() for process in each}


def asked(folder: Path) -> dict[int, list[int]]:
    """By number, the processes that were asked for it."""
    return {
        int(path.stem): [int(line) for line in path.read_text().split()]
        for path in folder.glob("*.log")
    }
