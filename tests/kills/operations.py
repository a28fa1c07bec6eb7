"""Processes that are killed at a file operation, as a kernel kills them: no clean-up runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from xlir_bench import files

OPERATIONS = ("os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir", "os.link")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def die_before(fatal: int, below: str = "", but: tuple[str, ...] = ()) -> Callable[[], int]:
    """Count the file operations of this process below a folder from now on, and die before the `fatal`-th.

    `but`: ends of names that do not count. Returns a function that tells the count.
    """
    count = 0
    # Two threads must not both pass the number without dying.
    lock = threading.RLock()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, mode, flags = arguments
            if not (any(c in (mode or "") for c in "wax+") or (flags or 0) & WRITING):
                return
        elif event in OPERATIONS:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | bytes | os.PathLike):
            return
        full = str(Path(os.fsdecode(path)).absolute())
        if not full.startswith(below) or full.endswith(but):
            return
        with lock:
            count += 1
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: count


def exit_code_of(work: Callable[[], int], seconds: float = 0.0) -> int:
    """The exit code that `work` returns in a fork of this process, negative for a signal.

    `seconds`: after which it is killed, if it has not ended.
    """
    with warnings.catch_warnings():
        # Threads of libraries, all of them idle.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 70
        try:
            code = work()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if seconds:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kills(work: Callable[[], object], at_most: int = 200) -> Iterator[int]:
    """Do the work in a child that is killed before its first file operation, its second, … .

    Yields after each death; ends when a child came to its end.
    """

    def dying() -> int:
        die_before(number)
        work()
        return 0

    for number in range(1, at_most):
        code = exit_code_of(dying)
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            return
        files._swept.clear()  # whoever goes on is another process
        yield number
    raise AssertionError(f"still not done after {at_most} file operations")
