"""From the rankings of a run: values of queries, means with intervals, and what figures of language bias need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xlir_bench.arrays import Shared, equal_pairs
from xlir_bench.measures import PoolRanking, score
from xlir_bench.measures.bootstrap import ClusterSums, Interval, estimates
from xlir_bench.measures.retrieval import bounds_of, score_answers, tokens_of
from xlir_bench.records import Collection, Ints, Kind, Progress, Ranking, Scores, Setting


def scores_of(
    rankings: Sequence[Ranking], collection: Collection, measures: Sequence[str], progress: Progress
) -> list[Scores]:
    """The values of each query, by its judged passages or, in a task without any, by the answers in its passages."""
    if not collection.answers:
        return score(rankings, measures)
    tokens = {lang: tokens_of(collection.bodies(lang)) for lang in collection.passages}
    scores = []
    progress.start("answers", len(rankings), "settings")
    for r in rankings:
        answers = collection.answers[r.setting.query_lang]
        scores.append(score_answers(r, answers, tokens[r.setting.passage_lang], measures))
        progress.advance(1)
    progress.finish()
    return scores


def clusters_of(collection: Collection) -> tuple[int, dict[str, Ints]]:
    """The number of clusters and, by language, the cluster of each query as a number."""
    names = sorted({name for queries in collection.queries.values() for name in queries.clusters})
    number = {name: place for place, name in enumerate(names)}
    return len(names), {
        lang: np.array([number[name] for name in queries.clusters], np.int64)
        for lang, queries in collection.queries.items()
    }


def summary_of(
    scores: Sequence[Scores],
    query_clusters: Mapping[str, Ints],
    clusters: int,
    measures: Sequence[str],
    seed: int,
) -> dict[Kind, dict[str, Interval]]:
    """Macro averages with intervals, by kind and measure."""
    summary: dict[Kind, dict[str, Interval]] = {}
    for kind in Kind:
        chosen = [s for s in scores if s.setting.kind == kind and len(s.query)]
        if not chosen:
            continue
        shared = Shared()
        rows = [shared.of(query_clusters[s.setting.query_lang][s.query]) for s in chosen]
        # Computed one measure at a time: the sums of 41,412 settings are large.
        figures = (ClusterSums.of((s.values[m] for s in chosen), rows, clusters) for m in measures)
        averages = zip(measures, estimates(figures, seed), strict=True)
        summary[kind] = {m: average.interval(bounds_of(m)) for m, average in averages}
    return summary


def pool_rankings(
    rankings: Sequence[Ranking], collection: Collection, query_clusters: Mapping[str, Ints]
) -> list[PoolRanking]:
    """The rankings of the pool of all languages, with ranks within each language if all of these were searched too."""
    by_setting = {r.setting: r for r in rankings}
    pools = []
    for r in rankings:
        if r.setting.kind != Kind.MULTILINGUAL or not len(r.query):
            continue
        lang, langs = r.setting.query_lang, r.setting.passage_langs
        counts = {x: len(collection.passages[x].ids) for x in langs}
        pool = PoolRanking(r, collection.queries[lang].ids, counts, query_clusters[lang])
        of_lang = [by_setting[s] for x in langs if (s := Setting(lang, (x,))) in by_setting]
        if len(of_lang) == len(langs):
            pool = replace(pool, in_language=_ranks_in_language(pool, of_lang))
        pools.append(pool)
    return pools


def _ranks_in_language(pool: PoolRanking, of_lang: Sequence[Ranking]) -> Ints:
    """The rank of each relevant passage of the pool in the ranking of its own language."""
    starts = np.cumsum([0, *pool.passage_counts.values()])
    size = starts[-1]
    code = np.concatenate(
        [r.query * size + r.passage + start for r, start in zip(of_lang, starts[:-1], strict=True)]
    )
    wanted = pool.ranking.query * size + pool.ranking.passage
    _, place = equal_pairs(wanted, code)
    return np.concatenate([r.rank for r in of_lang])[place]
