"""A result on disk: result.json, and beside it the tables that it names.

Tables carry a digest of their content in their names. They are written first, result.json is renamed last, and the
tables of the result that was there before are removed after that: a reader sees the old result or the new one, whenever
a writer is killed.
"""

from __future__ import annotations

import json
import re
from collections import UserDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xlir_bench.errors import InputError, UnknownNameError, require_type
from xlir_bench.escaping import visible
from xlir_bench.files import (
    beside,
    explained,
    file_digest,
    held,
    json_digest,
    text_digest,
    write,
)
from xlir_bench.measures.bootstrap import Interval
from xlir_bench.places import as_path
from xlir_bench.records import Kind, measure_name
from xlir_bench.rendering.document import Lines, Table, render
from xlir_bench.results.frame import part_of, rows_of
from xlir_bench.results.schema import RESULT_SCHEMA, CostPart, ResultRecord
from xlir_bench.results.tables import COLUMNS, OPTIONAL
from xlir_bench.results.values import (
    RANK_DISTANCE,
    QueryValues,
    StoredRankings,
    values_of_table,
    values_table,
)
from xlir_bench.untrusted import load_json, read_table, shortened, validated

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

RESULT_FILE = "result.json"
READ_BY_EYE = 1_000
"""A result with more settings is written on one line, in a tenth of the time and half the bytes."""
TABLES = tuple(COLUMNS)
TABLE_FILE = re.compile(rf"({'|'.join(TABLES)})(-[0-9a-f]{{12}})?\.parquet")
LOCK = ".result.lock"
REMEDY = "name another folder with --output"
AGAIN = "run the evaluation again"


