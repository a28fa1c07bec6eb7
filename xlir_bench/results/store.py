"""A result on disk: result.json with ranks.parquet and queries.parquet beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from xlir_bench.errors import InputError, XlirError
from xlir_bench.records import Kind
from xlir_bench.results.schema import RESULT_SCHEMA, CostPart, IntervalPart, ResultRecord

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

RESULT_FILE = "result.json"
TABLES = ("ranks", "queries", "run")


@dataclass(frozen=True, slots=True)
class Result:
    """Everything one run found. `save` writes it, `load` reads it back."""

    record: ResultRecord
    tables: Mapping[str, pa.Table]
    """``ranks`` and ``queries``, and ``run`` where one was asked for; none that was not stored."""
    folder: Path | None = None
    """Where it was read from or saved to."""

    @property
    def summary(self) -> Mapping[Kind, Mapping[str, IntervalPart]]:
        """Macro averages with intervals, by kind and measure."""
        return self.record.summary

    def score(self, kind: str, measure: str = "map") -> float:
        """The macro average of one measure over the settings of a kind."""
        return self.record.summary[Kind(kind)][measure].mean

    def to_frame(self) -> pd.DataFrame:
        """One row a setting and measure: kind, query_lang, passage_langs, queries, measure, value."""
        import pandas as pd

        rows = [
            (s.kind.value, s.query_lang, " ".join(s.passage_langs), s.queries, s.candidates, m, v)
            for s in self.record.settings
            for m, v in s.measures.items()
        ]
        columns = [
            "kind",
            "query_lang",
            "passage_langs",
            "queries",
            "candidates",
            "measure",
            "value",
        ]
        return pd.DataFrame(rows, columns=columns)

    def to_json(self, compact: bool = False) -> str:
        """result.json as text; `compact`: on one line."""
        record = self.record.model_dump(mode="json", by_alias=True)
        text = json.dumps(record, ensure_ascii=False, indent=None if compact else 1) + "\n"
        # Half a surrogate pair (a file name that is no UTF-8) becomes the escape that JSON has for it.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    def save(self, folder: str | Path, compact: bool = False) -> Result:
        """Write into this folder, each file atomically, result.json last; the result as saved."""
        import pyarrow.parquet as pq

        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in TABLES:
                path = folder / f"{name}.parquet"
                if name in self.tables:
                    with replacing(path) as temporary:
                        pq.write_table(self.tables[name], temporary, compression="zstd")
                else:
                    path.unlink(missing_ok=True)
            with replacing(folder / RESULT_FILE) as temporary:
                temporary.write_text(self.to_json(compact), encoding="utf-8")
        except OSError as error:
            reason = error.strerror or str(error)
            raise not_writable(folder, reason, error) from error
        return Result(self.record, self.tables, folder)

    @property
    def has_values(self) -> bool:
        """Whether values of single queries are there."""
        return {"ranks", "queries"} <= set(self.tables)

    def with_cost(self, cost: CostPart | None) -> Result:
        """The same result, with what its encoder costs in use, or without."""
        profile = self.record.profile.model_copy(update={"cost": cost})
        return Result(self.record.model_copy(update={"profile": profile}), self.tables)

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """The result of a folder, or of its result.json."""
        path = Path(path)
        file = path / RESULT_FILE if path.is_dir() else path
        record = _read_record(file)
        tables = {
            name: _LazyTable(file.parent / f"{name}.parquet")
            for name in TABLES
            if (file.parent / f"{name}.parquet").is_file()
        }
        return cls(record, _Tables(tables), file.parent)


@dataclass(frozen=True, slots=True)
class _LazyTable:
    path: Path

    def read(self) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(self.path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{self.path} cannot be read ({error}); run the evaluation again"
            ) from error


class _Tables(Mapping[str, Any]):
    """Tables that are read when they are asked for."""

    def __init__(self, tables: Mapping[str, _LazyTable]) -> None:
        self._tables = dict(tables)
        self._read: dict[str, pa.Table] = {}

    def __getitem__(self, name: str) -> pa.Table:
        if name not in self._read:
            self._read[name] = self._tables[name].read()
        return self._read[name]

    def __iter__(self) -> Any:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


def _read_record(file: Path) -> ResultRecord:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{file} is not there; name a result folder (results/<encoder>/<task>) or its result.json"
        ) from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    try:
        stated = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not whole JSON ({error}); run the evaluation again") from error
    schema = stated.get("schema") if isinstance(stated, dict) else None
    if schema != RESULT_SCHEMA:
        raise InputError(
            f"{file} has schema {schema!r}, this version reads {RESULT_SCHEMA};"
            " evaluate again, or use the version that wrote it"
        )
    try:
        return ResultRecord.model_validate(stated)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise InputError(f"{file} is not a result: {'; '.join(faults[:3])}{more}") from error


def load_results(paths: Iterable[str | Path]) -> list[Result]:
    """Every result in these folders (searched through) or files, sorted by task and encoder."""
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{path} is not there; name a results folder")
        found = sorted(path.rglob(RESULT_FILE)) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path} holds no {RESULT_FILE}; name a results folder")
        files |= dict.fromkeys(f.resolve() for f in found)
    results = [Result.load(file) for file in files]
    return sorted(results, key=lambda r: (r.record.task.name, r.record.encoder.slug))


def result_folder(output: Path, encoder_slug: str, task: str, part: Mapping[str, Any]) -> Path:
    """Where a result goes; `part` is what makes it less or other than a full default run."""
    if not part:
        return output / encoder_slug / task
    text = json.dumps(part, sort_keys=True, separators=(",", ":"))
    return output / encoder_slug / f"{task}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def require_writable(folder: Path) -> None:
    """Fail before hours of work, not after: the folder can be made and written."""
    probe = _temporary(folder / RESULT_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise not_writable(folder, error.strerror or str(error), error) from error


def not_writable(folder: Path, reason: str, error: OSError) -> XlirError:
    """The message for a folder that does not take a result: the path is wrong, or the disk is full."""
    text = f"cannot write the result to {folder}: {reason}; name another folder with --output"
    return XlirError(text) if error.errno == 28 else InputError(text)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write under; it takes the place of `path` if all went well, else it is gone."""
    temporary = _temporary(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")
