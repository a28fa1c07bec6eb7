"""Exact ranks by counting: no sort of the pool, one pass over it for all settings of a query language.

The rank of a relevant passage is one plus the number of candidates that score higher, plus those that
score the same and stand before it in the pool. Scores are one matrix product of a block of queries with
the *distinct* vectors of the pool, spread over the pool afterwards: a matrix product may give two equal
columns two scores, and then an encoder that gives every text the same vector would look better than it
is. A relevant passage's score is taken from the same block that it is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Collection, Floats, Ints, Ranking, Setting
from xlir_bench.search.pool import (
    Pool,
    RelevantRows,
    SearchRequest,
    normalised,
    ranking,
    relevant_rows,
)

BLOCK_SCORES = 4_000_000
"""Scores held at a time (16 MB): large enough for a fast product, small enough for any laptop."""


@dataclass(frozen=True, slots=True)
class DistinctRows:
    """A matrix as its distinct rows and where each one stands; `None` where all are distinct."""

    rows: Floats
    spread: Ints | None

    @classmethod
    def of(cls, matrix: Floats) -> DistinctRows:
        """Group equal rows, the first of each kept in order of appearance."""
        # -0.0 and 0.0 are equal numbers with different bits; adding zero makes them one.
        matrix = matrix + np.float32(0)
        keys = np.ascontiguousarray(matrix).view(
            np.dtype((np.void, matrix.itemsize * matrix.shape[1]))
        )
        _, first, inverse = np.unique(keys.ravel(), return_index=True, return_inverse=True)
        if len(first) == len(matrix):
            return cls(matrix, None)
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return cls(np.ascontiguousarray(matrix[first[order]]), place[inverse])

    def scores(self, queries: Floats) -> Floats:
        """Inner products with every row of the matrix; equal rows get equal scores."""
        distinct = queries @ self.rows.T
        return distinct if self.spread is None else np.take(distinct, self.spread, axis=1)


def exact_rankings(
    collection: Collection, pool: Pool, requests: Sequence[SearchRequest]
) -> Iterator[list[Ranking]]:
    """The rankings of each request's settings, in their order."""
    distinct = DistinctRows.of(pool.vectors)
    for request in requests:
        yield _rankings_of_language(collection, pool, distinct, request)


def _rankings_of_language(
    collection: Collection, pool: Pool, distinct: DistinctRows, request: SearchRequest
) -> list[Ranking]:
    relevant = relevant_rows(collection, request.query_lang, pool)
    queries = normalised(request.queries)
    size = len(pool.vectors)
    pair_ranks = np.zeros(len(relevant.query), np.int64)
    pool_ranks = np.zeros(len(relevant.query), np.int64)
    tops = {
        s: np.full((len(queries), min(depth, _width(pool, s))), -1, np.int64)
        for s in request.settings
        if (depth := request.depth(s)) > 0
    }
    want_pairs = any(len(s.passage_langs) == 1 for s in request.settings)
    want_pool = any(len(s.passage_langs) > 1 for s in request.settings)
    step = max(1, BLOCK_SCORES // max(1, size))
    for start in range(0, len(queries), step):
        block = distinct.scores(queries[start : start + step])
        span = slice(*np.searchsorted(relevant.query, [start, start + len(block)]))
        if want_pairs:
            _count_pair_ranks(block, start, span, relevant, pool, pair_ranks)
        if want_pool:
            _count_pool_ranks(block, start, span, relevant, pool_ranks)
        for setting, top in tops.items():
            rows = pool.rows(setting)
            top[start : start + len(block)] = best(block[:, rows], top.shape[1])
    return [
        ranking(
            s,
            pool,
            relevant,
            pair_ranks if len(s.passage_langs) == 1 else pool_ranks,
            tops.get(s),
        )
        for s in request.settings
    ]


def _width(pool: Pool, setting: Setting) -> int:
    rows = pool.rows(setting)
    return int(rows.stop - rows.start)


def _count_pair_ranks(
    block: Floats, start: int, span: slice, relevant: RelevantRows, pool: Pool, ranks: Ints
) -> None:
    bounds = [pool.bounds[lang] for lang in pool.langs]
    for i in range(span.start, span.stop):
        rows = bounds[relevant.lang[i]]
        scores = block[relevant.query[i] - start, rows]
        ranks[i] = _rank(scores, relevant.position[i] - rows.start)


def _count_pool_ranks(
    block: Floats, start: int, span: slice, relevant: RelevantRows, ranks: Ints
) -> None:
    for i in range(span.start, span.stop):
        ranks[i] = _rank(block[relevant.query[i] - start], relevant.position[i])


def _rank(scores: Floats, position: int) -> int:
    own = scores[position]
    higher = np.count_nonzero(scores > own)
    if np.count_nonzero(scores >= own) == higher + 1:
        return int(higher + 1)
    return int(higher + np.count_nonzero(scores[:position] == own) + 1)


def best(scores: Floats, depth: int) -> Ints:
    """Positions of the `depth` best of each row: score descending, then position ascending."""
    width = scores.shape[1]
    if depth >= width:
        return np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    # The depth-th best score bounds the candidates; ties at the bound go to the earlier position.
    found = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    bound = np.take_along_axis(scores, found, axis=1).min(axis=1)
    for row in np.flatnonzero(np.count_nonzero(scores >= bound[:, None], axis=1) > depth):
        above = np.flatnonzero(scores[row] > bound[row])
        level = np.flatnonzero(scores[row] == bound[row])
        found[row] = np.concatenate([above, level[: depth - len(above)]])
    found.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)