@dataclass(frozen=True, repr=False)
class Result:
    """The result of one run: its record and tables. `save` writes it, `load` reads it back."""

    record: ResultRecord
    tables: Mapping[str, pa.Table]
    """The stored tables, by name: ``ranks``; ``best`` of the pool of all languages; ``scores``, where queries are
    translations; ``run``, where it was asked for; ``queries``, where measures look for answers."""
    folder: Path | None = None
    """Where it was read from or saved to."""

    @property
    def summary(self) -> Mapping[Kind, Mapping[str, Interval]]:
        """Macro averages with intervals, by kind and measure."""
        return self.record.summary

    def score(self, kind: str, measure: str | None = None) -> float:
        """The macro average of a measure over the settings of a kind; by default the task's main measure.

        >>> import xlir_bench as xb
        >>> result = xb.evaluate("mini", "builtin:random", langs="de,en", measures="map", cache=None)
        >>> result.score("Cross_Lingual", "MAP") == result.score("cross-lingual")
        True
        """
        (wanted,) = Kind.named(kind)
        if wanted not in self.summary:
            raise UnknownNameError(
                f"kind of {self.where}", [kind], [known.value for known in self.summary]
            )
        name = self.record.main_measure if measure is None else measure_name(measure)
        if name not in self.summary[wanted]:
            raise UnknownNameError(f"measure of {self.where}", [name], self.summary[wanted])
        return self.summary[wanted][name].mean

    def __repr__(self) -> str:
        """In a line: the encoder, the task, and the main measure by kind."""
        record, measure = self.record, self.record.main_measure
        means = [f"{kind} {by[measure].mean:.4f}" for kind, by in self.summary.items()]
        part = f" ({part_of(record)})" if part_of(record) else ""
        figures = f": {measure} {', '.join(means)}" if means else ""
        return visible(f"<Result of {record.encoder.name} on {record.task.name}{part}{figures}>")

    def _repr_html_(self) -> str:
        """In a notebook: the same, and a table of all kinds and measures with their intervals."""
        rows = [
            {"": kind.value} | {measure: str(interval) for measure, interval in by_measure.items()}
            for kind, by_measure in self.summary.items()
        ]
        tables = [Table.of(rows, text=len(rows[0]))] if rows else []
        return render([Lines(repr(self)), *tables], "html")

    def to_frame(self, level: Literal["setting", "kind"] = "setting") -> pd.DataFrame:
        """A row for each setting and measure, or for each kind and measure with the 95 % interval of its mean (low, high).

        Frames of several results can be joined (`pandas.concat`): each row names its task, its encoder and what makes
        the run partial.
        """
        import pandas as pd

        columns = {
            "setting": ("query_lang", "passage_langs", "queries", "candidates", "measure", "value"),
            "kind": ("settings", "measure", "value", "low", "high"),
        }
        if level not in columns:
            raise UnknownNameError("level of rows", [level], columns)
        rows = [row for row in rows_of(self.record) if row["level"] == level]
        return pd.DataFrame(rows, columns=["task", "part", "encoder", "kind", *columns[level]])

    def to_json(self, compact: bool = False) -> str:
        """result.json as text; `compact`: on one line."""
        record = self.record.model_dump(mode="json", by_alias=True)
        text = json.dumps(record, ensure_ascii=False, indent=None if compact else 1) + "\n"
        # Half a surrogate pair (of a file name that is not UTF-8) is written as its JSON escape.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    def save(
        self, folder: str | Path, compact: bool = False, tables: Iterable[str] = TABLES
    ) -> Result:
        """Write the result into this folder, in place of the one that is there; returns it as saved.

        `tables`: which are kept. ``("ranks",)`` is enough for every comparison: values of single queries are computed
        from ranks. The values of measures that look for answers cannot be, and are always kept.
        """
        require_type(tables, Iterable, "tables to save are a list of names")
        folder, wanted = as_path(folder), set(tables)
        if not self.record.by_ranks:
            wanted.add("queries")
        with explained(folder, REMEDY), held(folder / LOCK, f"result {folder}", wait=True):
            files = {
                name: _write_table(folder, name, self.tables[name])
                for name in TABLES
                if name in wanted and name in self.tables
            }
            record = self.record.model_copy(update={"tables": files})
            many = len(record.settings) > READ_BY_EYE
            write(folder / RESULT_FILE, Result(record, {}).to_json(compact or many))
            for path in folder.iterdir():
                if TABLE_FILE.fullmatch(path.name) and path.name not in files.values():
                    path.unlink(missing_ok=True)
        return Result(record, {name: self.tables[name] for name in files}, folder)

    @property
    def has_values(self) -> bool:
        """Whether values of single queries are stored, or can be computed from ranks."""
        return "ranks" in self.tables and ("queries" in self.tables or self.record.by_ranks)

    def values(self, measure: str) -> QueryValues:
        """One measure of every query: as stored, else computed from ranks."""
        require_type(measure, str, "the name of a measure is wanted")
        if measure not in self._values:
            self._values[measure] = self._computed(measure)
        return self._values[measure]

    @cached_property
    def _values(self) -> dict[str, QueryValues]:
        """The values that `values` has given so far, by measure."""
        return {}

    @cached_property
    def _rankings(self) -> StoredRankings:
        return StoredRankings(self.table("ranks"), self.record)

    def _computed(self, measure: str) -> QueryValues:
        known = self.record.options.measures
        if measure not in (*known, RANK_DISTANCE):
            raise UnknownNameError(f"measure of {self.where}", [measure], known)
        ranks = self.table("ranks")
        try:
            if measure == RANK_DISTANCE or "queries" not in self.tables:
                return self._rankings.values(measure)
            # Where answers decide, no passage has a rank.
            with_clusters = ranks if ranks.num_rows else None
            return values_of_table(self.table("queries"), measure, self.record, with_clusters)
        except (ValueError, KeyError) as error:
            raise InputError(
                f"the tables of {self.where} do not belong to its result.json ({error}); {AGAIN}"
            ) from error

    def table(self, name: str) -> pa.Table:
        """A stored table, or the values of all queries computed from ranks; an error if there is neither."""
        require_type(name, str, "the name of a table is wanted")
        if name in self.tables:
            return self.tables[name]
        if name == "queries" and self.has_values:
            return values_table([self.values(m) for m in self.record.options.measures])
        raise InputError(
            f"{self.where} has no table of {name} beside its result.json;"
            " run the evaluation again, or name the folder that has it"
        )

    @property
    def where(self) -> str:
        """How messages name it: its folder, else its encoder and task."""
        return str(self.folder or f"{self.record.encoder.slug}/{self.record.task.name}")

    def with_cost(self, cost: CostPart | None) -> Result:
        """The same result with this cost of its encoder, or without any."""
        profile = self.record.profile.model_copy(update={"cost": cost})
        return Result(self.record.model_copy(update={"profile": profile}), self.tables)

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """The result of a folder, or of its result.json."""
        path = as_path(path)
        file = path / RESULT_FILE if path.is_dir() else path
        record = _read_record(file)
        while len(tables := _existing_tables(record, file.parent)) < len(record.tables or ()):
            # The result was replaced in the meantime, or its tables were not kept.
            again = _read_record(file)
            if again.tables == record.tables:
                break
            record = again
        return cls(record, _StoredTables(tables), file.parent)


def publish(result: Result, folder: Path) -> list[Path]:
    """Write a result with its ranks only, enough for every comparison and small enough for Git; returns the files.

    If the result that is there is of the same encoder, and texts were encoded for it, its speeds stay, and so does its
    cost unless a new one was measured: results are made again on any machine, busy or not, and often from a cache.
    """
    if (folder / RESULT_FILE).is_file():
        new, old = result.record, Result.load(folder).record
        if new.encoder.fingerprint == old.encoder.fingerprint and old.profile.encoded_texts:
            cost = new.profile.cost or old.profile.cost
            profile = old.profile.model_copy(update={"cost": cost})
            result = replace(result, record=new.model_copy(update={"profile": profile}))
    saved = result.save(folder, tables=("ranks",))
    return [folder / name for name in (RESULT_FILE, *(saved.record.tables or {}).values())]


