"""Results as one table: a row for each setting and measure, and one for each kind with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from xlir_bench.reports.export.parts import part_of
from xlir_bench.reports.tables import passage
from xlir_bench.results import Result

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "task": "string", "task_version": "int64", "part": "string", "encoder": "string", "slug": "string",
    "fingerprint": "string", "level": "string", "kind": "string", "query_lang": "string",
    "passage_lang": "string", "settings": "int64", "queries": "Int64", "candidates": "Int64",
    "measure": "string", "value": "float64", "low": "float64", "high": "float64",
}  # fmt: skip
"""`part` says what makes a run less than a full one; `level` is ``setting`` or ``kind``.

What a row has not is empty: a setting has no interval, a kind no language. `passage_lang` is ``*`` for
the pool of all languages."""


def tidy_frame(results: Sequence[Result]) -> pd.DataFrame:
    """Every result below each other, in the order given."""
    import pandas as pd

    rows = [row for result in results for row in _rows(result)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    record = result.record
    common = {
        "task": record.task.name,
        "task_version": record.task.version,
        "part": part_of(record),
        "encoder": record.encoder.name,
        "slug": record.encoder.slug,
        "fingerprint": record.encoder.fingerprint,
    }
    for kind, by_measure in record.summary.items():
        settings = sum(s.kind == kind and s.queries > 0 for s in record.settings)
        for measure, part in by_measure.items():
            yield {
                **common, "level": "kind", "kind": kind.value, "settings": settings,
                "measure": measure, "value": part.mean, "low": part.low, "high": part.high,
            }  # fmt: skip
    for setting in record.settings:
        for measure, value in setting.measures.items():
            yield {
                **common, "level": "setting", "kind": setting.kind.value, "settings": 1,
                "query_lang": setting.query_lang, "passage_lang": passage(setting.passage_langs),
                "queries": setting.queries, "candidates": setting.candidates,
                "measure": measure, "value": value,
            }  # fmt: skip
