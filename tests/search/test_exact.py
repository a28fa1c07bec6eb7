from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from worlds import World, plain_order, plain_rows, random_world

from xlir_bench.records import Collection, Passages, Queries, Ranking, Relevance, Setting
from xlir_bench.search import Pool, SearchRequest, exact, exact_rankings
from xlir_bench.search.exact import Columns, best


def rankings(world: World, pair_depth: int = 0, pool_depth: int = 100) -> list[Ranking]:
    found = exact_rankings(world.collection, world.pool, world.requests(pair_depth, pool_depth))
    return [ranking for of_language in found for ranking in of_language]


def rows(ranking: Ranking) -> list[tuple[int, ...]]:
    columns = (ranking.query, ranking.passage, ranking.grade, ranking.rank)
    return [tuple(map(int, row)) for row in zip(*columns, strict=True)]


def one_language(
    queries: np.ndarray, passages: np.ndarray, answers: list[tuple[int, int]]
) -> Ranking:
    """The ranking of one monolingual setting."""
    query, passage = np.array(sorted(answers), np.int64).reshape(-1, 2).T
    ids = tuple(f"q{i}" for i in range(len(queries)))
    collection = Collection(
        queries={"en": Queries(ids, ids, ids)},
        passages={"en": Passages(tuple(map(str, range(len(passages)))), [""] * len(passages))},
        relevance={("en", "en"): Relevance(query, passage, np.ones(len(query), np.int64))},
        cluster="question",
        parallel=False,
        digests={},
    )
    request = SearchRequest("en", queries, [Setting("en", ("en",))], pair_depth=10)
    (found,) = next(exact_rankings(collection, Pool.of({"en": passages}), [request]))
    return found


sizes = st.dictionaries(st.sampled_from(["ar", "de", "en", "zh"]), st.integers(1, 14), min_size=1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    distinct=st.sampled_from([None, 1, 2, 5, 12]),
    block=st.integers(1, 200),
)
def test_ranks_are_those_of_a_full_stable_sort(seed, queries, passages, distinct, block) -> None:
    world = random_world(seed, queries, passages, distinct)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "BLOCK_SCORES", block)
        found = rankings(world)
    wanted = [s for lang in world.collection.languages("query") for s in world.settings(lang)]
    assert [r.setting for r in found] == wanted
    for ranking in found:
        assert rows(ranking) == sorted(plain_rows(world, ranking.setting))
        assert ranking.candidates == sum(passages[x] for x in ranking.setting.passage_langs)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    distinct=st.sampled_from([None, 3, 12]),
    pair_depth=st.integers(1, 12),
    pool_depth=st.integers(1, 30),
)
def test_the_best_passages_are_the_head_of_a_full_stable_sort(
    seed, distinct, pair_depth, pool_depth
) -> None:
    world = random_world(seed, {"de": 4, "en": 5}, {"de": 7, "en": 11}, distinct)
    for ranking in rankings(world, pair_depth, pool_depth):
        setting = ranking.setting
        passages = np.concatenate([world.vectors["passage", x] for x in setting.passage_langs])
        queries = world.vectors["query", setting.query_lang][ranking.scored]
        depth = min(pair_depth if len(setting.passage_langs) == 1 else pool_depth, len(passages))
        assert ranking.top is not None
        assert ranking.top.shape == (len(queries), depth)
        for query, top in zip(queries, ranking.top, strict=True):
            assert top.tolist() == plain_order(query, passages)[:depth]


def test_the_relevant_passages_stand_among_the_best_at_their_ranks() -> None:
    world = random_world(1, {"de": 30, "en": 20}, {"de": 40, "en": 60}, distinct=12)
    for ranking in rankings(world, 1000, 1000):
        assert ranking.top is not None
        place = {int(q): i for i, q in enumerate(ranking.scored)}
        for query, passage, _, rank in rows(ranking):
            assert ranking.top[place[query], rank - 1] == passage


def test_no_best_passages_are_kept_unless_asked_for() -> None:
    world = random_world(1, {"en": 3}, {"de": 5, "en": 6})
    assert [r.top is None for r in rankings(world, 0, 0)] == [True] * 3
    assert [r.top is None for r in rankings(world, 0, 4)] == [True, True, False]


