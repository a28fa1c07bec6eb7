from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import pytest
import scipy.stats

from xlir_bench.measures import PoolRanking, language_bias
from xlir_bench.measures.bias import BiasFigure
from xlir_bench.measures.bootstrap import ClusterSums, intervals
from xlir_bench.measures.fairness import expected_fairness_p, fairness_p
from xlir_bench.records import Ranking, Setting

COUNTS = {"ar": 30, "de": 55, "en": 40, "zh": 25}
"""Passages of each language in the pool."""


@dataclass(frozen=True)
class Question:
    """One question in one language: the whole pool, best first, and its answers."""

    id: str
    row: int
    order: list[int]
    answers: list[int]


Asked = Mapping[str, list[Question]]
"""By query language."""


def language(position: int) -> str:
    for lang, count in COUNTS.items():
        if position < count:
            return lang
        position -= count
    raise AssertionError


def starts() -> dict[str, int]:
    ends = np.cumsum([0, *COUNTS.values()])
    return dict(zip(COUNTS, ends.tolist(), strict=False))


def random_asked(
    seed: int, langs: str = "ar de en zh", questions: int = 12, answers: int | None = None
) -> Asked:
    """Random rankings; not every question is asked or answered in every language."""
    rng = np.random.default_rng(seed)
    size = sum(COUNTS.values())
    asked: dict[str, list[Question]] = {}
    for lang in langs.split():
        asked[lang] = []
        for number in range(questions):
            if answers is None and rng.random() < 0.2:
                continue
            of = [x for x in COUNTS if answers or rng.random() < 0.7]
            found = sorted(
                starts()[x] + int(i)
                for x in of
                for i in rng.choice(COUNTS[x], answers or rng.integers(1, 3), replace=False)
            )
            if found:
                order = rng.permutation(size).tolist()
                asked[lang].append(Question(f"q{number}", number, order, found))
    return asked


def pools(asked: Asked, questions: int = 12) -> list[PoolRanking]:
    found = []
    for lang, of_lang in asked.items():
        rows = [(q.row, p, q.order.index(p) + 1) for q in of_lang for p in q.answers]
        query, passage, rank = np.array(rows, np.int64).reshape(-1, 3).T
        top = np.array([q.order[:100] for q in of_lang]).reshape(len(of_lang), 100)
        ranking = Ranking(
            Setting(lang, tuple(COUNTS)),
            sum(COUNTS.values()),
            query,
            passage,
            np.ones_like(query),
            rank,
            top,
        )
        names, clusters = tuple(f"q{i}" for i in range(questions)), np.arange(questions)
        found.append(PoolRanking(ranking, names, COUNTS, clusters))
    return found


def mean_of_means(values: Mapping[str, list[float]]) -> float:
    return float(np.mean([np.mean(v) for v in values.values() if v]))


def view(asked: Asked, name: str) -> BiasFigure:
    return language_bias(pools(asked), parallel=True)[name]


def assert_view(found: BiasFigure, values: Mapping[str, list[float]]) -> None:
    """The figures of a view are the means of these values."""
    counted = {lang: v for lang, v in values.items() if v}
    assert found.by_query_lang == pytest.approx({x: np.mean(v) for x, v in counted.items()})
    assert found.mean == pytest.approx(mean_of_means(counted))
    assert found.queries == sum(len(v) for v in counted.values())
    assert found.chance_by_query_lang.keys() == counted.keys()
    assert found.chance == pytest.approx(np.mean(list(found.chance_by_query_lang.values())))


@pytest.mark.parametrize("seed", range(3))
def test_rank_distance_is_the_span_of_the_ranks_of_all_answers(seed: int) -> None:
    asked = random_asked(seed)
    values = {
        lang: [
            float(max(ranks) - min(ranks))
            for q in questions
            if len(ranks := [q.order.index(p) for p in q.answers]) > 1
        ]
        for lang, questions in asked.items()
    }
    assert_view(view(asked, "rank_distance"), values)


