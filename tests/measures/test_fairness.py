"""Fairness over a pool of languages, against scipy, the code of PEER's authors, and sums by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import scipy.stats

from xlir_bench.measures.fairness import (
    PoolRanking,
    expected_score_correlation,
    fairness_p,
    oracle_gap,
    rank_variance,
    score_correlation,
    target_language_recall,
)
from xlir_bench.records import Ranking, Setting

K = 20


def drawn(seed: int, queries: int = 40, langs: int = 5, candidates: int = 60):
    """Relevant passages of queries: ranks without repetition, some not retrieved; one or more a language."""
    rng = np.random.default_rng(seed)
    rows = []
    for query in range(queries):
        of_langs = [lang for lang in range(langs) for _ in range(rng.integers(0, 3))] or [0]
        ranks = rng.choice(np.arange(1, candidates + 1), len(of_langs), replace=False)
        ranks[rng.random(len(ranks)) < 0.1] = 0
        rows += [(query * 3, rank, lang) for rank, lang in zip(ranks, of_langs, strict=True)]
    shuffled = rng.permutation(rows)
    return shuffled[:, 0], shuffled[:, 1], shuffled[:, 2]


def by_language(query, rank, lang, q) -> list[list[int]]:
    return [rank[(query == q) & (lang == x)].tolist() for x in np.unique(lang[query == q])]


@pytest.mark.parametrize("seed", range(4))
def test_ranks_beyond_k_are_k_plus_one_and_the_p_value_is_scipys(seed: int) -> None:
    query, rank, lang = drawn(seed)
    rows, p = fairness_p(query, rank, lang, K)
    for q, found in zip(rows, p, strict=True):
        groups = [
            [r if 0 < r <= K else K + 1 for r in ranks]
            for ranks in by_language(query, rank, lang, q)
        ]
        flat = [r for group in groups for r in group]
        fair = len(groups) < 2 or len(set(flat)) < 2
        assert found == pytest.approx(
            1.0 if fair else scipy.stats.kruskal(*groups).pvalue, abs=1e-9
        )


def paper_p(groups: list[list[float]]) -> float:
    """As the package peer-measure 0.0.1 computes it (its `kruskal`), restated; nan is not retrieved."""
    flat = np.concatenate(groups)
    if np.isnan(flat).all() or len(groups) < 2:
        return 1.0
    place = (2 * len(flat) + np.isnan(flat).sum() + 1) / 2
    filled = [np.where(np.isnan(group), place, group) for group in groups]
    flat = np.concatenate(filled)
    between = sum(len(g) * (np.mean(g) - flat.mean()) ** 2 for g in filled)
    within = ((flat - flat.mean()) ** 2).sum()
    if within == 0:
        return 1.0  # nan there
    return float(scipy.stats.chi2.sf((len(flat) - 1) * between / within, len(groups) - 1))


@pytest.mark.parametrize("seed", range(4))
def test_the_papers_own_code_puts_what_was_not_retrieved_at_a_mean_rank(seed: int) -> None:
    query, rank, lang = drawn(seed)
    rows, p = fairness_p(query, rank, lang, K, unretrieved_mean=True)
    for q, found in zip(rows, p, strict=True):
        groups = [
            [float(r) if 0 < r <= K else np.nan for r in ranks]
            for ranks in by_language(query, rank, lang, q)
        ]
        assert found == pytest.approx(paper_p(groups), abs=1e-9)


def test_peer_measure_itself_says_the_same() -> None:
    theirs = pytest.importorskip("peer_measure", reason="pip install peer-measure").kruskal
    query, rank, lang = drawn(9)
    for q, p in zip(*fairness_p(query, rank, lang, K, unretrieved_mean=True), strict=True):
        groups = [
            [float(r) if 0 < r <= K else np.nan for r in ranks]
            for ranks in by_language(query, rank, lang, q)
        ]
        assert p == pytest.approx(theirs(*groups)[1], abs=1e-9)


def test_one_relevant_passage_a_language_has_two_values_only() -> None:
    query, lang = np.repeat(np.arange(3), 11), np.tile(np.arange(11), 3)
    rank = np.r_[np.arange(11) * 7 + 1, np.full(11, 99), np.arange(11) + 1]
    assert fairness_p(query, rank, lang, K)[1] == pytest.approx([0.4405, 1, 0.4405], abs=1e-4)


def pool(
    candidates: int, query: np.ndarray, rank: np.ndarray, in_language: np.ndarray
) -> PoolRanking:
    """The first passages of the pool are the relevant ones."""
    ones = np.ones_like(query)
    ranking = Ranking(
        Setting("de", ("de", "en")), candidates, query, np.arange(len(query)), ones, rank
    )
    half = candidates // 2
    return PoolRanking(ranking, ("a", "b"), {"de": half, "en": half}, np.arange(2), in_language)


@pytest.mark.parametrize("seed", range(3))
def test_variance_of_ranks_and_recall_of_other_languages(seed: int) -> None:
    query, rank, lang = drawn(seed)
    order = np.argsort(lang, kind="stable")  # as they lie in the pool, of which all are relevant
    query, rank, lang = query[order] // 3, rank[order], lang[order]
    counts = {f"l{x}": int((lang == x).sum()) for x in range(5)}
    place, ones = np.arange(len(query)), np.ones_like(query)
    setting = Setting("l2", tuple(counts))
    ranking = Ranking(setting, 60, query, place, ones, rank)
    asked = PoolRanking(ranking, tuple(map(str, range(40))), counts, np.arange(40))
    found = target_language_recall(asked, K)
    expected = {
        q: ((rank > 0) & (rank <= K))[(query == q) & (lang != 2)].mean()
        for q in np.unique(query)
        if ((query == q) & (lang != 2)).any()
    }
    assert dict(zip(found.query.tolist(), found.value, strict=True)) == pytest.approx(expected)
    found = rank_variance(asked)
    last = np.where(rank > 0, rank, 60)
    expected = {q: np.var(last[query == q]) for q in np.unique(query) if (query == q).sum() > 1}
    assert dict(zip(found.query.tolist(), found.value, strict=True)) == pytest.approx(expected)


def test_chance_of_the_variance_is_that_of_random_ranks() -> None:
    rng = np.random.default_rng(0)
    drawn = [np.var(rng.choice(np.arange(1, 41), 5, replace=False)) for _ in range(20_000)]
    five = np.arange(1, 6)
    (chance,) = rank_variance(pool(40, np.zeros(5, int), five, five)).chance
    assert np.mean(drawn) == pytest.approx(chance, rel=0.01)


def test_a_passage_that_no_list_has_is_no_gap() -> None:
    query = np.array([0, 0, 1])
    found = oracle_gap(pool(60, query, np.array([0, 50, 40]), np.array([0, 11, 3])), 10)
    assert found is not None
    assert found.query.tolist() == [0, 1]
    assert found.value.tolist() == [0, 1]


@pytest.mark.parametrize(("candidates", "k"), [(5, 2), (6, 3), (4, 9), (5, 4), (3, 1)])
def test_chance_of_the_correlation_of_scores_is_that_of_all_rankings(
    candidates: int, k: int
) -> None:
    found = []
    for ranks in permutations(range(candidates)):
        union = sorted({*range(min(k, candidates)), *np.argsort(ranks)[:k].tolist()})
        if len(union) > 1:
            found.append(scipy.stats.spearmanr(union, np.array(ranks)[union]).statistic)
    assert expected_score_correlation(candidates, k) == pytest.approx(np.mean(found), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_correlation_of_scores_is_scipys_with_ties_and_gaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 6, (2, 30, 12)).astype(float)
    counted = rng.random((30, 12)) < 0.7
    first[4], counted[5] = 1.0, False
    left, right = (np.where(counted, scores, np.nan) for scores in (first, second))
    found = score_correlation(left, right)
    for a, b, there, r in zip(first, second, counted, found, strict=True):
        if there.sum() < 2 or len(set(a[there])) < 2 or len(set(b[there])) < 2:
            assert np.isnan(r)
        else:
            assert r == pytest.approx(scipy.stats.spearmanr(a[there], b[there]).statistic, abs=1e-9)
