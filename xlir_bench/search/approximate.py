"""Search by any FAISS index: what it does not retrieve has no rank."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Floats, Ints, Ranking, Setting
from xlir_bench.search.pool import (
    Pool,
    RelevantRows,
    SearchRequest,
    ShardedPool,
    normalised,
    ranking,
    relevant_rows,
)

DEPTH = 1000
"""How many passages an index is asked for; a relevant passage beyond them counts as not retrieved."""

TRAINED_ON = 262_144
"""Of how many vectors an index learns its clusters; of a smaller pool it sees every one."""


def approximate_rankings(
    collection: Collection,
    pool: Pool | ShardedPool,
    requests: Sequence[SearchRequest],
    factory: str,
    depth: int | None = None,
) -> Iterator[list[Ranking]]:
    """The rankings of each request's settings by FAISS indexes, one a pool of candidates.

    An index is asked for `depth` passages, `DEPTH` if that is None.
    """
    indexes: dict[tuple[str, ...], Any] = {}
    for request in requests:
        relevant = relevant_rows(collection, request.query_lang, pool.layout)
        queries = normalised(request.queries)
        found = []
        for setting in request.settings:
            if setting.passage_langs not in indexes:
                indexes[setting.passage_langs] = build_index(pool, setting, factory)
            index = indexes[setting.passage_langs]
            top = retrieve(index, queries, min(depth or DEPTH, index.ntotal))
            if relevant.own is not None and request.query_lang in setting.passage_langs:
                top = _without(top, relevant.own - pool.layout.rows(setting).start)
            ranks = _ranks(top, relevant, pool.layout.rows(setting))
            kept = top[:, : request.depth(setting)] if request.depth(setting) else None
            found.append(ranking(setting, pool.layout, relevant, ranks, kept))
        yield found


def build_index(pool: Pool | ShardedPool, setting: Setting, factory: str) -> Any:
    """A trained FAISS index of a setting's candidates; inner product, which is cosine here."""
    rows = pool.layout.rows(setting)
    # Spread over the whole pool: its first rows may be of one language.
    sample = np.linspace(rows.start, rows.stop - 1, min(rows.stop - rows.start, TRAINED_ON))
    vectors = pool.take(sample.astype(np.int64))
    index = empty_index(vectors.shape[1], factory)
    try:
        index.train(vectors)
        for block in pool.blocks(setting, TRAINED_ON):
            index.add(block)
    except RuntimeError as error:
        raise InputError(
            f"--index {factory!r} cannot be built from the {rows.stop - rows.start} candidates of"
            f" {setting} ({_reason(error)}); use fewer clusters, or 'Flat'"
        ) from error
    return index


def empty_index(dimension: int, factory: str) -> Any:
    """A FAISS index without vectors; a factory string that FAISS does not take is refused."""
    with suppress(ImportError):
        import torch  # noqa: F401  # before faiss: the other order can crash on two OpenMP runtimes

    import faiss  # isort: skip

    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(
            f"--index {factory!r} is not a FAISS factory string for {dimension} dimensions"
            f" ({_reason(error)}); try 'Flat', 'HNSW32' or 'IVF64,Flat'"
        ) from error


def index_bytes(index: Any) -> int:
    """What an index takes when it is stored: codes, graph, centroids and all."""
    import faiss

    return len(faiss.serialize_index(index))


def retrieve(index: Any, queries: Floats, depth: int) -> Ints:
    """Positions found for each query, score descending, then position; -1 pads."""
    scores, found = index.search(queries, depth)
    # -1 has no place in the pool, so it stands last whatever its score.
    position = np.where(found < 0, np.iinfo(np.int64).max, found)
    order = np.lexsort((position, -np.where(found < 0, -np.inf, scores)), axis=1)
    return np.take_along_axis(found, order, axis=1)


def _without(top: Ints, own: Ints) -> Ints:
    """What was retrieved, the query itself taken out; the others move up."""
    left = np.where(top == own[:, None], -1, top)
    order = np.argsort(left < 0, axis=1, kind="stable")
    return np.take_along_axis(left, order, axis=1)[:, :-1]


def _ranks(top: Ints, relevant: RelevantRows, rows: slice) -> Ints:
    """Rank of each relevant passage in what was retrieved of these rows; 0 where it was not."""
    inside = (relevant.position >= rows.start) & (relevant.position < rows.stop)
    hit = top[relevant.query[inside]] == (relevant.position[inside] - rows.start)[:, None]
    ranks = np.zeros(len(relevant.query), np.int64)
    ranks[inside] = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)
    return ranks


def _reason(error: RuntimeError) -> str:
    """FAISS's own words, without the C++ place they come from."""
    words = re.sub(r"^Error in .*?(?:failed: |:\d+: )", "", str(error).strip(), flags=re.DOTALL)
    return words.splitlines()[0].removeprefix("Error: ").strip()


def recall_of_exact(exact: Ranking, found: Ranking, depth: int = 100) -> float:
    """Which share of the exact best passages an index has among its best, mean over queries."""
    if exact.top is None or found.top is None:
        raise ValueError("both rankings must keep their best passages")
    depth = min(depth, exact.candidates)
    best = exact.top[:, :depth]
    shares = [np.isin(a, b[:depth]).mean() for a, b in zip(best, found.top, strict=True)]
    return float(np.mean(shares)) if shares else 0.0
