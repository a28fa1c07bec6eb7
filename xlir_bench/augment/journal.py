"""What a stopped translation goes on from: whole windows of rows in one file, batches of the next in another.

Both lie beside the output until it is there; a line that was being written when the run ended is forgotten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from xlir_bench.augment.output import write_lines
from xlir_bench.errors import InputError
from xlir_bench.files import ELSEWHERE, explained, held, write
from xlir_bench.untrusted import sound_lines

SCHEMA = 1


class _Header(BaseModel):
    """The first line of a journal."""

    schema_: Literal[1] = Field(alias="schema")
    stated: dict[str, Any]
    window: Annotated[int, Field(ge=0)]
    report: dict[str, Any]
    size: Annotated[int, Field(ge=0)]


class _Batch(BaseModel):
    """Each of the others."""

    batch: int
    translations: list[Any]


@dataclass(slots=True)
class Journal:
    """The state of one output on disk."""

    output: Path
    stated: Mapping[str, Any]
    """What decides about the output; a run that states something else does not go on with it."""
    window: int = 0
    """Windows that are done."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What was counted in them."""
    batches: dict[int, list[Any]] = field(default_factory=dict)
    """Batches of the window that is being done, by number."""
    _size: int = 0

    @property
    def path(self) -> Path:
        """Where batches are noted."""
        return self.output.with_name(f".{self.output.name}.journal")

    @property
    def rows(self) -> Path:
        """Where the rows of whole windows are."""
        return self.output.with_name(f".{self.output.name}.part")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out, and read what an earlier one left."""
        with held(self.output.with_name(f".{self.output.name}.lock"), str(self.output)):
            self._open()
            yield

    def note(self, batch: int, translations: Sequence[Any]) -> None:
        """Keep a batch."""
        self.batches[batch] = list(translations)
        with explained(self.output, ELSEWHERE), self.path.open("ab") as file:
            file.write(_line({"batch": batch, "translations": list(translations)}))

    def close_window(self, lines: Iterable[str], report: Mapping[str, Any]) -> None:
        """Keep the rows of a window; its batches are needed no more."""
        with explained(self.output, ELSEWHERE):
            with self.rows.open("ab") as file:
                file.writelines(line.encode() for line in lines)
                file.flush()
                os.fsync(file.fileno())
                self._size = file.tell()
            self.window, self.report = self.window + 1, report
            self._begin()

    def finish(self) -> None:
        """Put the output in its place."""
        with self.rows.open("rb") as lines:
            write_lines(self.output, lines)
        self.path.unlink()
        self.rows.unlink()

    def _open(self) -> None:
        content = self.path.read_bytes().splitlines(keepends=True) if self.path.is_file() else []
        headers = list(sound_lines(self.path, _Header.model_validate, content[:1]))
        batches = list(sound_lines(self.path, _Batch.model_validate, content[1:]))
        with explained(self.output, ELSEWHERE):
            if not headers:
                self.rows.write_bytes(b"")
                self._begin()
                return
            self._go_on_from(headers[0])
            self.batches = {line.batch: line.translations for line in batches}
            os.truncate(self.path, sum(map(len, content[: 1 + len(batches)])))

    def _go_on_from(self, header: _Header) -> None:
        before, now = header.stated, json.loads(json.dumps(self.stated))
        changed = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
        if changed:
            raise InputError(
                f"{self.output} was begun with something else ({', '.join(changed)} changed): say the same"
                f" again, name another --output, or remove {self.path} to begin anew"
            )
        self.window, self.report, self._size = header.window, header.report, header.size
        if not self.rows.is_file() or self.rows.stat().st_size < self._size:
            raise InputError(
                f"{self.rows} was changed since the run stopped: remove {self.path} to begin anew"
            )
        os.truncate(self.rows, self._size)

    def _begin(self) -> None:
        """A new journal in place of the old one, at once."""
        header = {
            "schema": SCHEMA,
            "stated": self.stated,
            "window": self.window,
            "size": self._size,
            "report": self.report,
        }
        write(self.path, _line(header))
        self.batches = {}


def _line(stated: Mapping[str, Any]) -> bytes:
    return json.dumps(stated, ensure_ascii=False).encode() + b"\n"
