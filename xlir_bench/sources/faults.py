"""Faults of data files: collected over all files of a task, reported in one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from xlir_bench.errors import InputError

SHOWN = 10
LONGEST = 500
"""Characters of a reason, which may quote what is wrong."""
_KINDS = {str: "text", int: "a whole number", list: "a list", dict: "an object"}

T = TypeVar("T", str, int, list[Any], dict[str, Any])


class Faults:
    """Collects what is wrong in the files of one task, or wherever else it is said to be."""

    def __init__(self, task: str = "", where: str = "") -> None:
        self._where = where or f"the data of task {task!r}"
        self._lines: list[str] = []
        self.count = 0

    def add(self, file: Path, place: str, reason: str) -> None:
        """One more fault: in which file, at which JSON path, and why."""
        self.count += 1
        if len(self._lines) < SHOWN:
            cut = reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}…"
            self._lines.append(f"{file}: {place}: {cut}")

    def check(self) -> None:
        """Raise one error that names the first faults and counts them all."""
        if not self.count:
            return
        noun = "fault" if self.count == 1 else "faults"
        lines = [f"{self.count} {noun} in {self._where}:", *self._lines]
        if self.count > len(self._lines):
            lines.append(f"(the first {len(self._lines)} of {self.count})")
        raise InputError("\n  ".join(lines))


class JsonFile:
    """A JSON file whose values are taken out with their kind checked; a wrong one is a fault."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self.path = path
        self._all = faults
        self.faults = 0
        """How many were counted in this file."""
        self.content = self._load()
        self.loaded = not self.faults

    def fault(self, place: str, reason: str) -> None:
        """Count a fault of this file."""
        self.faults += 1
        self._all.add(self.path, place, reason)

    def take(self, parent: dict[str, Any], key: str, kind: type[T], place: str) -> T | None:
        """The value of a key, or None after counting a fault."""
        if key not in parent:
            self.fault(place, f"{key!r} is missing")
            return None
        return self.expect(parent[key], kind, f"{place}.{key}")

    def expect(self, value: Any, kind: type[T], place: str) -> T | None:
        """The value, if it is of that kind; else None after counting a fault."""
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fault(place, f"should be {_KINDS[kind]}, is {_described(value)}")
            return None
        if isinstance(value, str) and not _encodable(value):
            self.fault(place, "is not valid Unicode (half of a surrogate pair)")
            return None
        return value

    def _load(self) -> Any:
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return self.fault("$", f"is not UTF-8 at byte {error.start} ({error.reason})")
        except OSError as error:
            return self.fault("$", f"cannot be read ({error.strerror})")
        if not text.strip():
            return self.fault("$", "the file is empty")
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            return self.fault("$", _where(error, text))
        except RecursionError:
            return self.fault("$", "is nested too deeply")
        except ValueError as error:  # a number of thousands of digits
            return self.fault("$", f"is not JSON: {error}")


def _where(error: json.JSONDecodeError, text: str) -> str:
    ended = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    what = "the file ends too early" if ended else "is not JSON"
    return (
        f"{what}: {error.msg} at line {error.lineno}, column {error.colno} (character {error.pos})"
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _described(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float):
        return f"the number {value}"
    return _KINDS[type(value)]