@pytest.mark.parametrize("seed", range(3))
def test_the_share_of_languages_in_the_top_ten_stands_beside_their_share_of_the_pool(
    seed: int,
) -> None:
    asked = random_asked(seed)
    found = language_bias(pools(asked), parallel=True)["top10_language_share"]
    wanted = {}
    for lang, questions in asked.items():
        tops = [language(p) for q in questions for p in q.order[:10]]
        wanted[lang] = {x: tops.count(x) / len(tops) for x in COUNTS}
        assert found.by_query_lang[lang] == pytest.approx(wanted[lang])
    assert found.mean == pytest.approx(
        {x: np.mean([shares[x] for shares in wanted.values()]) for x in COUNTS}
    )
    assert found.chance == pytest.approx({x: n / 150 for x, n in COUNTS.items()})
    assert sum(found.mean.values()) == pytest.approx(1)
    assert found.queries == sum(len(questions) for questions in asked.values())


@pytest.mark.parametrize("seed", range(3))
def test_same_language_preference_is_how_often_the_own_language_answers_first(seed: int) -> None:
    asked = random_asked(seed)
    values: dict[str, list[float]] = {}
    chances: dict[str, list[float]] = {}
    for lang, questions in asked.items():
        for q in questions:
            langs = [language(p) for p in q.order if p in q.answers]
            if lang in langs and set(langs) != {lang}:
                values.setdefault(lang, []).append(float(langs[0] == lang))
                chances.setdefault(lang, []).append(langs.count(lang) / len(langs))
    found = view(asked, "same_language_preference")
    assert_view(found, values)
    assert found.chance == pytest.approx(mean_of_means(chances))


@pytest.mark.parametrize("seed", range(3))
def test_map_without_the_own_language_takes_its_answers_out_of_the_pool(seed: int) -> None:
    asked = random_asked(seed)
    values: dict[str, list[float]] = {}
    for lang, questions in asked.items():
        for q in questions:
            own = [p for p in q.answers if language(p) == lang]
            others = [p for p in q.answers if language(p) != lang]
            if own and others:
                order = [p for p in q.order if p not in own]
                ranks = sorted(order.index(p) + 1 for p in others)
                precision = [(i + 1) / rank for i, rank in enumerate(ranks)]
                values.setdefault(lang, []).append(float(np.mean(precision)))
    assert_view(view(asked, "map_without_same_language"), values)


@pytest.mark.parametrize("seed", range(3))
def test_parallel_query_agreement_is_what_translations_share_of_their_top_100(seed: int) -> None:
    asked = random_asked(seed)
    values: dict[str, list[float]] = {lang: [] for lang in asked}
    for lang, questions in asked.items():
        for q in questions:
            shared = [
                len({*q.order[:100]} & {*other.order[:100]}) / 100
                for x, others in asked.items()
                for other in others
                if x != lang and other.id == q.id
            ]
            if shared:
                values[lang].append(float(np.mean(shared)))
    found = view(asked, "parallel_query_agreement")
    assert_view(found, values)
    assert found.chance == pytest.approx(100 / 150)


def test_random_rankings_are_at_the_chance_level_of_every_view() -> None:
    drawn: dict[str, list[float]] = {}
    for seed in range(20):
        asked = random_asked(seed, questions=60, answers=1)
        for name, found in language_bias(pools(asked, 60), parallel=True).items():
            apart = (
                found.mean - found.chance
                if isinstance(found.mean, float)
                else found.mean["de"] - found.chance["de"]
            )
            drawn.setdefault(name, []).append(apart)
    assert len(drawn) == 10
    for name, differences in drawn.items():
        error = np.std(differences) / np.sqrt(len(differences))
        assert abs(np.mean(differences)) < 4 * error, name


def one(order: list[int], answers: list[int], lang: str = "de") -> Asked:
    return {
        lang: [Question("q0", 0, [*order, *(p for p in range(150) if p not in order)], answers)]
    }


def test_an_encoder_that_prefers_nothing_has_all_answers_at_the_top() -> None:
    asked = one([0, 30, 85, 125], [0, 30, 85, 125])
    assert view(asked, "rank_distance").mean == 3


def test_a_question_with_one_answer_has_no_rank_distance() -> None:
    assert "rank_distance" not in language_bias(pools(one([40], [40])), parallel=True)


def test_a_language_whose_answers_are_all_its_own_has_no_choice() -> None:
    found = language_bias(pools(one([40, 41], [40, 41])), parallel=True)
    assert "same_language_preference" not in found
    assert "map_without_same_language" not in found
    assert found["rank_distance"].mean == 1


