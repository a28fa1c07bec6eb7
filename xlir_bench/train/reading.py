"""Where training rows come from: JSON Lines, parquet, CSV, folders and names of `datasets`."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from xlir_bench.encoders.digest import files_digest
from xlir_bench.errors import InputError, OutOfReachError
from xlir_bench.files import LONGEST_LINE, file_digest, raw_lines
from xlir_bench.options.training import TrainingSource
from xlir_bench.records import Progress
from xlir_bench.tasks import tasks_folder
from xlir_bench.train.rows import (
    LONG_FORM,
    MOST_LANGUAGES,
    SIDES,
    Fault,
    FaultyRowError,
    Row,
    is_long_form,
    join_line,
    parse_row,
)
from xlir_bench.untrusted import parse_json, table_rows

Records = Iterator[tuple[int, Any]]
"""The records of a source, each with its line; a line that holds none comes as its `FaultyRowError`."""
SHOWN_FAULTS = 3
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.%\[\]]+)?")


def read_rows(source: TrainingSource, offline: bool = False) -> Iterator[tuple[int, Row | Fault]]:
    """Every row with its line, in order; a faulty line gives its `Fault`. No row stays in memory."""
    langs: set[str] = set()
    for number, row in _parsed(source.name, _records(source.name, offline)):
        if isinstance(row, Row):
            langs_with_row = langs.union(*(row.side(side) for side in SIDES))
            if len(langs_with_row) > MOST_LANGUAGES:
                what = f"with it there are over {MOST_LANGUAGES:,} languages"
                yield number, Fault(source.name, number, what)
                continue
            langs = langs_with_row
        yield number, row


def sound_rows(source: TrainingSource, progress: Progress, offline: bool = False) -> Iterator[Row]:
    """The rows up to the first fault; then an error that names the first faults of the whole source."""
    faults: list[Fault] = []
    count = 0
    for _, row in read_rows(source, offline):
        progress.advance(1)
        if isinstance(row, Fault):
            count += 1
            if len(faults) < SHOWN_FAULTS:
                faults.append(row)
        elif not count:
            yield row
    if count:
        more = f" (and {count - len(faults)} more)" if count > len(faults) else ""
        raise InputError(
            "; ".join(map(str, faults))
            + more
            + f": mend it; `xlir-bench data check-training {source.name}` lists more"
        )


def source_digest(source: TrainingSource) -> str:
    """``sha256:…`` of a file or of a folder's files; empty for a name of `datasets`."""
    path = _located(source.name)
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return files_digest(path, files)
    return f"sha256:{file_digest(path, 'sha256')}" if path.is_file() else ""


def _located(name: str) -> Path:
    """The path that a name stands for: its own, or that of rows that come with the package."""
    bundled = tasks_folder() / f"{name}.jsonl"
    if re.fullmatch(r"[\w-]+", name) and not Path(name).exists() and bundled.is_file():
        return bundled
    return Path(name)


def _records(name: str, offline: bool) -> Records:
    path = _located(name)
    if path.is_dir():
        return _of_datasets(name, offline)
    if path.is_file():
        return _of_file(path)
    if any(name.removesuffix(".gz").endswith(suffix) for suffix in _READERS):
        raise InputError(f"training file {name} is not there")
    if HUB_NAME.fullmatch(name):
        return _of_datasets(name, offline)
    raise InputError(
        f"--train {name}: neither a file, a folder, a name like owner/dataset[:split] nor mini-train"
    )


def _of_file(path: Path) -> Records:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _READERS or (suffix == ".parquet" and path.suffix == ".gz"):
        raise InputError(
            f"training file {path} has no known suffix: {', '.join(sorted(_READERS))}, .gz too"
        )
    try:
        yield from _READERS[suffix](path)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"training file {path} cannot be read: {error}") from error


def _of_jsonl(path: Path) -> Records:
    for number, line in enumerate(raw_lines(path), start=1):
        if not line.strip():
            continue
        try:
            yield number, parse_json(line)
        except ValueError as error:
            yield number, FaultyRowError(str(error))


def _of_csv(path: Path, delimiter: str) -> Records:
    csv.field_size_limit(LONGEST_LINE)
    decoded = (
        line.decode("utf-8" if number else "utf-8-sig")
        for number, line in enumerate(raw_lines(path))
    )
    # Only \n ends a raw line; in a table \r does, too, and StringIO splits there.
    split = (part for line in decoded for part in io.StringIO(line, newline=""))
    table = csv.DictReader(split, delimiter=delimiter, strict=True)
    try:
        columns = table.fieldnames or ()
        missing = [column for column in ("id", *LONG_FORM) if column not in columns]
        if missing:
            raise ValueError(
                f"it wants the columns id, {', '.join(LONG_FORM)}; missing: {', '.join(missing)}"
            )
        for record in table:
            too_many = None in record  # under which csv keeps the cells that have no column
            yield table.line_num, FaultyRowError("more cells than columns") if too_many else record
    except (csv.Error, UnicodeDecodeError) as error:
        yield table.line_num, FaultyRowError(f"no CSV: {error}")


_READERS: dict[str, Callable[[Path], Records]] = {
    ".jsonl": _of_jsonl,
    ".ndjson": _of_jsonl,
    ".parquet": table_rows,
    ".csv": partial(_of_csv, delimiter=","),
    ".tsv": partial(_of_csv, delimiter="\t"),
}


def _of_datasets(name: str, offline: bool) -> Records:
    """A folder that `datasets` saved or understands, or a data set of the hub."""
    import datasets

    bars_were_off = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        loaded = _load_dataset(name, offline)
    except (FileNotFoundError, ConnectionError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        kind = InputError if Path(name).is_dir() else OutOfReachError
        raise kind(f"training data {name!r} cannot be loaded through datasets: {reason}") from error
    finally:
        if not bars_were_off:
            datasets.enable_progress_bars()
    yield from enumerate(loaded, start=1)


def _load_dataset(name: str, offline: bool) -> Any:
    import datasets

    folder = Path(name)
    if folder.is_dir():
        saved = (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    else:
        name, _, split = name.partition(":")
        with _hub_offline() if offline else nullcontext():
            loaded = datasets.load_dataset(name)
        if split:
            loaded = loaded[split]
    if not isinstance(loaded, Mapping):
        return loaded
    if "train" not in loaded and len(loaded) != 1:
        raise ValueError(f"it has the splits {', '.join(loaded)}: name one, as in {name}:train")
    return loaded["train"] if "train" in loaded else next(iter(loaded.values()))


@contextmanager
def _hub_offline() -> Iterator[None]:
    """Keep `datasets` from asking the hub even whether a cached data set has a newer version."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _parsed(name: str, records: Records) -> Iterator[tuple[int, Row | Fault]]:
    """Rows of the records; consecutive lines of the long form with one data set and id are one row."""
    waiting: tuple[int, Row] | None = None
    for number, record in records:
        row = _row_or_fault(name, number, record)
        line = row if isinstance(row, Row) and is_long_form(record) else None
        if waiting and line and (line.dataset, line.id) == (waiting[1].dataset, waiting[1].id):
            try:
                waiting = waiting[0], join_line(waiting[1], line)
            except FaultyRowError as error:
                yield number, Fault(name, number, str(error))
            continue
        if waiting:
            yield waiting
        waiting = (number, line) if line else None
        if not line:
            yield number, row
    if waiting:
        yield waiting


def _row_or_fault(name: str, number: int, record: Any) -> Row | Fault:
    try:
        if isinstance(record, FaultyRowError):
            raise record
        return parse_row(record, number)
    except FaultyRowError as error:
        return Fault(name, number, str(error))
