"""Exact ranks by counting: no sort of the pool, one pass over it for all settings of a query language.

The rank of a relevant passage is one plus the number of candidates that score higher, plus those that
score the same and stand before it in the pool. Scores are one matrix product of a block of queries with
the pool, after which a vector that repeats an earlier one gets that one's scores: a matrix product may
give two equal columns two scores, and then an encoder that gives every text the same vector would look
better than it is. A relevant passage's score is taken from the same block that it is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Collection, Floats, Ints, Ranking
from xlir_bench.search.counting import count_ranks
from xlir_bench.search.pool import (
    Layout,
    Pool,
    RelevantRows,
    SearchRequest,
    candidates,
    normalised,
    ranking,
    relevant_rows,
)

BLOCK_SCORES = 4_000_000
"""Scores held at a time (16 MB): large enough for a fast product, small enough for any laptop."""
FOLDS = 16
"""Columns whose maximum stands for them when the best of a row are sought."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The vectors that queries are compared with, and which of them repeat an earlier one."""

    vectors: Floats
    repeated: Ints
    """Rows that are equal to an earlier row."""
    origin: Ints
    """For each of these, the first row that it is equal to."""

    @classmethod
    def of(cls, matrix: Floats) -> Columns:
        """Find equal rows."""
        # -0.0 and 0.0 are equal numbers with different bits; adding zero makes them one.
        matrix = np.ascontiguousarray(matrix + np.float32(0))
        keys = matrix.view(np.dtype((np.void, matrix.itemsize * matrix.shape[1]))).ravel()
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        origin = first[inverse]
        repeated = np.flatnonzero(origin != np.arange(len(matrix)))
        return cls(matrix, repeated, origin[repeated])

    def scores(self, queries: Floats) -> Floats:
        """Inner products with every row; equal rows get equal scores."""
        scores: Floats = queries @ self.vectors.T
        scores[:, self.repeated] = scores[:, self.origin]
        return scores


def exact_rankings(
    collection: Collection, pool: Pool, requests: Sequence[SearchRequest]
) -> Iterator[list[Ranking]]:
    """The rankings of each request's settings, in their order."""
    columns = Columns.of(pool.vectors)
    for request in requests:
        yield _rankings_of_language(collection, pool, columns, request)


def _rankings_of_language(
    collection: Collection, pool: Pool, columns: Columns, request: SearchRequest
) -> list[Ranking]:
    layout = pool.layout
    relevant = relevant_rows(collection, request.query_lang, layout)
    queries = normalised(request.queries)
    size = len(pool.vectors)
    kinds = {len(s.passage_langs) > 1 for s in request.settings}
    # Ranks among the passages of one's own language, and among those of all.
    ranks = {pooled: np.zeros(len(relevant.query), np.int64) for pooled in kinds}
    among = {pooled: placed_among(relevant, layout, pooled) for pooled in kinds}
    tops = {
        s: np.full((len(queries), min(depth, candidates(s, layout, relevant))), -1, np.int64)
        for s in request.settings
        if (depth := request.depth(s)) > 0
    }
    step = max(1, BLOCK_SCORES // max(1, size))
    for first in range(0, len(queries), step):
        block = columns.scores(queries[first : first + step])
        if relevant.own is not None:
            block[np.arange(len(block)), relevant.own[first : first + len(block)]] = -np.inf
        span = slice(*np.searchsorted(relevant.query, [first, first + len(block)]))
        for pooled in kinds:
            start, stop = among[pooled]
            count_ranks(
                block,
                relevant.query[span] - first,
                relevant.position[span],
                start[span],
                stop[span],
                ranks[pooled][span],
            )
        for setting, top in tops.items():
            rows = layout.rows(setting)
            top[first : first + len(block)] = best(block[:, rows], top.shape[1])
    return [
        ranking(s, layout, relevant, ranks[len(s.passage_langs) > 1], tops.get(s))
        for s in request.settings
    ]


def placed_among(relevant: RelevantRows, layout: Layout, pooled: bool) -> tuple[Ints, Ints]:
    """For each relevant passage, where in the pool those begin and end that it is ranked among."""
    if pooled:
        bounds = [slice(0, layout.size)] * len(layout.langs)
    else:
        bounds = [layout.bounds[lang] for lang in layout.langs]
    starts, stops = (
        np.array([getattr(b, end) for b in bounds], np.int64) for end in ("start", "stop")
    )
    return starts[relevant.lang], stops[relevant.lang]


def best(scores: Floats, depth: int) -> Ints:
    """Positions of the `depth` best of each row: score descending, then position ascending."""
    width = scores.shape[1]
    if depth >= width:
        return np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    row, position = np.divmod(np.flatnonzero(scores >= bound(scores, depth)[:, None]), width)
    # Sorting is stable: equal scores stay in the order of their positions.
    order = np.lexsort((-scores[row, position], row))
    begin = np.searchsorted(row, np.arange(len(scores)))
    return np.asarray(position[order][begin[:, None] + np.arange(depth)])


def bound(scores: Floats, depth: int) -> Floats:
    """For each row, a score that at least `depth` of its columns reach, and few more.

    Columns are folded into groups: the depth-th highest of the groups' maxima is reached by as many
    columns, and much cheaper to find than the depth-th highest score.
    """
    groups = max(depth, scores.shape[1] // FOLDS)
    folds = scores.shape[1] // groups
    highest = scores[:, : folds * groups].reshape(len(scores), folds, groups).max(axis=1)
    bound: Floats = np.partition(highest, groups - depth, axis=1)[:, groups - depth]
    return bound
