"""Where training rows come from: JSON Lines, parquet, CSV, folders and names of `datasets`."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

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
    Growing,
    Row,
    parse_pair,
    parse_row,
)
from xlir_bench.untrusted import parse_json, table_rows

Numbered = tuple[int, Any]
SUFFIXES = (".jsonl", ".ndjson", ".parquet", ".csv", ".tsv")
SHOWN_FAULTS = 3
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.%\[\]]+)?")


def read_rows(source: TrainingSource, offline: bool = False) -> Iterator[tuple[int, Row | Fault]]:
    """Every row with its line, in order; a line that is none gives its `Fault`. Nothing is held."""
    return _of_few_languages(_parsed(source.name, _records(source.name, offline)), source.name)


def sound_rows(source: TrainingSource, progress: Progress, offline: bool = False) -> Iterator[Row]:
    """The rows; an error at the end that names the first faults, if there is any."""
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
    """``sha256:…`` of a file, or of what a folder holds; empty for a name, whose bytes are elsewhere."""
    path = _located(source.name)
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return files_digest(path, files)
    return f"sha256:{file_digest(path, 'sha256')}" if path.is_file() else ""


def _located(name: str) -> Path:
    """Where a file or folder lies: as it is named, or among the rows that come with the package."""
    bundled = tasks_folder() / f"{name}.jsonl"
    if re.fullmatch(r"[\w-]+", name) and not Path(name).exists() and bundled.is_file():
        return bundled
    return Path(name)


def _records(name: str, offline: bool) -> Iterator[Numbered]:
    path = _located(name)
    if path.is_dir():
        return _of_datasets(name, offline)
    if path.is_file():
        return _of_file(path)
    if any(name.removesuffix(".gz").endswith(suffix) for suffix in SUFFIXES):
        raise InputError(f"training file {name} is not there")
    if HUB_NAME.fullmatch(name):
        return _of_datasets(name, offline)
    raise InputError(
        f"--train {name}: neither a file, a folder, a name like owner/dataset[:split] nor mini-train"
    )


def _of_file(path: Path) -> Iterator[Numbered]:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _READERS or (suffix == ".parquet" and path.suffix == ".gz"):
        raise InputError(
            f"training file {path} has no known suffix: {', '.join(sorted(_READERS))}, .gz too"
        )
    try:
        yield from _READERS[suffix](path)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"training file {path} cannot be read: {error}") from error


def _of_jsonl(path: Path) -> Iterator[Numbered]:
    for number, line in enumerate(raw_lines(path), start=1):
        if not line.strip():
            continue
        try:
            yield number, parse_json(line)
        except ValueError as error:
            yield number, FaultyRowError(str(error))


def _of_csv(path: Path) -> Iterator[Numbered]:
    return _of_table(path, ",")


def _of_tsv(path: Path) -> Iterator[Numbered]:
    return _of_table(path, "\t")


def _of_table(path: Path, delimiter: str) -> Iterator[Numbered]:
    csv.field_size_limit(LONGEST_LINE)
    lines = csv.DictReader(_text_lines(path), delimiter=delimiter, strict=True)
    try:
        missing = [
            column for column in ("id", *LONG_FORM) if column not in (lines.fieldnames or ())
        ]
        if missing:
            raise ValueError(
                f"it wants the columns id, {', '.join(LONG_FORM)}; missing: {', '.join(missing)}"
            )
        for stated in lines:
            if None in stated:
                yield lines.line_num, FaultyRowError("more cells than columns")
            else:
                yield lines.line_num, stated
    except (csv.Error, UnicodeDecodeError) as error:
        yield lines.line_num, FaultyRowError(f"no CSV: {error}")


def _text_lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(raw_lines(path)):
        # Tables have other ends of lines, too.
        yield from io.StringIO(line.decode("utf-8" if number else "utf-8-sig"), newline="")


_READERS: dict[str, Callable[[Path], Iterator[Numbered]]] = {
    ".jsonl": _of_jsonl,
    ".ndjson": _of_jsonl,
    ".parquet": table_rows,
    ".csv": _of_csv,
    ".tsv": _of_tsv,
}


def _of_datasets(name: str, offline: bool) -> Iterator[Numbered]:
    """A folder that `datasets` saved or understands, or a data set of the hub."""
    import datasets

    quiet = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        found = _load(name, offline)
    except (FileNotFoundError, ConnectionError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        kind = InputError if Path(name).is_dir() else OutOfReachError
        raise kind(f"training data {name!r} cannot be loaded through datasets: {reason}") from error
    finally:
        if not quiet:
            datasets.enable_progress_bars()
    yield from enumerate(found, start=1)


def _load(name: str, offline: bool) -> Iterable[Any]:
    import datasets

    folder = Path(name)
    if folder.is_dir():
        saved = (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    else:
        name, _, split = name.partition(":")
        with _hub_shut() if offline else nullcontext():
            found = datasets.load_dataset(name)
        if split:
            found = found[split]
    if isinstance(found, Mapping):
        if "train" not in found and len(found) != 1:
            raise ValueError(f"it has the splits {', '.join(found)}: name one, as in {name}:train")
        found = found["train"] if "train" in found else next(iter(found.values()))
    return cast(Iterable[Any], found)


@contextmanager
def _hub_shut() -> Iterator[None]:
    """Ask the hub nothing, not even whether a data set that is cached has a newer version."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _parsed(name: str, records: Iterator[Numbered]) -> Iterator[tuple[int, Row | Fault]]:
    """Rows of the records; consecutive lines of the long form with one id are one row."""
    waiting: Growing | None = None
    first = 0
    for number, stated in records:
        row = _parse(name, number, stated)
        long_form = _is_long(stated)
        if long_form and isinstance(row, Row) and waiting and _same(row, waiting.first):
            try:
                waiting.add(row)
            except FaultyRowError as error:
                yield number, Fault(name, number, str(error))
            continue
        if waiting:
            yield first, waiting.whole()
            waiting = None
        if long_form and isinstance(row, Row):
            waiting, first = Growing(row), number
        else:
            yield number, row
    if waiting:
        yield first, waiting.whole()


def _of_few_languages(
    rows: Iterable[tuple[int, Row | Fault]], name: str
) -> Iterator[tuple[int, Row | Fault]]:
    """The rows; those that name more languages than can be counted by pair are faults."""
    langs: set[str] = set()
    for number, row in rows:
        if isinstance(row, Row):
            new = langs.union(*(row.side(side) for side in SIDES))
            if len(new) > MOST_LANGUAGES:
                yield (
                    number,
                    Fault(name, number, f"with it there are over {MOST_LANGUAGES:,} languages"),
                )
                continue
            langs = new
        yield number, row


def _parse(name: str, number: int, stated: Any) -> Row | Fault:
    try:
        if isinstance(stated, FaultyRowError):
            raise stated
        return parse_pair(stated, number) if _is_long(stated) else parse_row(stated, number)
    except FaultyRowError as error:
        return Fault(name, number, str(error))


def _same(row: Row, other: Row) -> bool:
    return (row.dataset, row.id) == (other.dataset, other.id)


def _is_long(stated: Any) -> bool:
    return isinstance(stated, Mapping) and "lang_question" in stated and "lang_answer" in stated
