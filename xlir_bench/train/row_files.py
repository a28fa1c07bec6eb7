"""Reads training rows from JSON Lines, parquet, CSV, folders and data sets of `datasets`; writes JSON Lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from xlir_bench.encoders.digest import files_digest
from xlir_bench.errors import InputError, OutOfReachError
from xlir_bench.extras import require
from xlir_bench.files import (
    ELSEWHERE,
    LONGEST_LINE,
    explained,
    file_digest,
    raw_lines,
    replacing,
    require_writable,
)
from xlir_bench.records import Progress
from xlir_bench.tasks import tasks_folder
from xlir_bench.train.rows import (
    LONG_FORM,
    MOST_LANGUAGES,
    SIDES,
    Fault,
    Row,
    is_long_form,
    join_line,
    parse_row,
)
from xlir_bench.untrusted import parse_json, table_rows

Records = Iterator[tuple[int, Any]]
"""The records of a source, each behind the number of its line. A faulty line has the `ValueError` that says why."""
SHOWN_FAULTS = 3
MOST_SKIPPED = 10_000
DELIMITERS = ",\t;|"
WRITTEN = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.%\[\]]+)?")


def read_rows(name: str, offline: bool = False) -> Iterator[Row | Fault]:
    """Every row, in order; a faulty line gives a `Fault`. Rows are read one at a time.

    Consecutive lines of the long form with the same data set and id are one row.
    """
    langs: set[str] = set()
    for _, group in groupby(_lines(name, offline), itemgetter(0)):
        _, number, row = next(group)
        for _, other, line in group:  # noqa: B031 - the rest of the group
            try:
                row = join_line(cast(Row, row), cast(Row, line))
            except ValueError as error:
                yield Fault(name, other, str(error))
        if isinstance(row, Row):
            langs_with_row = langs.union(*(row.side(side) for side in SIDES))
            if len(langs_with_row) > MOST_LANGUAGES:
                what = f"with it there are over {MOST_LANGUAGES:,} languages"
                yield Fault(name, number, what)
                continue
            langs = langs_with_row
        yield row


def _lines(name: str, offline: bool) -> Iterator[tuple[object, int, Row | Fault]]:
    """Every record as a key, its line and its row; lines of the long form that are one row have equal keys."""
    for number, record in _records(name, offline):
        try:
            if isinstance(record, ValueError):
                raise record
            row = parse_row(record, number)
        except ValueError as error:
            yield object(), number, Fault(name, number, str(error))
        else:
            yield (row.dataset, row.id) if is_long_form(record) else object(), number, row


def sound_rows(
    name: str,
    progress: Progress,
    offline: bool = False,
    skipped: list[Fault] | None = None,
) -> Iterator[Row]:
    """The rows up to the first fault; then reads on, and raises an error that names the first faults of the source.

    With a list `skipped` it appends the faults to the list, and gives all other rows, unless there are too many faults.
    """
    faults: list[Fault] = []
    count = 0
    for row in read_rows(name, offline):
        progress.advance(1)
        if isinstance(row, Fault) and skipped is not None:
            skipped.append(row)
            if len(skipped) > MOST_SKIPPED:
                raise InputError(
                    f"{row}; {MOST_SKIPPED:,} faulty rows came before it: correct them"
                )
        elif isinstance(row, Fault):
            count += 1
            if len(faults) < SHOWN_FAULTS:
                faults.append(row)
        elif not count:
            yield row
    if count:
        raise InputError(
            f"{listed_faults(faults, count)}: correct this, or leave faulty rows out with --skip-faults;"
            f" `xlir-bench data check-training {name}` lists more"
        )


def listed_faults(faults: Sequence[Fault], count: int) -> str:
    """The first faults in words, and how many of the `count` faults are not shown."""
    more = f" (and {count - SHOWN_FAULTS:,} more)" if count > SHOWN_FAULTS else ""
    return "; ".join(map(str, faults[:SHOWN_FAULTS])) + more


def source_digest(name: str) -> str:
    """``sha256:…`` of a file or of a folder's files; empty for a data set of the hub."""
    path = _located(name)
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return files_digest(path, files)
    return f"sha256:{file_digest(path, 'sha256')}" if path.is_file() else ""


