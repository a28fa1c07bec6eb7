"""Exact ranks over passages that lie on disk: one pass over them, a block at a time, for all queries.

A matrix product in float32 gives two equal vectors two scores if they stand in different blocks, so it only
tells apart what lies further from each other than it can err; what is nearer is settled by the true inner
product, in float64, which depends on nothing but the two vectors. So ranks and ties are exact however
the passages are cut into blocks, and memory does not grow with their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from threadpoolctl import ThreadpoolController

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

BLOCK = 16_384
"""Passages held at a time, normalised."""
TILE = (512, 1024)
"""Queries and passages whose scores a thread holds at a time: few enough to stay in its cache meanwhile."""
FEW_QUERIES = 64
"""Fewer are not worth a thread of their own."""
UNIT = 2.0**-24
"""Half the distance from 1 to the next number in float32."""


def sharded_rankings(
    collection: Collection,
    pool: ShardedPool,
    requests: Sequence[SearchRequest],
    progress: Progress,
) -> list[list[Ranking]]:
    """The rankings of each request's settings, in their order."""
    searches = [_Search.of(collection, pool, request) for request in requests]
    wanted = {lang: [s for s in searches if lang in s.langs] for lang in pool.layout.langs}
    progress.start("search", sum(len(pool.shards[x]) for x in wanted if wanted[x]), "passages")
    with _workers() as workers:
        for lang, mine in wanted.items():
            start = pool.layout.bounds[lang].start
            tasks = [(search, rows) for search in mine for rows in workers.shares(search.queries)]
            for first, rows in pool.shards[lang].blocks(BLOCK) if mine else ():
                block = _Block(lang, start + first, workers.unit(rows))
                workers.run(partial(search.see, queries, block) for search, queries in tasks)
                progress.advance(len(rows))
    progress.finish()
    return [search.rankings() for search in searches]


@dataclass(frozen=True, slots=True)
class _Workers:
    """Threads that each take their share of a block of passages."""

    count: int
    threads: ThreadPoolExecutor

    def run(self, tasks: Iterable[Callable[[], None]]) -> None:
        """Do all of them; the first error is raised."""
        for done in [self.threads.submit(task) for task in tasks]:
            done.result()

    def shares(self, queries: Floats) -> list[slice]:
        """Which queries are looked at together."""
        size = max(FEW_QUERIES, min(TILE[0], -(-len(queries) // self.count)))
        return list(_pieces(len(queries), size))

    def unit(self, rows: Floats) -> Floats:
        """The rows at unit length."""
        rows, unit = np.asarray(rows, np.float32), np.empty(rows.shape, np.float32)
        self.run(partial(unit_rows, rows[x], unit[x]) for x in _pieces(len(rows), TILE[1]))
        return unit


@contextmanager
def _workers() -> Iterator[_Workers]:
    """As many threads as one matrix product would take; each has products of its own instead.

    Otherwise a product's threads, which wait for the next one in a loop, hold the cores that counting wants.
    """
    blas = ThreadpoolController().select(user_api="blas")
    count = max((library["num_threads"] for library in blas.info()), default=os.cpu_count() or 1)
    with blas.limit(limits=1), ThreadPoolExecutor(count) as threads:
        yield _Workers(count, threads)


@dataclass(frozen=True, slots=True)
class _Block:
    """Passages of one language that follow each other in the pool."""

    lang: str
    first: int
    """Where in the pool the first stands."""
    passages: Floats
    """Of unit length, or zero."""

    def tiles(self) -> Iterator[_Block]:
        """The block in pieces whose scores fit a cache."""
        for x in _pieces(len(self.passages), TILE[1]):
            yield _Block(self.lang, self.first + x.start, self.passages[x])


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
        for rows in _pieces(len(own), BLOCK):
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

    def see(self, rows: slice, block: _Block) -> None:
        """Take a block of passages into account, for these queries."""
        for tile in block.tiles():
            scores = self.queries[rows] @ tile.passages.T
            self._mask_own(scores, rows, tile)
            self._count(scores, rows, tile)
            for setting, best in self.best.items():
                if tile.lang in setting.passage_langs:
                    self._keep(best, scores, rows, tile)

    def _mask_own(self, scores: Floats, rows: slice, tile: _Block) -> None:
        """A query that is a passage itself is none of its candidates."""
        if self.relevant.own is None:
            return
        column = self.relevant.own[rows] - tile.first
        row = np.flatnonzero((column >= 0) & (column < scores.shape[1]))
        scores[row, column[row]] = -np.inf

    def _count(self, scores: Floats, rows: slice, tile: _Block) -> None:
        relevant = self.relevant
        span = slice(*np.searchsorted(relevant.query, [rows.start, rows.start + len(scores)]))
        number = self.layout.langs.index(tile.lang)
        for pooled, before in self.before.items():
            # Among those of one language stand only its own relevant passages.
            mine = np.arange(span.start, span.stop)
            if not pooled:
                mine = mine[relevant.lang[span] == number]
            counts = before[mine]
            count_before(
                scores,
                self.queries[rows],
                tile.passages,
                tile.first,
                relevant.query[mine] - rows.start,
                self.own[mine],
                relevant.position[mine],
                self.error,
                counts,
            )
            before[mine] = counts

    def _keep(self, best: _Best, scores: Floats, rows: slice, tile: _Block) -> None:
        depth = best.scores.shape[1]
        floor = np.full(len(scores), -np.inf, np.float32)
        if scores.shape[1] > depth and np.isneginf(best.scores[rows, -1]).any():
            # Nothing is kept yet that would hold the first tile's passages off.
            floor = (bound(scores, depth) - 2 * self.error).astype(np.float32)
        keep_best(
            scores,
            self.queries[rows],
            tile.passages,
            tile.first,
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


def _pieces(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
