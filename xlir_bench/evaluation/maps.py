"""From vectors to map: what changed vectors, or another index, do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xlir_bench.evaluation.ranked import AllVectors, Searching
from xlir_bench.measures import score
from xlir_bench.options.running import EXACT
from xlir_bench.records import Kind, Ranking, Scores


def macro_map(scores: Sequence[Scores]) -> dict[Kind, float]:
    """Map by kind: the mean over queries in a setting, then over the settings."""
    means: dict[Kind, list[float]] = {}
    for s in scores:
        if len(s.query):
            means.setdefault(s.setting.kind, []).append(float(s.values["map"].mean()))
    return {kind: float(np.mean(means[kind])) for kind in Kind if kind in means}


def map_of_vectors(
    searching: Searching, vectors: AllVectors, factory: str = EXACT, depth: int | None = None
) -> dict[Kind, float]:
    """Map by kind of these vectors by this index.

    With `depth` only so many of the best passages count, whatever the index; without one, exact search
    ranks all of them and an index is asked for as many as in `run --index`.
    """
    if factory == EXACT:
        found = searching.exact(vectors)
    else:
        found = searching.by_index(vectors, factory, depth)
    return macro_map(score([_cut(ranking, depth) for ranking in found], ["map"]))


def _cut(ranking: Ranking, depth: int | None) -> Ranking:
    if depth is None:
        return ranking
    return replace(ranking, rank=np.where(ranking.rank <= depth, ranking.rank, 0))
