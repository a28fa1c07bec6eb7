from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import World, in_parts, plain_order, plain_rows, random_world

from xlir_bench.records import Collection, Passages, Queries, Ranking, Relevance, Setting, Silent
from xlir_bench.retrieval import Dense, Partial, VectorIndex, Vectors, Want, tiles, vector_index


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
    index = VectorIndex.of(
        {("query", "en"): Vectors.of(queries), ("passage", "en"): Vectors.of(passages)}
    )
    want = Want.of(collection, [Setting("en", ("en",))], pair_depth=10)
    ((found,),) = (its.rankings() for its in index.search([want], Silent()))
    return found


sizes = st.dictionaries(st.sampled_from(["ar", "de", "en", "zh"]), st.integers(1, 14), min_size=1)


@contextmanager
def cut(block: int, share: int, few: int, listed: int) -> Iterator[None]:
    """Passages, queries and lists in pieces so small that every seam is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_index, "BLOCK", block)
        patch.setattr(vector_index, "SHARE", share)
        patch.setattr(vector_index, "FEW_ROWS", few)
        patch.setattr(tiles, "LISTED", block + listed)
        yield


cuts = st.tuples(
    st.integers(1, 30), st.integers(1, 5), st.integers(1, 3), st.integers(1, 40), st.integers(1, 9)
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), langs=sizes, pieces=cuts)
def test_each_language_may_be_searched_in_a_language_of_its_own(seed, langs, pieces) -> None:
    """One pass over blocks of which every question wants another part."""
    world = random_world(seed, langs, langs, 5)
    index = world.index(pieces[4])
    wants = [
        Want.of(world.collection, [Setting(lang, (other,))], pair_depth=3)
        for lang, other in zip(sorted(langs), sorted(langs, reverse=True), strict=True)
    ]
    with cut(*pieces[:4]):
        found = [r for partial in index.search(wants, Silent()) for r in partial.rankings()]
    for ranking in found:
        assert rows(ranking) == sorted(plain_rows(world, ranking.setting))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    distinct=st.sampled_from([None, 1, 2, 5, 12]),
    pieces=cuts,
)
def test_ranks_are_those_of_a_full_stable_sort(seed, queries, passages, distinct, pieces) -> None:
    world = random_world(seed, queries, passages, distinct)
    with cut(*pieces[:4]):
        found = world.rankings(part=pieces[4])
    wanted = [s for lang in world.collection.languages("query") for s in world.settings(lang)]
    assert [r.setting for r in found] == wanted
    for ranking in found:
        assert rows(ranking) == sorted(plain_rows(world, ranking.setting))
        assert ranking.candidates == sum(passages[x] for x in ranking.setting.passage_langs)


@pytest.mark.parametrize("listed", [1, 40, 100_000])
@pytest.mark.parametrize("distinct", [None, 1, 30])
def test_ranks_of_queries_with_many_answers_are_those_of_a_full_stable_sort(
    distinct: int | None, listed: int
) -> None:
    """Their columns are sorted into bins first; lists that are too short for it send them back to the plain loop."""
    rng = np.random.default_rng(distinct)
    queries = rng.standard_normal((5, 8)).astype(np.float32)
    passages = rng.standard_normal((distinct or 400, 8)).astype(np.float32)
    passages = passages[rng.integers(0, len(passages), 400)]
    asked = [rng.choice(400, count, replace=False) for count in (60, 3, 90, 24, 400)]
    answers = [(query, int(passage)) for query, of in enumerate(asked) for passage in of]
    with cut(200, 5, 1, listed):
        found = one_language(queries, passages, answers)
    for query in range(5):
        order = plain_order(queries[query], passages)
        mine = found.query == query
        assert [order[rank - 1] for rank in found.rank[mine]] == found.passage[mine].tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    distinct=st.sampled_from([None, 1, 3, 12]),
    pair_depth=st.integers(1, 12),
    pool_depth=st.integers(1, 30),
    pieces=cuts,
)
def test_the_best_passages_are_the_head_of_a_full_stable_sort(
    seed, distinct, pair_depth, pool_depth, pieces
) -> None:
    world = random_world(seed, {"de": 4, "en": 5}, {"de": 7, "en": 19}, distinct)
    with cut(*pieces[:4]):
        found = world.rankings(pair_depth, pool_depth, pieces[4])
    for ranking in found:
        setting = ranking.setting
        passages = np.concatenate([world.vectors["passage", x] for x in setting.passage_langs])
        queries = world.vectors["query", setting.query_lang][ranking.scored]
        depth = min(pair_depth if len(setting.passage_langs) == 1 else pool_depth, len(passages))
        assert ranking.top is not None
        assert ranking.top_scores is not None
        assert ranking.top.shape == ranking.top_scores.shape == (len(queries), depth)
        for query, top, scores in zip(queries, ranking.top, ranking.top_scores, strict=True):
            assert top.tolist() == plain_order(query, passages)[:depth]
            np.testing.assert_allclose(scores, cosines(query, passages[top]), atol=1e-6)


def cosines(query: np.ndarray, passages: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(query) * np.linalg.norm(passages, axis=1)
    return np.where(lengths > 0, passages @ query / np.maximum(lengths, 1e-30), 0)


@pytest.mark.parametrize("count", [129, 500, 3000])
@pytest.mark.parametrize("order", ["as they come", "best last", "best first", "all alike"])
def test_the_best_of_many_are_found_in_whatever_order_they_come(count: int, order: str) -> None:
    rng = np.random.default_rng(count)
    query, passages = rng.standard_normal((1, 24)), rng.standard_normal((count, 24))
    likeness = cosines(query[0], passages)
    if order == "all alike":
        passages[:] = passages[0]
    elif order != "as they come":
        passages = passages[np.argsort(-likeness if order == "best first" else likeness)]
    found = one_language(query.astype("f4"), passages.astype("f4"), [(0, 3)])
    assert found.top is not None
    assert found.top[0].tolist() == plain_order(query[0].astype("f4"), passages.astype("f4"))[:10]


def test_scores_by_inner_product_weigh_length() -> None:
    rng = np.random.default_rng(0)
    queries, passages = rng.standard_normal((4, 8)) * 50, rng.standard_normal((300, 8)) * 1e4
    passages[::7] = passages[0]
    vectors = {
        ("query", "en"): Vectors.of(queries.astype("f4")),
        ("passage", "en"): in_parts(passages.astype("f4"), 100),
    }
    index = VectorIndex.of(vectors, Dense(cosine=False))
    asked = np.repeat(np.arange(4), 3), np.tile([0, 7, 150], 4)
    judged = Relevance(asked[0], asked[1], np.ones(12, np.int64))
    collection = random_world(0, {"en": 4}, {"en": 300}).collection
    collection = replace(collection, relevance={("en", "en"): judged})
    want = Want.of(collection, [Setting("en", ("en",))], pair_depth=20)
    (found,) = index.search([want], Silent())
    (ranking,) = found.rankings()
    true = queries.astype("f4").astype(float) @ passages.astype("f4").astype(float).T
    order = np.argsort(-true, axis=1, kind="stable")
    assert ranking.top is not None
    assert ranking.top.tolist() == order[:, :20].tolist()
    place = np.argsort(order, axis=1)
    assert ranking.rank.tolist() == (place[asked[0], asked[1]] + 1).tolist()
    np.testing.assert_allclose(
        index.scores(Setting("en", ("en",)), *asked), true[asked[0], asked[1]]
    )


def test_what_is_found_in_parts_of_a_pool_adds_up_to_the_whole() -> None:
    world = random_world(4, {"de": 6, "en": 9}, {"de": 30, "en": 40}, distinct=12)
    wants = world.wants(7, 11)
    whole = world.index().search(wants, Silent())
    parts = np.random.default_rng(0).permutation(70)
    for want, wanted in zip(wants, whole, strict=True):
        found = Partial.of(want)
        for mine in (parts[:20], parts[20:21], parts[21:]):
            found.merge(seen_in(world, want, np.sort(mine)))
        for pooled, before in wanted.before.items():
            assert found.before[pooled].tolist() == before.tolist()
        for setting, best in wanted.best.items():
            assert found.best[setting].positions.tolist() == best.positions.tolist()


def seen_in(world: World, want: Want, positions: np.ndarray) -> Partial:
    """What a plain search of these positions alone finds."""
    index = world.index()
    found = Partial.of(want)
    for query in range(len(world.collection.queries[want.query_lang].ids)):
        score = index.scores(want.settings[0], np.full(len(positions), query), positions)
        for setting, best in found.best.items():
            rows = want.pool.rows(setting)
            inside = (positions >= rows.start) & (positions < rows.stop)
            best.add(np.full(inside.sum(), query), score[inside], positions[inside])
        for item in np.flatnonzero(want.relevant.query == query):
            at = want.relevant.position[item : item + 1]
            own = index.scores(want.settings[0], np.array([query]), at)[0]
            earlier = (score > own) | ((score == own) & (positions < at[0]))
            lang = want.pool.bounds[want.pool.langs[want.relevant.lang[item]]]
            found.before[True][item] = earlier.sum()
            inside = (positions >= lang.start) & (positions < lang.stop)
            found.before[False][item] = (earlier & inside).sum()
    return found


def test_only_the_languages_asked_for_are_looked_at() -> None:
    told: list[object] = []

    class Counting(Silent):
        def start(self, stage: str, total: int, unit: str) -> None:
            told.append((stage, total, unit))

        def advance(self, count: int) -> None:
            told.append(count)

    world = random_world(2, {"en": 3}, {"ar": 7, "de": 4, "en": 6, "zh": 2})
    index = world.index(5)
    mine = [Setting("en", ("ar",)), Setting("en", ("en",)), Setting("en", ("zh",))]
    want = Want.of(world.collection, mine)
    (found,) = index.search([want], Counting())
    assert told == [("search", 15, "passages"), 7, 8]
    for ranking in found.rankings():
        assert rows(ranking) == sorted(plain_rows(world, ranking.setting))


def test_a_query_that_is_a_passage_itself_is_none_of_its_candidates() -> None:
    world = random_world(1, {"en": 6}, {"en": 6, "de": 5})
    others = Relevance(np.arange(6), (np.arange(6) + 2) % 6, np.ones(6, np.int64))
    collection = replace(
        world.collection, relevance={("en", "en"): others}, own={"en": np.arange(6)}
    )
    vectors = {**world.vectors, ("query", "en"): world.vectors["passage", "en"]}
    world = World(collection, vectors)
    mine = [Setting("en", ("en",)), Setting("en", ("de", "en"))]
    want = Want.of(collection, mine, 9, 9)
    (found,) = world.index(4).search([want], Silent())
    for ranking, size in zip(found.rankings(), (6, 11), strict=True):
        assert ranking.candidates == size - 1
        assert ranking.top is not None
        passages = np.concatenate([vectors["passage", x] for x in ranking.setting.passage_langs])
        for query, top in enumerate(ranking.top):
            own = query + size - 6
            plain = [p for p in plain_order(vectors["query", "en"][query], passages) if p != own]
            assert top.tolist() == plain[: len(top)]
            assert ranking.rank[query] == plain.index((query + 2) % 6 + size - 6) + 1


def test_the_relevant_passages_stand_among_the_best_at_their_ranks() -> None:
    world = random_world(1, {"de": 30, "en": 20}, {"de": 40, "en": 60}, distinct=12)
    for ranking in world.rankings(1000, 1000):
        assert ranking.top is not None
        place = {int(q): i for i, q in enumerate(ranking.scored)}
        for query, passage, _, rank in rows(ranking):
            assert ranking.top[place[query], rank - 1] == passage


def test_no_best_passages_are_kept_unless_asked_for() -> None:
    world = random_world(1, {"en": 3}, {"de": 5, "en": 6})
    assert [r.top is None for r in world.rankings(0, 0)] == [True] * 3
    assert [r.top is None for r in world.rankings(0, 4)] == [True, True, False]


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