def _existing_tables(record: ResultRecord, folder: Path) -> dict[str, Path]:
    """The files of a result's tables that are there; older results do not name theirs."""
    files: Iterable[tuple[str, str]] = ((name, f"{name}.parquet") for name in TABLES)
    if record.tables is not None:
        files = record.tables.items()
    return {name: folder / file for name, file in files if (folder / file).is_file()}


class _StoredTables(UserDict[str, Any]):
    """Tables by name; a table's file is read when it is first used."""

    def __getitem__(self, name: str) -> pa.Table:
        if isinstance(self.data[name], Path):
            self.data[name] = _read_table(self.data[name])
        return self.data[name]


def _write_table(folder: Path, name: str, table: pa.Table) -> str:
    """Write a table under a name with a digest of its content; returns the name."""
    import pyarrow.parquet as pq

    with beside(folder / f"{name}.parquet") as temporary:
        # Statistics of columns, which nothing here reads, would take half the time of a large table.
        pq.write_table(
            table, temporary, compression="zstd", compression_level=9, write_statistics=False
        )
        file = f"{name}-{file_digest(temporary, 'sha256')[:12]}.parquet"
        temporary.replace(folder / file)
    return file


def _read_table(path: Path) -> pa.Table:
    """A table whose content has the digest that its name states."""
    name, _, stated = path.stem.partition("-")
    try:
        digest = file_digest(path, "sha256")[:12] if stated else ""
    except FileNotFoundError:
        raise InputError(
            f"{path} is gone: the result was replaced while it was read; run this command again"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if digest != stated:
        raise InputError(f"{path} is not what was written (its digest is {digest}); {AGAIN}")
    return read_table(path, COLUMNS[name], AGAIN, OPTIONAL.get(name, ()))


def _read_record(file: Path) -> ResultRecord:
    if not file.exists():
        raise InputError(
            f"{file} is not there; name a result folder (results/<encoder>/<task>) or its result.json"
        )
    # A command may hold the name of a file that is no UTF-8.
    stated = load_json(file, AGAIN, lone="replace")
    schema = stated.get("schema") if isinstance(stated, dict) else None
    if schema != RESULT_SCHEMA:
        raise InputError(
            f"{file} has schema {shortened(repr(schema))}, this version reads {RESULT_SCHEMA};"
            " evaluate again, or use the version that wrote it"
        )
    return validated(ResultRecord, stated, file, "a result", AGAIN)


def result_files(path: Path, wanted: str) -> list[Path]:
    """Every result.json in a folder (searched through), or the file itself; `wanted`: what to name if there is none."""
    if not path.exists():
        raise InputError(f"{path} is not there; {wanted}")
    return sorted(path.rglob(RESULT_FILE)) if path.is_dir() else [path]


def load_in_order(paths: str | Path | Iterable[str | Path]) -> list[Result]:
    """Every result in these folders (searched through) or files, each once, in the order given."""
    files: dict[Path, Path] = {}
    given: Any = paths
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    for path in map(as_path, given if several else [given]):
        wanted = "name a result folder (results/<encoder>/<task>), or one that holds some"
        below = result_files(path, wanted)
        if not below:
            raise InputError(f"{path} holds no {RESULT_FILE}; name a results folder")
        for file in below:
            files.setdefault(file.resolve(), file)
    return [Result.load(file) for file in files.values()]


def load_results(paths: str | Path | Iterable[str | Path]) -> list[Result]:
    """Every result in this folder or file, or in these folders (searched through) or files, sorted by task and encoder."""
    return sorted(load_in_order(paths), key=lambda r: (r.record.task.name, r.record.encoder.slug))


def result_folder(output: Path, encoder_slug: str, task: str, part: Mapping[str, Any]) -> Path:
    """Where a result is written; `part`: the options that make it a partial run."""
    return output / encoder_slug / (f"{task}~{json_digest(part)[:8]}" if part else task)


def cost_before(folder: Path, record: ResultRecord) -> CostPart | None:
    """What `profile` measured, if the result in this folder is of the same encoder on the same data."""
    try:
        stored = _read_record(folder / RESULT_FILE)
    except InputError:
        return None
    pairs = ((r.encoder.fingerprint, r.task.digest, r.task.data_read) for r in (stored, record))
    return stored.profile.cost if next(pairs) == next(pairs) else None


def folder_of_data(folder: Path, record: ResultRecord) -> Path:
    """`folder`; if that holds a result of other data, which is kept, another folder beside it."""
    try:
        stored = _read_record(folder / RESULT_FILE).task
    except InputError:
        return folder
    task = record.task
    if (stored.name, stored.version) != (task.name, task.version):
        return folder
    same_data = None in (stored.data_read, task.data_read) or stored.data_read == task.data_read
    if stored.digest == task.digest and same_data:
        return folder
    piece = text_digest(f"{task.digest} {task.data_read}", 8)
    return folder.with_name(f"{folder.name}-{piece}")
