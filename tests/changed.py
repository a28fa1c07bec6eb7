"""Real results of the bundled task, and copies of them whose per-query values were changed on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa

from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.measures.bootstrap import Interval
from xlir_bench.measures.significance import Difference
from xlir_bench.records import Kind
from xlir_bench.reports.pairing import pair
from xlir_bench.reports.policy import Policy
from xlir_bench.results import Result

LANGS = ("de", "en", "th")
KEYS = ["kind", "query_lang", "passage_lang"]


@cache
def evaluated(spec: str = "builtin:ngram", save_run: int = 0) -> Result:
    """A run on three languages of mini: 3 monolingual, 6 cross-lingual, 3 multilingual settings."""
    return evaluate("mini", spec, RunOptions(langs=LANGS, cache=None, save_run=save_run))


def changed(
    result: Result, value: Callable[[pd.DataFrame], np.ndarray | pd.Series], name: str = "changed"
) -> Result:
    """The result of another encoder whose values are a function of these; its means follow from them."""
    frame = queries(result)
    frame["value"] = value(frame)
    means = frame.groupby([*KEYS, "measure"])["value"].mean()
    settings = [
        s.model_copy(
            update={
                "measures": {
                    m: float(means[s.kind, s.query_lang, _passage(s.passage_langs), m])
                    for m in s.measures
                }
            }
        )
        for s in result.record.settings
    ]
    summary = {
        kind: {
            m: Interval(
                mean=float(np.mean([s.measures[m] for s in settings if s.kind == kind])),
                low=None,
                high=None,
            )
            for m in by_measure
        }
        for kind, by_measure in result.record.summary.items()
    }
    encoder = result.record.encoder.model_copy(
        update={"name": name, "slug": name, "fingerprint": "sha256:" + "0" * 64}
    )
    record = result.record.model_copy(
        update={"settings": settings, "summary": summary, "encoder": encoder}
    )
    tables = {**result.tables, "queries": pa.Table.from_pandas(frame, preserve_index=False)}
    return Result(record, tables)


def stated(result: Result, **options: object) -> Result:
    """The result as one that other options were asked for."""
    update = {"options": result.record.options.model_copy(update=options)}
    return Result(result.record.model_copy(update=update), result.tables)


def with_tables(result: Result, **tables: pa.Table) -> Result:
    """The result with other tables beside it."""
    return Result(result.record, {**result.tables, **tables})


def queries(result: Result) -> pd.DataFrame:
    """queries.parquet as a frame of plain strings and numbers."""
    return _plain(result.table("queries"))


def ranks(result: Result) -> pd.DataFrame:
    """ranks.parquet as a frame of plain strings and numbers."""
    return _plain(result.tables["ranks"])


def times(factor: float, **where: str) -> Callable[[pd.DataFrame], pd.Series]:
    """Values multiplied by this, all or those of rows with these entries."""

    def value(frame: pd.DataFrame) -> pd.Series:
        return frame["value"].where(~_matches(frame, where), frame["value"] * factor)

    return value


def a_little_worse(frame: pd.DataFrame) -> pd.Series:
    """Values with a loss that differs from question to question: some lose a lot, some gain."""
    names = frame["query_id"].unique()
    noise = np.random.default_rng(0).normal(-0.02, 0.1, len(names))
    return frame["value"] + frame["query_id"].map(dict(zip(names, noise, strict=True)))


def paired_difference(first: Result, second: Result, kind: str, measure: str) -> Difference:
    """Second minus first over the settings of a kind that both have, tested on both sides."""
    pairing = pair(first.values(measure), second.values(measure))
    return pairing.test([pairing.first.of_kinds([Kind(kind)])])[0]


def policy(**rules: object) -> Policy:
    """A policy of these rules alone."""
    return Policy.model_validate(rules)


def drop(**rule: object) -> Policy:
    """A policy of one rule, that map may not drop at all."""
    return policy(drop=[{"measure": "map", "absolute": 0.0, **rule}])


def _matches(frame: pd.DataFrame, where: Mapping[str, str]) -> pd.Series:
    hit = pd.Series(True, index=frame.index)
    for column, entry in where.items():
        hit &= frame[column] == entry
    return hit


def _plain(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    names = [c for c in frame.columns if c not in ("value", "rank", "grade", "score")]
    return frame.astype(dict.fromkeys(names, "object"))


def _passage(langs: list[str]) -> str:
    return langs[0] if len(langs) == 1 else "*"