def test_a_query_language_without_passages_of_its_own_has_no_figure_of_its_own_language() -> None:
    asked = random_asked(0, "fr en")
    found = language_bias(pools(asked), parallel=True)
    for name in ("same_language_preference", "map_without_same_language"):
        figure = found[name]
        assert set(figure.by_query_lang) == {"en"}
    distance = found["rank_distance"]
    assert set(distance.by_query_lang) == {"en", "fr"}


def test_questions_that_are_no_translations_of_each_other_have_no_agreement() -> None:
    assert "parallel_query_agreement" not in language_bias(pools(random_asked(0)), parallel=False)


def test_a_question_in_one_language_alone_agrees_with_nothing() -> None:
    assert "parallel_query_agreement" not in language_bias(pools(random_asked(0, "en")), True)


def test_rankings_of_equal_translations_agree_wholly() -> None:
    order = np.random.default_rng(0).permutation(150).tolist()
    asked = {lang: [Question("q0", 0, order, [3])] for lang in ("de", "en", "zh")}
    found = view(asked, "parallel_query_agreement")
    assert found.by_query_lang == {"de": 1, "en": 1, "zh": 1}


def test_no_pool_has_no_views() -> None:
    assert language_bias([], parallel=True) == {}


def test_without_best_passages_the_views_of_ranks_are_left() -> None:
    bare = [
        PoolRanking(
            Ranking(
                p.ranking.setting,
                p.ranking.candidates,
                p.ranking.query,
                p.ranking.passage,
                p.ranking.grade,
                p.ranking.rank,
            ),
            p.query_ids,
            p.passage_counts,
            p.clusters,
        )
        for p in pools(random_asked(0))
    ]
    assert set(language_bias(bare, parallel=True)) == {
        "rank_distance", "same_language_preference", "map_without_same_language",
        "tlr@20", "rank_variance", "peer@20", "peer@100", "peer_unretrieved_mean@20",
    }  # fmt: skip


def test_answers_that_an_index_missed_count_as_last_and_not_as_first() -> None:
    ranking = Ranking(
        Setting("de", tuple(COUNTS)),
        150,
        query=np.array([0, 0, 1, 1, 2, 2]),
        passage=np.array([0, 40, 1, 41, 2, 42]),
        grade=np.ones(6, np.int64),
        rank=np.array([7, 0, 0, 3, 0, 0]),
        top=np.array([[5, 45, -1], [6, -1, -1], [-1, -1, -1]]),
    )
    pool = PoolRanking(ranking, ("a", "b", "c"), COUNTS, np.arange(3))
    found = language_bias([pool], parallel=True)
    distance, preference = found["rank_distance"], found["same_language_preference"]
    without, shares = found["map_without_same_language"], found["top10_language_share"]
    assert distance.mean == ((150 - 7) + (150 - 3) + 0) / 3
    assert (preference.mean, preference.queries) == (1 / 2, 2), "the third has no best answer"
    assert without.mean == pytest.approx((1 / 7 + 0 + 0) / 3)
    assert shares.mean == pytest.approx({"ar": 2 / 3, "de": 1 / 3, "en": 0, "zh": 0})


def test_an_index_that_found_nothing_at_all_has_no_shares() -> None:
    ranking = Ranking(
        Setting("de", tuple(COUNTS)),
        150,
        query=np.array([0, 0]),
        passage=np.array([0, 40]),
        grade=np.ones(2, np.int64),
        rank=np.zeros(2, np.int64),
        top=np.full((1, 100), -1),
    )
    found = language_bias([PoolRanking(ranking, ("a",), COUNTS, np.arange(1))], parallel=True)
    assert "top10_language_share" not in found


def ranks_of(question: Question) -> dict[str, list[int]]:
    """The ranks of the answers, by their language."""
    ranks: dict[str, list[int]] = {}
    for position in question.answers:
        ranks.setdefault(language(position), []).append(question.order.index(position) + 1)
    return ranks


