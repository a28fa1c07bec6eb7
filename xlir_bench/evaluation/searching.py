"""Search of all settings of a run, and the map of what an index finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xlir_bench.measures import score
from xlir_bench.measures.answers import DEPTH as ANSWER_DEPTH
from xlir_bench.records import Collection, Kind, Progress, Ranking, Setting
from xlir_bench.retrieval import Index, Want

POOL_DEPTH = 100
"""How many of the best passages of the pool are kept: the bias views need them."""


@dataclass(frozen=True, slots=True)
class Searching:
    """The settings of a run over one collection."""

    collection: Collection
    settings: Sequence[Setting]
    keep: int
    """How many of the best passages of every query to keep."""
    progress: Progress

    def rankings(self, index: Index, depth: int = 0) -> list[Ranking]:
        """In the order of the settings; at least `depth` of the best passages are kept in each."""
        pair_depth = max(self.keep, depth, ANSWER_DEPTH if self.collection.answers else 0)
        wants = [
            Want.of(
                self.collection,
                index.pool,
                [setting for setting in self.settings if setting.query_lang == lang],
                pair_depth=pair_depth,
                pool_depth=max(pair_depth, POOL_DEPTH),
            )
            for lang in sorted({setting.query_lang for setting in self.settings})
        ]
        found = {
            r.setting: r
            for partial in index.search(wants, self.progress)
            for r in partial.rankings()
        }
        return [found[setting] for setting in self.settings]

    def map_by_kind(self, index: Index, depth: int | None = None) -> dict[Kind, float]:
        """Map of what an index finds, macro average by kind; with `depth` only so many of the best passages count."""
        rankings = self.rankings(index)
        if depth is not None:
            rankings = [replace(r, rank=np.where(r.rank <= depth, r.rank, 0)) for r in rankings]
        scores = score(rankings, ["map"])
        return mean_by_kind(
            (s.setting.kind, float(s.values["map"].mean())) for s in scores if len(s.query)
        )


def mean_by_kind(values: Iterable[tuple[Kind, float]]) -> dict[Kind, float]:
    """The mean over the settings of each kind, from one value a setting."""
    by_kind: dict[Kind, list[float]] = {}
    for kind, value in values:
        by_kind.setdefault(kind, []).append(value)
    return {kind: float(np.mean(by_kind[kind])) for kind in Kind if kind in by_kind}
