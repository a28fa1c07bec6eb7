"""The ranking of a pool of all languages, and published measures of how fairly it treats the languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from math import comb

import numpy as np
from numpy.typing import NDArray

from xlir_bench.arrays import groups, ranges
from xlir_bench.records import Floats, Ints, Ranking

DRAWS = 2_000
"""How many random rankings are averaged for a chance level that has no formula."""


@dataclass(frozen=True)
class PoolRanking:
    """The ranking of one query language over the pool, its query ids and the languages of the pool."""

    ranking: Ranking
    query_ids: tuple[str, ...]
    """The ids of all queries of the language; translations share an id."""
    passage_counts: Mapping[str, int]
    """How many candidates each language has, in pool order."""
    clusters: Ints
    """The number of the cluster of each query."""
    in_language: Ints | None = None
    """The rank of each relevant passage among the passages of its language; None where these were not searched."""

    @property
    def lang(self) -> str:
        """The query language."""
        return self.ranking.setting.query_lang

    @property
    def ranks(self) -> Ints:
        """Ranks of the relevant passages; one that an index did not retrieve counts as the last."""
        return self.ranking.rank_or_last

    def languages_of(self, positions: Ints) -> Ints:
        """For each pool position, the index of its language in `passage_counts`."""
        ends = np.cumsum(list(self.passage_counts.values()))
        return np.asarray(np.searchsorted(ends, positions, side="right"))

    @cached_property
    def relevant_langs(self) -> Ints:
        """For each relevant passage, the index of its language in `passage_counts`."""
        return self.languages_of(self.ranking.passage)

    @cached_property
    def same_language(self) -> NDArray[np.bool_]:
        """For each relevant passage, whether it is in the query's language."""
        is_own = np.array([lang == self.lang for lang in self.passage_counts], bool)
        return is_own[self.relevant_langs]


@dataclass(frozen=True, slots=True)
class PerQuery:
    """A value of each query that counts, and its chance level."""

    query: Ints
    value: Floats
    chance: Floats


def target_language_recall(pool: PoolRanking, k: int) -> PerQuery:
    """TLR@k: the share of a query's relevant passages in other languages that are among the best k.

    Ten translations of the answer, of which four stand among the best 20: .4. Chance: k of the N passages.
    """
    other = ~pool.same_language
    query, row, size = groups(pool.ranking.query[other])
    rank = pool.ranking.rank[other]
    share = np.bincount(row, (rank > 0) & (rank <= k), len(query)) / size
    return PerQuery(query, share, np.full(len(query), min(1.0, k / pool.ranking.candidates)))


def rank_variance(pool: PoolRanking) -> PerQuery:
    """MRV: the variance of the ranks of a query's relevant passages, where it has two or more.

    Ranks 1, 2 and 6 have the mean 3 and the variance (4 + 1 + 9)/3. Chance, for K ranks drawn from N without
    replacement: (K - 1)/K of the N ranks' own variance, N(N + 1)/12.
    """
    rank, candidates = pool.ranks, pool.ranking.candidates
    query, row, size = groups(pool.ranking.query)
    mean = np.bincount(row, rank, len(query)) / size
    variance = np.bincount(row, (rank - mean[row]) ** 2, len(query)) / size
    chance = (size - 1) / size * candidates * (candidates + 1) / 12
    several = size > 1
    return PerQuery(query[several], variance[several], chance[several])


def oracle_gap(pool: PoolRanking, k: int) -> PerQuery | None:
    """Language-oracle gap@k: what larger share of a query's relevant passages is found if their language is known.

    Hit@k of a passage among the passages of its language, minus its hit@k in the whole pool: what is lost by ranking
    languages together. If three of four relevant passages are hits in their languages and one is a hit in the pool,
    the gap is .5. Chance: k of the passages of the language, minus k of all passages.
    """
    if pool.in_language is None:
        return None
    query, row, size = groups(pool.ranking.query)
    alone, pooled = (
        ((rank > 0) & (rank <= k)).astype(float) for rank in (pool.in_language, pool.ranking.rank)
    )
    sizes = np.array(list(pool.passage_counts.values()))[pool.relevant_langs]
    expected = np.minimum(1, k / sizes) - min(1, k / pool.ranking.candidates)
    gap, chance = (np.bincount(row, x, len(query)) / size for x in (alone - pooled, expected))
    return PerQuery(query, gap, chance)


def equal_expected_rank(
    pool: PoolRanking, k: int, unretrieved_mean: bool = False
) -> PerQuery | None:
    """PEER@k, see `fairness_p`; None where it would be the same for every ranking."""
    query, rank = pool.ranking.query, pool.ranking.rank
    lang = pool.relevant_langs
    cuts_off = pool.ranking.candidates > k or not rank.all()
    if not cuts_off and len(query) == len(np.unique(np.stack([query, lang]), axis=1).T):
        return None  # one passage for each language, and ranks that all differ
    queries, p = fairness_p(query, rank, lang, k, unretrieved_mean)
    chance = expected_fairness_p(query, lang, pool.ranking.candidates, k, unretrieved_mean)
    return PerQuery(queries, p, chance)


