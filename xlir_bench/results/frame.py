"""Results as rows: one for each setting and measure, and one for each kind and measure with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from xlir_bench.files import text_digest

if TYPE_CHECKING:
    import pandas as pd

    from xlir_bench.results.schema import ResultRecord

COLUMNS = {
    "task": "string", "task_version": "int64", "part": "string", "encoder": "string", "slug": "string",
    "fingerprint": "string", "level": "string", "kind": "string", "query_lang": "string",
    "passage_lang": "string", "settings": "int64", "queries": "Int64", "candidates": "Int64",
    "measure": "string", "value": "float64", "low": "float64", "high": "float64",
}  # fmt: skip
"""The columns of CSV and parquet, and their types. `part` says what makes a run less than a full one; `level` is ``setting`` or ``kind``.

A setting has no interval and a kind no language: these are empty. `passage_lang` is ``*`` for the pool."""


def part_of(record: ResultRecord) -> str:
    """What makes a run partial, in words, such as ``languages de en; the first 50 queries of each language``; empty for a full run."""
    return "; ".join(record.options.part.values())


def named(record: ResultRecord) -> str:
    """The task's name; for a partial run, ``~`` and a digest of `part_of` follow."""
    part = part_of(record)
    digest = f"~{text_digest(part, 8)}" if part else ""
    return record.task.name + digest


def tidy_frame(records: Iterable[ResultRecord]) -> pd.DataFrame:
    """The results below each other: a row for each setting and measure, and for each kind with its interval."""
    import pandas as pd

    rows = [row for record in records for row in rows_of(record)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def rows_of(record: ResultRecord) -> Iterator[dict[str, Any]]:
    """The rows of one result, with the columns of `COLUMNS` that have a value; settings name all `passage_langs` too."""
    common = {
        "task": record.task.name, "task_version": record.task.version, "part": part_of(record),
        "encoder": record.encoder.name, "slug": record.encoder.slug,
        "fingerprint": record.encoder.fingerprint,
    }  # fmt: skip
    for kind, by_measure in record.summary.items():
        settings = len(record.scored(kind))
        for measure, part in by_measure.items():
            yield {
                **common, "level": "kind", "kind": kind.value, "settings": settings,
                "measure": measure, "value": part.mean, "low": part.low, "high": part.high,
            }  # fmt: skip
    for s in record.settings:
        for measure, value in s.measures.items():
            yield {
                **common, "level": "setting", "kind": s.kind.value, "settings": 1,
                "query_lang": s.query_lang, "passage_langs": " ".join(s.passage_langs),
                "passage_lang": s.passage_lang, "queries": s.queries, "candidates": s.candidates,
                "measure": measure, "value": value,
            }  # fmt: skip
