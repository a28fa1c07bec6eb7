"""Processes that are killed at a file operation, as a kernel kills them: no clean-up runs."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from xlir_bench import files

OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "os.rmdir")


def kills(work: Callable[[], object], at_most: int = 200) -> Iterator[int]:
    """Do the work in a child that is killed before its first file operation, its second, … .

    Yields after each death; ends when a child came to its end.
    """
    for number in range(1, at_most):
        if not killed(work, number):
            return
        files._swept.clear()  # whoever goes on is another process
        yield number
    raise AssertionError(f"still not done after {at_most} file operations")


def killed(work: Callable[[], object], number: int) -> bool:
    """Whether a child died before its n-th file operation; it has to do well if it did not."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # threads of libraries, all of them idle
        child = os.fork()
    if child == 0:
        _work(work, number)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _work(work: Callable[[], object], number: int) -> None:
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in OPERATIONS or _reads(event, arguments):
            return
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def _reads(event: str, arguments: tuple[Any, ...]) -> bool:
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    return event == "open" and not (isinstance(arguments[2], int) and arguments[2] & writing)
