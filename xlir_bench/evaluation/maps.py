"""From vectors to map: what changed vectors, or another index, do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xlir_bench.evaluation.ranked import Searching
from xlir_bench.measures import score
from xlir_bench.records import Kind, Ranking, Scores
from xlir_bench.retrieval import Index


def macro_map(scores: Sequence[Scores]) -> dict[Kind, float]:
    """Map by kind: the mean over queries in a setting, then over the settings."""
    means: dict[Kind, list[float]] = {}
    for s in scores:
        if len(s.query):
            means.setdefault(s.setting.kind, []).append(float(s.values["map"].mean()))
    return {kind: float(np.mean(means[kind])) for kind in Kind if kind in means}


def map_by_kind(searching: Searching, index: Index, depth: int | None = None) -> dict[Kind, float]:
    """Map by kind of what an index finds; with `depth` only so many of the best passages count."""
    found = searching.rankings(index)
    return macro_map(score([_cut(ranking, depth) for ranking in found], ["map"]))


def _cut(ranking: Ranking, depth: int | None) -> Ranking:
    if depth is None:
        return ranking
    return replace(ranking, rank=np.where(ranking.rank <= depth, ranking.rank, 0))
