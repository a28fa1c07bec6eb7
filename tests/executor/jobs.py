"""Jobs for tests: modules that workers can import, too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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


def processes(folder: Path) -> set[int]:
    """Those that were asked for any number."""
    return {process for each in asked(folder).values() for process in each}


def asked(folder: Path) -> dict[int, list[int]]:
    """By number, the processes that were asked for it."""
    return {
        int(path.stem): [int(line) for line in path.read_text().split()]
        for path in folder.glob("*.log")
    }
