"""Ranks of a whole run against a full stable sort of scores that are computed in the plainest way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import xlir_bench as xb
from xlir_bench import Result, RunOptions
from xlir_bench.records import Setting, Silent
from xlir_bench.retrieval import EmbedRequest, Similarity, VectorIndex, embed
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

LANGS = ("ar", "de", "en")


def options(cache: Path | None = None, langs: tuple[str, ...] = LANGS) -> RunOptions:
    return RunOptions(
        langs=langs, cache=cache, measures=("map", "ndcg@10", "recall@5"), save_run=20
    )


def assert_stable(
    result: Result,
    folder: Path,
    cache: Path,
    similarity: Similarity,
    scores_of: Callable[[Any, Any], np.ndarray],
    dtype: Any = "float32",
) -> None:
    """Every rank of a result on `mini`, from the vectors that its run left in the cache."""
    collection = load_collection(catalogue().get(["mini"])[0], options(), Silent())
    request = EmbedRequest(cache, vectors=dtype, similarity=similarity)
    found = embed(collection, xb.load_encoder(str(folder)), request, Silent())
    assert found.encoded == 0
    index, whole = found.index, slice(0, 10_000)
    assert isinstance(index, VectorIndex)
    passages = {lang: rows.rows(whole) for lang, rows in index.passages.items()}
    frame = result.table("ranks").to_pandas()
    for lang in LANGS:
        scores = {x: scores_of(index.queries[lang].rows(whole), passages[x]) for x in LANGS}
        asked = collection.queries[lang].ids
        for there in [*((x,) for x in LANGS), LANGS]:
            ids = [i for x in there for i in collection.passages[x].ids]
            order = np.argsort(-np.concatenate([scores[x] for x in there], axis=1), kind="stable")
            ranks = np.argsort(order, axis=1) + 1
            query, passage = ({name: n for n, name in enumerate(names)} for names in (asked, ids))
            rows = frame[
                (frame["query_lang"] == lang) & (frame["kind"] == Setting(lang, there).kind)
            ]
            if len(there) == 1:
                rows = rows[rows["passage_lang"] == there[0]]
            assert len(rows)
            for row in rows.itertuples():
                assert row.rank == ranks[query[row.query_id], passage[row.passage_id]]