def test_an_encoder_that_gives_every_text_one_vector_ranks_by_pool_order() -> None:
    vectors = np.tile(np.random.default_rng(0).standard_normal(384), (700, 1))
    found = one_language(vectors[:40], vectors, [(q, 699 - q * 17) for q in range(40)])
    assert (found.rank == found.passage + 1).all()
    assert found.top is not None
    assert (found.top == np.arange(10)).all()


def test_an_encoder_that_gives_zero_vectors_ranks_by_pool_order() -> None:
    found = one_language(np.zeros((2, 4)), np.zeros((9, 4)), [(0, 8), (1, 3)])
    assert found.rank.tolist() == [9, 4]


def test_a_zero_vector_scores_between_likeness_and_its_opposite() -> None:
    passages = np.array([[-1, 0], [0, 0], [1, 0], [-0.0, -0.0]])
    found = one_language(np.array([[2.0, 0]]), passages, [(0, i) for i in range(4)])
    assert found.rank.tolist() == [4, 2, 1, 3]


def test_equal_vectors_get_equal_scores_wherever_they_stand() -> None:
    """A matrix product does not promise it, and gives 1 in 30 of these another score."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 300, 21_420)
    table = rng.standard_normal((300, 384)).astype(np.float32)
    queries = rng.standard_normal((60, 384)).astype(np.float32)
    answers = [(q, int(p)) for q in range(60) for p in rng.choice(len(kind), 40, replace=False)]
    found = one_language(queries, table[kind], answers)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    scores = (queries.astype(float) @ unit.T.astype(float))[:, kind]
    for row in range(len(queries)):
        order = np.argsort(-scores[row], kind="stable")
        rank = np.empty(len(order), int)
        rank[order] = np.arange(1, len(order) + 1)
        mine = found.query == row
        assert found.rank[mine].tolist() == rank[found.passage[mine]].tolist()


@pytest.mark.parametrize("block", [1, 18, 19, 36, 10**9])
def test_ranks_do_not_depend_on_how_queries_are_cut_into_blocks(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = random_world(5, {"de": 7, "en": 11}, {"de": 8, "en": 10}, distinct=9)
    whole = [(rows(r), r.top) for r in rankings(world, 5, 7)]
    monkeypatch.setattr(exact, "BLOCK_SCORES", block)
    for (wanted, top), found in zip(whole, rankings(world, 5, 7), strict=True):
        assert rows(found) == wanted
        np.testing.assert_array_equal(found.top, top)


def test_queries_without_an_answer_in_the_pool_are_left_out_of_the_setting() -> None:
    vectors = np.eye(3)
    found = one_language(vectors, vectors, [(0, 0), (2, 1), (2, 2)])
    assert found.scored.tolist() == [0, 2]
    assert found.rank.tolist() == [1, 3, 1]
    assert found.top is not None
    assert found.top[:, 0].tolist() == [0, 2]


def test_a_setting_in_which_no_query_has_an_answer_has_an_empty_ranking() -> None:
    found = one_language(np.eye(2), np.eye(2), [])
    assert (len(found.query), len(found.scored), found.candidates) == (0, 0, 2)
    assert found.top is not None
    assert found.top.shape == (0, 2)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    scores=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 12)),
        elements=st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0]),
    ),
    depth=st.integers(1, 14),
)
def test_best_is_the_head_of_a_stable_sort_ties_at_the_end_included(scores, depth) -> None:
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    np.testing.assert_array_equal(best(scores, depth), wanted)


def test_a_repeated_vector_gets_the_scores_of_its_first_occurrence() -> None:
    matrix = np.array([[3, 3], [1, 1], [3, 3], [0.0, 2], [-0.0, 2], [1, 1]], np.float32)
    columns = Columns.of(matrix)
    assert columns.repeated.tolist() == [2, 4, 5]
    assert columns.origin.tolist() == [0, 3, 1]
    assert columns.scores(np.array([[1, 0]], np.float32)).tolist() == [[3, 1, 3, 0, 0, 1]]
