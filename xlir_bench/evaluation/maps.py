"""From vectors to map: what changed vectors, or another index, do to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xlir_bench.measures import score
from xlir_bench.records import Collection, Floats, Kind, Ranking, Role, Scores, Setting
from xlir_bench.search import Pool, SearchRequest, approximate_rankings, exact_rankings

EXACT = "Flat"
Vectors = Mapping[tuple[Role, str], Floats]


def pool_of(collection: Collection, vectors: Vectors) -> Pool:
    """The passages of all languages."""
    return Pool.of({x: vectors["passage", x] for x in collection.languages("passage")})


def macro_map(scores: Sequence[Scores]) -> dict[Kind, float]:
    """Map by kind: the mean over queries in a setting, then over the settings."""
    means: dict[Kind, list[float]] = {}
    for s in scores:
        if len(s.query):
            means.setdefault(s.setting.kind, []).append(float(s.values["map"].mean()))
    return {kind: float(np.mean(means[kind])) for kind in Kind if kind in means}


def map_of_vectors(
    collection: Collection,
    settings: Sequence[Setting],
    vectors: Vectors,
    factory: str = EXACT,
    depth: int | None = None,
) -> dict[Kind, float]:
    """Map by kind of these vectors by this index.

    With `depth` only so many of the best passages count, whatever the index; without one, exact search
    ranks all of them and an index is asked for as many as in `run --index`.
    """
    pool = pool_of(collection, vectors)
    requests = [
        SearchRequest(
            query_lang=lang,
            queries=vectors["query", lang],
            settings=[s for s in settings if s.query_lang == lang],
            pool_depth=0,
        )
        for lang in sorted({s.query_lang for s in settings})
    ]
    if factory == EXACT:
        lists = exact_rankings(collection, pool, requests)
    else:
        lists = approximate_rankings(collection, pool, requests, factory, depth)
    found = [_cut(ranking, depth) for rankings in lists for ranking in rankings]
    return macro_map(score(found, ["map"]))


def _cut(ranking: Ranking, depth: int | None) -> Ranking:
    if depth is None:
        return ranking
    return replace(ranking, rank=np.where(ranking.rank <= depth, ranking.rank, 0))
