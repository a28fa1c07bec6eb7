"""Search as a run asks for it: in memory or on disk, exact or by an index, for all settings of a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xlir_bench.evaluation.record import index_part
from xlir_bench.measures import ANSWER_DEPTH
from xlir_bench.records import (
    Collection,
    Floats,
    Progress,
    Ranking,
    Role,
    Setting,
    Shards,
    Vectors,
)
from xlir_bench.results.schema import IndexPart
from xlir_bench.results.tables import TopScores
from xlir_bench.search import (
    Pool,
    SearchRequest,
    ShardedPool,
    approximate_rankings,
    exact_rankings,
    normalised,
    pool_of,
    sharded_rankings,
)

POOL_DEPTH = 100
"""How many of the best passages of the pool are kept: what the bias views look at."""
AllVectors = Mapping[tuple[Role, str], Vectors]


@dataclass(frozen=True, slots=True)
class Searched:
    """What one search found."""

    pool: Pool | ShardedPool
    rankings: list[Ranking]
    """In the order of the settings."""
    index: IndexPart | None = None
    """How far an approximate index is from exact."""


@dataclass(frozen=True, slots=True)
class Searching:
    """The settings of a run over one collection."""

    collection: Collection
    settings: Sequence[Setting]
    keep: int
    """How many of the best passages of every query to keep."""
    progress: Progress

    def exact(self, vectors: AllVectors, depth: int = 0) -> Searched:
        """Every rank, by comparing each query with every passage; at least so deep in each setting."""
        pool = self.pool(vectors)
        requests = self._requests(vectors, depth)
        if isinstance(pool, ShardedPool):
            lists = iter(sharded_rankings(self.collection, pool, requests, self.progress))
            return Searched(pool, self._in_order(lists))
        lists = exact_rankings(self.collection, pool, requests)
        return Searched(pool, self._in_order(self._told(lists, len(requests))))

    def by_index(self, vectors: AllVectors, factory: str) -> Searched:
        """What a FAISS index finds, and how far that is from exact."""
        exact = self.exact(vectors, POOL_DEPTH)
        found = self.found_by_index(vectors, factory)
        part = index_part(factory, exact.rankings, found, POOL_DEPTH)
        return Searched(exact.pool, found, part)

    def found_by_index(
        self, vectors: AllVectors, factory: str, depth: int | None = None
    ) -> list[Ranking]:
        """What a FAISS index finds, asked for so many passages; None: as many as it is commonly asked."""
        requests = self._requests(vectors, POOL_DEPTH)
        pool = self.pool(vectors)
        lists = approximate_rankings(self.collection, pool, requests, factory, depth)
        return self._in_order(self._told(lists, len(requests)))

    def top_scores(self, searched: Searched, vectors: AllVectors) -> list[TopScores]:
        """The best passages of every query with their scores."""
        return [self._top_scores(r, searched.pool, vectors) for r in searched.rankings]

    def pool(self, vectors: AllVectors) -> Pool | ShardedPool:
        """The passages of all languages."""
        return pool_of({x: vectors["passage", x] for x in self.collection.languages("passage")})

    def _requests(self, vectors: AllVectors, depth: int) -> list[SearchRequest]:
        pair_depth = max(self.keep, depth, ANSWER_DEPTH if self.collection.answers else 0)
        return [
            SearchRequest(
                query_lang=lang,
                queries=in_memory(vectors["query", lang]),
                settings=[s for s in self.settings if s.query_lang == lang],
                pair_depth=pair_depth,
                pool_depth=max(pair_depth, POOL_DEPTH),
            )
            for lang in sorted({s.query_lang for s in self.settings})
        ]

    def _told(self, lists: Iterator[list[Ranking]], total: int) -> Iterator[list[Ranking]]:
        self.progress.start("search", total, "languages")
        for rankings in lists:
            yield rankings
            self.progress.advance(1)
        self.progress.finish()

    def _in_order(self, lists: Iterator[list[Ranking]]) -> list[Ranking]:
        found = {r.setting: r for rankings in lists for r in rankings}
        return [found[s] for s in self.settings]

    def _top_scores(
        self, ranking: Ranking, pool: Pool | ShardedPool, vectors: AllVectors
    ) -> TopScores:
        queries = normalised(in_memory(vectors["query", ranking.setting.query_lang]))
        queries = queries[ranking.scored]
        top = ranking.top if ranking.top is not None else np.empty((len(queries), 0), np.int64)
        top = top[:, : self.keep]
        start = pool.layout.rows(ranking.setting).start
        scores = np.zeros(top.shape, np.float32)
        for row, (query, best) in enumerate(zip(queries, top, strict=True)):
            scores[row] = pool.take(best + start) @ query
        return TopScores(replace(ranking, top=top), scores)


def in_memory(vectors: Vectors) -> Floats:
    """Queries are never so many that they lie on disk."""
    if isinstance(vectors, Shards):
        return vectors.rows(np.arange(len(vectors)))
    return vectors