@pytest.mark.parametrize("seed", range(3))
def test_published_measures_of_fairness_are_means_over_questions(seed: int) -> None:
    asked = random_asked(seed)
    found = language_bias(pools(asked), parallel=True)
    others = {
        lang: [
            float(np.mean([rank <= 20 for rank in elsewhere]))
            for q in questions
            if (elsewhere := [r for x, ranks in ranks_of(q).items() if x != lang for r in ranks])
        ]
        for lang, questions in asked.items()
    }
    assert_view(found["tlr@20"], others)
    variance = {
        lang: [float(np.var(ranks)) for q in questions if len(ranks := [r for of in ranks_of(q).values() for r in of]) > 1]
        for lang, questions in asked.items()
    }  # fmt: skip
    assert_view(found["rank_variance"], variance)
    fair = {}
    for lang, questions in asked.items():
        fair[lang] = []
        for q in questions:
            groups = [[min(rank, 21) for rank in ranks] for ranks in ranks_of(q).values()]
            alike = len(groups) < 2 or len({r for g in groups for r in g}) < 2
            fair[lang].append(1.0 if alike else scipy.stats.kruskal(*groups).pvalue)
    assert_view(found["peer@20"], fair)


def test_peer_is_left_out_where_every_ranking_would_have_the_same() -> None:
    """A pool that is no larger than the cut-off, with one answer a language."""
    one = PoolRanking(
        replace(
            pools(random_asked(1))[0].ranking,
            setting=Setting("de", ("de", "en")),
            candidates=20,
            query=np.array([0, 0]),
            passage=np.array([1, 12]),
            grade=np.ones(2, np.int64),
            rank=np.array([3, 9]),
            top=None,
        ),
        ("a",),
        {"de": 10, "en": 10},
        np.arange(1),
    )
    assert not [x for x in language_bias([one], parallel=True) if x.startswith("peer")]
    larger = replace(one, ranking=replace(one.ranking, candidates=21))
    assert "peer@20" in language_bias([larger], parallel=True)
    lost = replace(one, ranking=replace(one.ranking, rank=np.array([3, 0])))
    assert "peer@20" in language_bias([lost], parallel=True)
    two = replace(one.ranking, passage=np.array([1, 2, 12]), query=np.zeros(3, int),
                  grade=np.ones(3, np.int64), rank=np.array([3, 9, 4]))  # fmt: skip
    assert "peer@20" in language_bias([replace(one, ranking=two)], parallel=True)


def test_the_gap_to_one_language_is_what_the_pool_loses_of_hits() -> None:
    asked = random_asked(5)
    ranked = []
    for pool, questions in zip(pools(asked), asked.values(), strict=True):
        alone = []
        for q in questions:
            for p in q.answers:
                of_lang = [x for x in q.order if language(x) == language(p)]
                alone.append(of_lang.index(p) + 1)
        ranked.append(replace(pool, in_language=np.array(alone)))
    values = {
        lang: [
            float(
                np.mean([
                    ([x for x in q.order if language(x) == language(p)].index(p) < 10)
                    - float(q.order.index(p) < 10)
                    for p in q.answers
                ])
            )
            for q in questions
        ]
        for lang, questions in asked.items()
    }  # fmt: skip
    assert_view(language_bias(ranked, parallel=True)["oracle_gap@10"], values)
    assert "oracle_gap@10" not in language_bias(pools(asked), parallel=True)


def test_intervals_are_those_of_a_macro_average_over_clusters() -> None:
    asked = random_asked(7, answers=1)
    clusters = np.arange(12) // 3
    clustered = [replace(pool, clusters=clusters) for pool in pools(asked)]
    figure = language_bias(clustered, parallel=True)["rank_distance"]
    sums = np.zeros((4, len(asked)))
    for column, lang in enumerate(sorted(asked)):
        for q in asked[lang]:
            ranks = [q.order.index(p) + 1 for p in q.answers]
            sums[clusters[q.row], column] += max(ranks) - min(ranks)
    counts = np.full(sums.shape, 3)
    (expected,) = intervals(ClusterSums(sums, counts), [range(len(asked))], bounds=(0, np.inf))
    assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high))
    assert figure.mean == pytest.approx(expected.mean)


def test_chance_of_peer_is_that_of_all_orders() -> None:
    query, lang = np.zeros(4, int), np.array([0, 0, 1, 1])
    for deep in (2, 5):
        every = [
            fairness_p(query, np.array(ranks), lang, deep)[1][0]
            for ranks in permutations(range(1, 7), 4)
        ]
        found = expected_fairness_p(query, lang, 6, deep)
        assert found == pytest.approx([np.mean(every)], abs=0.02)
