"""Faults of data files: collected over all files of a task, reported in one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.reading import HALF, parse_json

SHOWN = 10
LONGEST = 300
"""Characters of one reason."""
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
            self._lines.append(visible(f"{file}: {place}: {cut}"))

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
            self.fault(place, HALF)
            return None
        return value

    def _load(self) -> Any:
        try:
            return parse_json(self.path.read_bytes(), lone="keep")
        except ValueError as error:
            return self.fault("$", str(error))
        except OSError as error:
            return self.fault("$", f"cannot be read ({error.strerror})")


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
