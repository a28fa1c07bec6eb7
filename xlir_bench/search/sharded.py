"""Exact ranks over passages that lie on disk: one pass over them, a block at a time, for all queries.

A matrix product in float32 gives two equal vectors two scores if they stand in different blocks, so it only
tells apart what lies further from each other than it can err; what is nearer is settled by the true inner
product, in float64, which depends on nothing but the two vectors. So ranks and ties are exact however
the passages are cut into blocks, and memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Collection, Floats, Ints, Progress, Ranking, Setting
from xlir_bench.search.counting import count_before, keep_best, true_products, unit_rows
from xlir_bench.search.exact import bound
from xlir_bench.search.pool import (
    Layout,
    RelevantRows,
    SearchRequest,
    ShardedPool,
    candidates,
    normalised,
    ranking,
    relevant_rows,
)

BLOCK_SCORES = 8_000_000
"""Scores held at a time (32 MB)."""
BLOCK_ROWS = (1024, 16384)
"""Passages in a block, at least and at most."""
BLOCK_QUERIES = 4096
UNIT = 2.0**-24
"""Half the distance from 1 to the next number in float32."""


def sharded_rankings(
    collection: Collection,
    pool: ShardedPool,
    requests: Sequence[SearchRequest],
    progress: Progress,
) -> list[list[Ranking]]:
    """The rankings of each request's settings, in their order."""
    found: list[list[Ranking]] = []
    searches = [_Search.of(collection, pool, request) for request in requests]
    wanted = {lang: [s for s in searches if lang in s.langs] for lang in pool.layout.langs}
    progress.start("search", sum(len(pool.shards[x]) for x in wanted if wanted[x]), "passages")
    for lang, mine in wanted.items():
        if not mine:
            continue
        start = pool.layout.bounds[lang].start
        for first, rows in pool.shards[lang].blocks(_block_rows(mine)):
            passages = np.empty(rows.shape, np.float32)
            unit_rows(np.asarray(rows), passages)
            for search in mine:
                search.see(lang, start + first, passages)
            progress.advance(len(rows))
    progress.finish()
    for search in searches:
        found.append(search.rankings())
    return found


def _block_rows(searches: Sequence[_Search]) -> int:
    queries = max(min(len(s.queries), BLOCK_QUERIES) for s in searches)
    least, most = BLOCK_ROWS
    return max(least, min(most, BLOCK_SCORES // max(1, queries)))


@dataclass(slots=True)
class _Best:
    """The best passages of each query so far, in one setting."""

    scores: Floats
    positions: Ints

    @classmethod
    def of(cls, queries: int, depth: int) -> _Best:
        return cls(np.full((queries, depth), -np.inf), np.full((queries, depth), -1, np.int64))


@dataclass(slots=True)
class _Search:
    """The queries of one language, and what is known of their settings so far."""

    layout: Layout
    settings: Sequence[Setting]
    queries: Floats
    relevant: RelevantRows
    own: Floats
    """The true score of each relevant passage."""
    before: dict[bool, Ints]
    """How many stand before each relevant passage, among those of its language and among all."""
    best: dict[Setting, _Best]
    error: float
    """How far a product in float32 may be from the true one."""

    @classmethod
    def of(cls, collection: Collection, pool: ShardedPool, request: SearchRequest) -> _Search:
        layout = pool.layout
        relevant = relevant_rows(collection, request.query_lang, layout)
        queries = normalised(request.queries)
        own = np.empty(len(relevant.query))
        for rows in _pieces(len(own)):
            passages = pool.take(relevant.position[rows])
            true_products(queries[relevant.query[rows]], passages, own[rows])
        kinds = {len(s.passage_langs) > 1 for s in request.settings}
        return cls(
            layout=layout,
            settings=request.settings,
            queries=queries,
            relevant=relevant,
            own=own,
            before={pooled: np.zeros(len(own), np.int64) for pooled in kinds},
            best={
                s: _Best.of(len(queries), depth)
                for s in request.settings
                if (depth := min(request.depth(s), candidates(s, layout, relevant))) > 0
            },
            # The bound of any order of summation; twice the unit for the products' own rounding.
            error=(queries.shape[1] + 16) * UNIT * 1.01,
        )

    @property
    def langs(self) -> set[str]:
        """Whose passages it wants to see."""
        return {lang for setting in self.settings for lang in setting.passage_langs}

    def see(self, lang: str, first: int, passages: Floats) -> None:
        """Take a block of passages into account, the first of which stands at this place of the pool."""
        for start in range(0, len(self.queries), BLOCK_QUERIES):
            queries = self.queries[start : start + BLOCK_QUERIES]
            scores = queries @ passages.T
            self._mask_own(scores, start, first)
            self._count(lang, first, start, scores, passages)
            for setting, best in self.best.items():
                if lang in setting.passage_langs:
                    self._keep(best, first, start, scores, passages)

    def _mask_own(self, scores: Floats, start: int, first: int) -> None:
        """A query that is a passage itself is none of its candidates."""
        if self.relevant.own is None:
            return
        column = self.relevant.own[start : start + len(scores)] - first
        row = np.flatnonzero((column >= 0) & (column < scores.shape[1]))
        scores[row, column[row]] = -np.inf

    def _count(self, lang: str, first: int, start: int, scores: Floats, passages: Floats) -> None:
        relevant = self.relevant
        span = slice(*np.searchsorted(relevant.query, [start, start + len(scores)]))
        number = self.layout.langs.index(lang)
        for pooled, before in self.before.items():
            # Among those of one language stand only its own relevant passages.
            mine = np.arange(span.start, span.stop)
            if not pooled:
                mine = mine[relevant.lang[span] == number]
            counts = before[mine]
            count_before(
                scores,
                self.queries[start : start + len(scores)],
                passages,
                first,
                relevant.query[mine] - start,
                self.own[mine],
                relevant.position[mine],
                self.error,
                counts,
            )
            before[mine] = counts

    def _keep(self, best: _Best, first: int, start: int, scores: Floats, passages: Floats) -> None:
        rows = slice(start, start + len(scores))
        depth = best.scores.shape[1]
        floor = np.full(len(scores), -np.inf, np.float32)
        if scores.shape[1] > depth and np.isneginf(best.scores[rows, -1]).any():
            # Nothing is kept yet that would hold the first block's passages off.
            floor = (bound(scores, depth) - 2 * self.error).astype(np.float32)
        keep_best(
            scores,
            self.queries[rows],
            passages,
            first,
            floor,
            self.error,
            best.scores[rows],
            best.positions[rows],
        )

    def rankings(self) -> list[Ranking]:
        """What was found, once all passages were seen."""
        return [
            ranking(
                s,
                self.layout,
                self.relevant,
                self.before[len(s.passage_langs) > 1] + 1,
                self._top(s),
            )
            for s in self.settings
        ]

    def _top(self, setting: Setting) -> Ints | None:
        best = self.best.get(setting)
        if best is None:
            return None
        start = self.layout.rows(setting).start
        return np.where(best.positions < 0, -1, best.positions - start)


def _pieces(count: int) -> Iterator[slice]:
    return (slice(start, start + 8192) for start in range(0, count, 8192))
