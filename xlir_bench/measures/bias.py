"""Language bias: views of the rankings of the pool of all languages, each beside its chance level.

Every view is taken per query, averaged over the queries of a language, then over query languages; intervals are over
clusters of queries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from xlir_bench.arrays import equal_pairs, groups, order_by
from xlir_bench.measures.bootstrap import UNIT, Bounds, ClusterSums, estimates
from xlir_bench.measures.fairness import (
    PerQuery,
    PoolRanking,
    equal_expected_rank,
    oracle_gap,
    rank_variance,
    target_language_recall,
)
from xlir_bench.measures.retrieval import average_precision, expected_map
from xlir_bench.records import Floats, Ints, Kind, Ranking

TOP = 10
AGREEMENT_TOP = 100


@dataclass(frozen=True, slots=True)
class BiasFigure:
    """One view of language bias, as a mean and by query language; shares are given by passage language."""

    mean: float | Mapping[str, float]
    chance: float | Mapping[str, float]
    by_query_lang: Mapping[str, float] | Mapping[str, Mapping[str, float]]
    chance_by_query_lang: Mapping[str, float] = field(default_factory=dict)
    """The chance level of each query language; empty where all have the same."""
    queries: int = field(kw_only=True)
    """How many queries counted."""
    low: float | None = None
    high: float | None = None
    """The 95 % interval of the mean, where it is one number."""


def language_bias(
    pools: Sequence[PoolRanking],
    parallel: bool,
    seed: int = 0,
    more: Mapping[str, Mapping[str, PerQuery]] | None = None,
) -> dict[str, BiasFigure]:
    """Every view that these rankings allow, by name; none without a pool of several languages.

    `more`: values of further views, which do not follow from ranks, by view and query language.
    """

    def views_of(pool: PoolRanking) -> dict[str, PerQuery | None]:
        return {name: view(pool) for name, view in VIEWS.items()}

    # The first pool is done alone, so that the chance levels that all pools share are drawn once and cached. The other
    # pools are done by one thread for each processor: numpy releases Python's lock.
    views = [views_of(pool) for pool in pools[:1]]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        views += threads.map(views_of, pools[1:])
    values: dict[str, Mapping[str, PerQuery]] = {
        name: {
            pool.lang: view
            for pool, views_of_pool in zip(pools, views, strict=True)
            if (view := views_of_pool[name]) is not None
        }
        for name in VIEWS
    }
    values |= more or {}
    if parallel:
        values["parallel_query_agreement"] = parallel_query_agreement(pools)
    # A view leaves out the languages without a query that counts.
    counted = {
        name: {lang: queries for lang, queries in sorted(by_lang.items()) if len(queries.value)}
        for name, by_lang in values.items()
    }
    counted = {name: by_lang for name, by_lang in counted.items() if by_lang}
    figures = _figures(counted, pools, seed)
    shares = top10_language_share(pools)
    return figures if shares is None else {**figures, "top10_language_share": shares}


def _figures(
    views: Mapping[str, Mapping[str, PerQuery]], pools: Sequence[PoolRanking], seed: int
) -> dict[str, BiasFigure]:
    """Means over queries, then over languages, with intervals over clusters of queries."""
    clusters = {pool.lang: pool.clusters for pool in pools}
    count = max((int(numbers.max(initial=-1)) + 1 for numbers in clusters.values()), default=0)
    sums = [
        ClusterSums.of(
            [queries.value for queries in by_lang.values()],
            [clusters[lang][queries.query] for lang, queries in by_lang.items()],
            count,
        )
        for by_lang in views.values()
    ]
    figures = {}
    for (name, by_lang), estimate in zip(views.items(), estimates(sums, seed), strict=True):
        interval = estimate.interval(BOUNDS.get(name, UNIT))
        values = {lang: float(queries.value.mean()) for lang, queries in by_lang.items()}
        chances = {lang: float(queries.chance.mean()) for lang, queries in by_lang.items()}
        figures[name] = BiasFigure(
            mean=float(np.mean(list(values.values()))),
            chance=float(np.mean(list(chances.values()))),
            by_query_lang=values,
            queries=sum(len(queries.value) for queries in by_lang.values()),
            chance_by_query_lang=chances,
            low=interval.low,
            high=interval.high,
        )
    return figures


def rank_distance(pool: PoolRanking) -> PerQuery:
    """Highest minus lowest rank of a query's relevant passages, where it has two or more.

    An encoder without bias puts all translations of the answer at the top: K of them span K - 1 ranks.
    Answers at ranks 1, 4 and 9 are 8 apart. Chance: (N + 1)(K - 1)/(K + 1).
    """
    query, spread = rank_distances(pool.ranking)
    size = np.bincount(pool.ranking.query)[query]
    return PerQuery(query, spread, expected_range(pool.ranking.candidates, size))


def rank_distances(ranking: Ranking) -> tuple[Ints, Floats]:
    """The queries of a pool that have two relevant passages or more, and their highest minus lowest rank."""
    if ranking.setting.kind != Kind.MULTILINGUAL or not len(ranking.query):
        return np.empty(0, np.int64), np.empty(0)
    query, _, size = groups(ranking.query)
    start = np.cumsum(size) - size
    ranks = ranking.rank_or_last
    spread = np.maximum.reduceat(ranks, start) - np.minimum.reduceat(ranks, start)
    return query[size >= 2], spread[size >= 2].astype(float)


def expected_range(candidates: int, relevant: Ints) -> Floats:
    """Expected highest minus lowest rank of K relevant passages placed at random among N.

    (N + 1)(K - 1) / (K + 1):

    >>> expected_range(13_014, np.array([11])).round(1).tolist()
    [10845.8]
    """
    return (candidates + 1) * (relevant - 1) / (relevant + 1)


def top10_language_share(pools: Sequence[PoolRanking]) -> BiasFigure | None:
    """The share of each language among the ten best passages; chance is its share of the pool.

    Seven German and three English passages in a German question's top ten give de .7 and en .3: where
    German is a tenth of the pool, it is favoured sevenfold.
    """
    shares: dict[str, dict[str, float]] = {}
    chance: dict[str, float] = {}
    for pool in pools:
        top = pool.ranking.top
        best = np.empty(0, int) if top is None else top[:, :TOP][top[:, :TOP] >= 0]
        if not len(best):
            continue
        langs, sizes = list(pool.passage_counts), np.array(list(pool.passage_counts.values()))
        counts = np.bincount(pool.languages_of(best), minlength=len(langs))
        shares[pool.lang] = dict(zip(langs, (counts / counts.sum()).tolist(), strict=True))
        chance = dict(zip(langs, (sizes / sizes.sum()).tolist(), strict=True))
    if not shares:
        return None
    mean = {
        lang: float(np.mean([of_query_lang[lang] for of_query_lang in shares.values()]))
        for lang in chance
    }
    queries = sum(len(pool.ranking.scored) for pool in pools if pool.lang in shares)
    return BiasFigure(mean, chance, dict(sorted(shares.items())), queries=queries)


def same_language_preference(pool: PoolRanking) -> PerQuery:
    """How often the best relevant passage is in the query's language, where there is a choice.

    With one answer in each of eleven languages chance is 1/11; a figure of .8 says that the answer in
    the question's own language comes first in eight questions of ten.
    """
    query, same = pool.ranking.query, pool.same_language
    order = order_by(query, pool.ranks)
    queries, _, size = groups(query)
    first = np.cumsum(size) - size
    own = np.add.reduceat(same.astype(int), first)
    # Where an index retrieved none of the answers, none of them is the best one.
    choice = (own > 0) & (own < size) & (pool.ranking.rank[order][first] > 0)
    is_first = same[order][first][choice].astype(float)
    return PerQuery(queries[choice], is_first, (own / size)[choice])


def map_without_same_language(pool: PoolRanking) -> PerQuery:
    """Average precision after the answers in the query's own language are taken out of the pool.

    A German question whose answers stand at ranks 1 (de), 3 (en) and 6 (fr) is scored on en at 2 and fr
    at 5: (1/2 + 2/5)/2 = .45. Shows what an encoder finds in other languages.
    """
    query, ranks, same = pool.ranking.query, pool.ranks, pool.same_language
    left, right = equal_pairs(query, query[same])
    above = np.bincount(left[ranks[left] > ranks[same][right]], minlength=len(query))
    removed = np.bincount(query[same], minlength=int(query.max()) + 1)
    rest = ~same & (removed[query] > 0)
    kept = query[rest]
    rank = np.where(pool.ranking.rank > 0, ranks - above, 0)[rest]
    scored, _, size = groups(kept)
    remaining = pool.ranking.candidates - removed[scored]
    chance = np.empty(len(scored))
    for n in np.unique(remaining):
        chance[remaining == n] = expected_map(int(n), size[remaining == n])
    return PerQuery(scored, average_precision(kept, rank), chance)


def parallel_query_agreement(pools: Sequence[PoolRanking]) -> dict[str, PerQuery]:
    """How far the rankings of translations of one question agree: the share of their top 100 that they have in common.

    Mean over the translations of a question. Rankings that share 40 of 100 agree by .4; chance is 100/N.
    """
    tops: dict[str, list[tuple[str, int, Ints]]] = {}
    for pool in pools:
        if pool.ranking.top is None:
            continue
        for row, top in zip(pool.ranking.scored, pool.ranking.top[:, :AGREEMENT_TOP], strict=True):
            tops.setdefault(pool.query_ids[row], []).append((pool.lang, int(row), top[top >= 0]))
    shares: dict[str, list[tuple[int, float]]] = {pool.lang: [] for pool in pools}
    for question in tops.values():
        if len(question) < 2:
            continue
        overlaps = _overlaps([top for *_, top in question])
        for (lang, row, _), shared in zip(question, overlaps, strict=True):
            shares[lang].append((row, shared))
    agreement = {}
    for pool in pools:
        rows, values = np.array(shares[pool.lang], float).reshape(-1, 2).T
        chance = min(1.0, AGREEMENT_TOP / pool.ranking.candidates)
        agreement[pool.lang] = PerQuery(rows.astype(np.int64), values, np.full(len(rows), chance))
    return agreement


def _overlaps(tops: Sequence[Ints]) -> list[float]:
    """For each list, its mean overlap with the others: what both hold, as a share of the shorter list."""
    from scipy.sparse import csr_array

    ids, place = np.unique(np.concatenate(tops), return_inverse=True)
    lengths = np.array([len(t) for t in tops])
    ends, shape = np.r_[0, np.cumsum(lengths)], (len(tops), len(ids))
    holds = csr_array((np.ones(len(place), np.int32), place, ends), shape)
    size = np.maximum(lengths, 1)
    shared = (holds @ holds.T).toarray() / np.minimum.outer(size, size)
    np.fill_diagonal(shared, 0)
    return [float(mean) for mean in shared.sum(axis=1) / (len(tops) - 1)]


VIEWS: dict[str, Callable[[PoolRanking], PerQuery | None]] = {
    "rank_distance": rank_distance,
    "same_language_preference": same_language_preference,
    "map_without_same_language": map_without_same_language,
    "tlr@20": partial(target_language_recall, k=20),
    "oracle_gap@10": partial(oracle_gap, k=10),
    "rank_variance": rank_variance,
    "peer@20": partial(equal_expected_rank, k=20),
    "peer@100": partial(equal_expected_rank, k=100),
    "peer_unretrieved_mean@20": partial(equal_expected_rank, k=20, unretrieved_mean=True),
}
"""Views that look at one query at a time, by their name in result.json; a new one is a row here."""
BOUNDS: dict[str, Bounds] = {
    **dict.fromkeys(("rank_distance", "rank_variance"), (0.0, np.inf)),
    **dict.fromkeys(("oracle_gap@10", "mrc@5", "mrc@10", "mrc@20"), (-1.0, 1.0)),
}
"""The least and the largest value of the views whose range is not 0 to 1: intervals end there."""
