"""Search as a run asks for it: for all settings of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xlir_bench.measures import ANSWER_DEPTH
from xlir_bench.records import Collection, Progress, Ranking, Setting
from xlir_bench.retrieval import Index, Want

POOL_DEPTH = 100
"""How many of the best passages of the pool are kept: what the bias views look at."""


@dataclass(frozen=True, slots=True)
class Searching:
    """The settings of a run over one collection."""

    collection: Collection
    settings: Sequence[Setting]
    keep: int
    """How many of the best passages of every query to keep."""
    progress: Progress

    def rankings(self, index: Index, depth: int = 0) -> list[Ranking]:
        """In the order of the settings; at least so many of the best passages are kept in each."""
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