def fairness_p(
    query: Ints, rank: Ints, lang: Ints, k: int, unretrieved_mean: bool = False
) -> tuple[Ints, Floats]:
    """PEER@k: by query, the probability of ranks that differ so much between languages if no language is favoured.

    The p-value of Kruskal and Wallis' test over the ranks of the relevant passages, grouped by language. A passage that
    is not among the best k has rank k + 1, as in arXiv 2605.31171; with `unretrieved_mean`, it has the mean rank that
    the code of PEER's authors (package peer-measure) gives it. Relevant passages that all have one rank, or one
    language, are ranked fairly: p is 1. With one relevant passage for each language, p has only two values: 1, and
    the one for ranks that are not all equal.

    >>> query, lang = np.zeros(4, int), np.array([0, 0, 1, 1])
    >>> fairness_p(query, np.array([1, 2, 3, 4]), lang, 20)[1].round(4).tolist()
    [0.1213]
    """
    import pandas as pd
    from scipy.special import chdtrc

    queries, row, size = groups(query)
    retrieved = (rank > 0) & (rank <= k)
    missed = np.bincount(row, ~retrieved, len(queries))
    before = size if unretrieved_mean else size - missed
    value = (before + (missed + 1) / 2)[row]
    ranks = pd.Series(rank[retrieved])
    # The place of each among the retrieved passages, from 1; equal ranks share their mean place.
    value[retrieved] = ranks if unretrieved_mean else ranks.groupby(row[retrieved]).rank()
    row_of_group, of_group, in_group = _by_language(row, lang)
    mean = np.bincount(row, value, len(queries)) / size
    spread = np.bincount(row, (value - mean[row]) ** 2, len(queries))
    group_mean = np.bincount(of_group, value, len(in_group)) / in_group
    between = np.bincount(
        row_of_group, in_group * (group_mean - mean[row_of_group]) ** 2, len(queries)
    )
    languages = np.bincount(row_of_group, minlength=len(queries))
    found_any = np.bincount(row, retrieved, len(queries)) > 0
    tested = (languages > 1) & (spread > 0) & found_any
    p = np.ones(len(queries))
    statistic = (size[tested] - 1) * between[tested] / spread[tested]
    p[tested] = chdtrc(languages[tested] - 1, statistic)
    return queries, p


def expected_fairness_p(
    query: Ints, lang: Ints, candidates: int, k: int, unretrieved_mean: bool = False
) -> Floats:
    """By query: the mean PEER@k of random rankings of its relevant passages among so many candidates."""
    queries, row, _ = groups(query)
    row_of_group, _, size = _by_language(row, lang)
    langs = np.bincount(row_of_group)
    nth = ranges(langs)
    sizes = np.zeros((len(queries), int(nth.max(initial=0)) + 1), np.int64)
    sizes[row_of_group, nth] = size
    sizes.sort(axis=1)
    # Rows are compared by their bytes: where each question has answers in 122 languages, `np.unique` takes thirty times as long.
    distinct = {row.tobytes(): row[row > 0].tolist() for row in sizes}
    means = {
        key: _random_mean(tuple(row), candidates, k, unretrieved_mean)
        for key, row in distinct.items()
    }
    return np.array([means[row.tobytes()] for row in sizes])


def _by_language(row: Ints, lang: Ints) -> tuple[Ints, Ints, Ints]:
    """Groups of passages of one row (query) and language: the row of each group, the group of each passage, the sizes."""
    langs = int(lang.max(initial=0)) + 1
    group, of_group, size = groups(row * langs + lang)
    return group // langs, of_group, size


@cache
def _random_mean(sizes: tuple[int, ...], candidates: int, k: int, unretrieved_mean: bool) -> float:
    """The mean PEER@k over `DRAWS` random rankings; `sizes`: how many relevant passages each language has."""
    total, rng = sum(sizes), np.random.default_rng(0)
    if total > candidates // 2:
        ranks = np.array([rng.permutation(candidates)[:total] + 1 for _ in range(DRAWS)])
    else:
        ranks = rng.integers(1, candidates + 1, (DRAWS, total))
        while len(
            again := np.flatnonzero((np.diff(np.sort(ranks, axis=1), axis=1) == 0).any(axis=1))
        ):
            ranks[again] = rng.integers(1, candidates + 1, (len(again), total))
    query = np.repeat(np.arange(DRAWS), total)
    lang = np.tile(np.repeat(np.arange(len(sizes)), sizes), DRAWS)
    return float(fairness_p(query, ranks.ravel(), lang, k, unretrieved_mean)[1].mean())


def expected_score_correlation(candidates: int, k: int) -> float:
    """The expected correlation of the scores of two random rankings over the union of their best k.

    It is below 0, because the best passages of one ranking stand anywhere in the other. In a union of n passages, each
    ranking has its own best at 1 to k, (k + 1)/2 on average, and the others at k + 1 to n. The number of passages that
    are among the best of both is hypergeometric.

    >>> round(expected_score_correlation(10_000, 20), 2)
    -0.75
    """
    k = min(k, candidates)
    mean = weight = 0.0
    for shared in range(max(0, 2 * k - candidates), k + 1):
        n, own = 2 * k - shared, (k + 1) / 2
        if n < 2:
            continue  # one passage has no correlation
        other = (k + 1 + n) / 2
        products = shared * own**2 + 2 * (k - shared) * own * other
        share = comb(k, shared) * comb(candidates - k, k - shared) / comb(candidates, k)
        mean += share * (products - n * ((n + 1) / 2) ** 2) / (n * (n**2 - 1) / 12)
        weight += share
    return mean / weight if weight else float("nan")


def score_correlation(first: Floats, second: Floats) -> Floats:
    """By row, Spearman's correlation of two lists of scores without their nan; nan where a list has no variation.

    The number of smaller scores minus that of larger ones is twice a score's distance from the mean rank, where equal
    scores share their mean rank.

    >>> nan = float("nan")
    >>> score_correlation(np.array([[3.0, 2.0, 1.0, nan]]), np.array([[3.0, 1.0, 2.0, nan]])).tolist()
    [0.5]
    """
    one, two = (
        (scores[:, :, None] > scores[:, None, :]).sum(axis=2, dtype=np.int64)
        - (scores[:, :, None] < scores[:, None, :]).sum(axis=2, dtype=np.int64)
        for scores in (first, second)
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(
            (one * two).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
        )
