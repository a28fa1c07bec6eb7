"""A job in units, and executors that do them: in this process, or in others."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

Unit_contra = TypeVar("Unit_contra", contravariant=True)
Unit = TypeVar("Unit")
Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)


class Job(Protocol[Unit_contra, Made_co]):
    """What every unit of some work needs, as plain data that can be sent: names and options, no open file, no model."""

    def open(self) -> Callable[[Unit_contra], Made_co]:
        """Load models and open files, once for each worker; returns the function that does a unit."""


@dataclass(frozen=True, slots=True)
class Done(Generic[Made]):
    """A unit that is over."""

    name: str
    value: Made | None = None
    """What the job made of it."""
    error: Exception | None = None

    def result(self) -> Made:
        """The value of the unit; raises its error if it failed."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error it is there


@runtime_checkable
class Executor(Protocol):
    """Does the units of a job, here or elsewhere."""

    @property
    def remote(self) -> bool:
        """Whether other processes do the work: then jobs and units are sent, and files must be where all see them."""

    @property
    def workers(self) -> int:
        """How many units are done at a time."""

    @property
    def device(self) -> str | None:
        """Where models run; None: on the best device of this process."""

    @property
    def kinds(self) -> Mapping[str, int]:
        """How many workers of each kind of machine there were so far; empty for this process."""

    def run(self, job: Job[Unit, Made], units: Iterable[tuple[str, Unit]]) -> Iterator[Done[Made]]:
        """Do every unit once, and give each when it is over; units, which have distinct names, are begun in their order.

        A unit that fails does not hold up the others. If the run ends early or is interrupted, what finished units wrote stays.
        """


@dataclass(frozen=True, slots=True)
class Local:
    """This process; it does one unit at a time, which may use threads of its own."""

    remote: bool = False
    workers: int = 1
    device: str | None = None
    kinds: Mapping[str, int] = field(default_factory=dict)

    def run(self, job: Job[Unit, Made], units: Iterable[tuple[str, Unit]]) -> Iterator[Done[Made]]:
        """Do the units in their order."""
        work = job.open()
        for name, unit in units:
            try:
                done = Done(name, work(unit))
            except Exception as error:
                done = Done(name, error=error)
            yield done


LOCAL = Local()


def processor() -> str:
    """What the processor of this machine is called; Python's own answer is empty on Linux."""
    with suppress(OSError):
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def stderr_dropped() -> Iterator[None]:
    """Drop what is written to stderr, by libraries of other languages too.

    Ray's core, which no setting keeps quiet, does so every second while it asks a cluster in vain.
    """
    kept = os.dup(2)
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
