"""Search as a run asks for it: exact or by an index, for all settings of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlir_bench.measures import ANSWER_DEPTH
from xlir_bench.records import Collection, Progress, Ranking, Role, Setting
from xlir_bench.retrieval import FaissIndex, VectorIndex, Vectors, Want
from xlir_bench.retrieval.approximate import DEPTH

POOL_DEPTH = 100
"""How many of the best passages of the pool are kept: what the bias views look at."""
AllVectors = Mapping[tuple[Role, str], Vectors]


@dataclass(frozen=True, slots=True)
class Searching:
    """The settings of a run over one collection."""

    collection: Collection
    settings: Sequence[Setting]
    keep: int
    """How many of the best passages of every query to keep."""
    progress: Progress

    def index(self, vectors: AllVectors) -> VectorIndex:
        """The vectors of all queries and passages."""
        queries, passages = (
            {lang: vectors[role, lang] for lang in self.collection.languages(role)}
            for role in ("query", "passage")
        )
        return VectorIndex.of(queries, passages)

    def exact(self, vectors: AllVectors, depth: int = 0) -> list[Ranking]:
        """Every rank, by comparing each query with every passage; at least so deep in each setting."""
        return self._rankings(self.index(vectors), depth)

    def by_index(
        self, vectors: AllVectors, factory: str, depth: int | None = None
    ) -> list[Ranking]:
        """What a FAISS index finds, asked for so many passages; None: as many as it is commonly asked."""
        return self._rankings(FaissIndex(self.index(vectors), factory, depth or DEPTH), POOL_DEPTH)

    def _rankings(self, index: VectorIndex | FaissIndex, depth: int) -> list[Ranking]:
        """In the order of the settings."""
        pair_depth = max(self.keep, depth, ANSWER_DEPTH if self.collection.answers else 0)
        wants = [
            Want.of(
                self.collection,
                index.pool,
                [s for s in self.settings if s.query_lang == lang],
                pair_depth=pair_depth,
                pool_depth=max(pair_depth, POOL_DEPTH),
            )
            for lang in sorted({s.query_lang for s in self.settings})
        ]
        found = {r.setting: r for p in index.search(wants, self.progress) for r in p.rankings()}
        return [found[s] for s in self.settings]