def _located(name: str) -> Path:
    """The path of a source: the file of this name in the package, if there is no other, else the name itself."""
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
    raise InputError(f"--train {name}: no file, no folder, no name like owner/dataset[:split]")


def _of_file(path: Path) -> Records:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _READERS or (suffix == ".parquet" and path.suffix == ".gz"):
        raise InputError(f"{path} has no known suffix: {', '.join(sorted(_READERS))}, .gz too")
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
            yield number, ValueError(str(error))


def _of_csv(path: Path) -> Records:
    csv.field_size_limit(LONGEST_LINE)
    decoded = (x.decode("utf-8" if n else "utf-8-sig") for n, x in enumerate(raw_lines(path)))
    # A raw line ends only at \n. In a table \r ends a line, too; StringIO splits there.
    split = (part for line in decoded for part in io.StringIO(line, newline=""))
    table = csv.DictReader([])
    try:
        head, columns = next(split, ""), ("id", *LONG_FORM)
        # The delimiter is the one that finds most of the columns; the file's name does not matter.
        names = {x: next(csv.reader([head], delimiter=x), []) for x in DELIMITERS}
        delimiter = max(DELIMITERS, key=lambda x: len({*columns}.intersection(names[x])))
        table = csv.DictReader(chain([head], split), delimiter=delimiter, strict=True)
        missing = [column for column in columns if column not in (table.fieldnames or ())]
        if missing:
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        for record in table:
            too_many = None in record  # the key under which csv keeps cells without a column
            yield table.line_num, ValueError("more cells than columns") if too_many else record
    except (csv.Error, UnicodeDecodeError) as error:
        yield table.line_num, ValueError(f"no CSV: {error}")


_READERS: dict[str, Callable[[Path], Records]] = {
    ".jsonl": _of_jsonl,
    ".ndjson": _of_jsonl,
    ".parquet": table_rows,
    ".csv": _of_csv,
    ".tsv": _of_csv,
}


def _of_datasets(name: str, offline: bool) -> Records:
    """The records of a folder that `datasets` saved or can read, or of a data set of the hub."""
    require("train", name)
    import datasets
    from datasets.exceptions import DatasetsError

    bars_were_off = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        loaded = _load_dataset(name, offline)
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
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
            loaded = datasets.load_dataset(name, split=split or None)
    if not isinstance(loaded, Mapping):
        return loaded
    if "train" not in loaded and len(loaded) != 1:
        raise ValueError(f"it has the splits {', '.join(loaded)}: name one, as in {name}:train")
    return loaded["train"] if "train" in loaded else next(iter(loaded.values()))


@contextmanager
def _hub_offline() -> Iterator[None]:
    """Keep `datasets` from the hub, which it asks even whether a cached data set has a newer version."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def check_output(path: Path, names: Sequence[str]) -> None:
    """Refuse an output whose name training would not read, or that is one of the files that are read."""
    if not path.name.endswith(WRITTEN):
        raise InputError(
            f"--output {path}: rows are written as JSON Lines; name the file .jsonl or .jsonl.gz"
        )
    if path.is_dir():
        raise InputError(f"--output {path} is a folder; name a file")
    for name in names:
        if Path(name).is_file() and path.exists() and path.samefile(name):
            raise InputError(f"--output {path} is also read; name another file")
    require_writable(path.parent, ELSEWHERE, path.name)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as they come. The file gets its name after the last row; without a row there is no file."""
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
    """A row as one line of JSON, from which `read_rows` makes the same row."""
    stated = {name: getattr(row, name) for name in ("id", "dataset", "origin", *SIDES)}
    filled = {name: value for name, value in stated.items() if value}
    return json.dumps(filled, ensure_ascii=False).encode() + b"\n"
