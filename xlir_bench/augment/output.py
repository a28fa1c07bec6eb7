"""Rows written to JSON Lines, packed if the name says so; the file is there whole or not at all."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from xlir_bench.errors import InputError
from xlir_bench.files import ELSEWHERE, explained, replacing, require_writable
from xlir_bench.options.training import TrainingSource
from xlir_bench.train.rows import Row

SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


def check_output(path: Path, sources: Sequence[TrainingSource]) -> None:
    """Refuse a file that training would not read, and one that is being read."""
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"--output {path}: JSON Lines are written; name it .jsonl or .jsonl.gz")
    if path.is_dir():
        raise InputError(f"--output {path} is a folder; name a file")
    for source in sources:
        if Path(source.name).is_file() and path.exists() and path.samefile(source.name):
            raise InputError(f"--output {path} is what is read; name another file")
    require_writable(path.parent, ELSEWHERE, path.name)


def line_of(row: Row) -> str:
    """One line of JSON that training reads as this row."""
    stated = {
        "id": row.id,
        "dataset": row.dataset,
        "origin": row.origin,
        "question": dict(row.question),
        "answer": dict(row.answer),
        "negative": dict(row.negative),
    }
    wanted = {name: value for name, value in stated.items() if value}
    return json.dumps(wanted, ensure_ascii=False) + "\n"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as they come, under another name until the last."""
    write_lines(path, (line_of(row).encode() for row in rows))


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """The same of lines that are there."""
    with (
        explained(path, ELSEWHERE),
        replacing(path) as temporary,
        temporary.open("wb") as plain,
        _packed(plain, path) as file,
    ):
        # The rows are read in here too; what is wrong with them is no fault of this file.
        file.writelines(lines)


@contextmanager
def _packed(plain: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield plain
        return
    # Neither the name nor the time goes into the file: the same rows give the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) as packed:
        yield cast(BinaryIO, packed)
