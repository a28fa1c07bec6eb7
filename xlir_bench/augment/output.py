"""Writes rows as JSON Lines, packed if the name ends in .gz; the file is written whole or not at all."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from xlir_bench.errors import InputError
from xlir_bench.files import ELSEWHERE, explained, replacing, require_writable
from xlir_bench.options.training import TrainingSource
from xlir_bench.train.rows import SIDES, Row

SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


def check_output(path: Path, sources: Sequence[TrainingSource]) -> None:
    """Refuse a file name that training would not read, and a file that rows are read from."""
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"--output {path}: rows are JSON Lines; name it .jsonl or .jsonl.gz")
    if path.is_dir():
        raise InputError(f"--output {path} is a folder; name a file")
    for source in sources:
        if Path(source.name).is_file() and path.exists() and path.samefile(source.name):
            raise InputError(f"--output {path} is what is read; name another file")
    require_writable(path.parent, ELSEWHERE, path.name)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as they come, under another name until the last; without any row nothing is written."""
    source = iter(rows)
    first = next(source, None)
    if first is None:
        return
    with (
        explained(path, ELSEWHERE),
        replacing(path) as temporary,
        temporary.open("wb") as plain,
        # Neither the name nor the time goes into the file: the same rows give the same bytes.
        gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0)
        if path.suffix == ".gz"
        else plain as file,
    ):
        file.writelines(line_of(row) for row in chain([first], source))


def line_of(row: Row) -> bytes:
    """One line of JSON that training reads as this row."""
    stated = {name: getattr(row, name) for name in ("id", "dataset", "origin", *SIDES)}
    filled = {name: value for name, value in stated.items() if value}
    return json.dumps(filled, ensure_ascii=False).encode() + b"\n"
