from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import World, plain_order, plain_rows, random_world

from xlir_bench.records import Ranking, Relevance, Setting, Shards, Silent
from xlir_bench.search import SearchRequest, ShardedPool, exact_rankings, sharded, sharded_rankings

sizes = st.dictionaries(st.sampled_from(["ar", "de", "en", "zh"]), st.integers(1, 14), min_size=1)


def in_shards(vectors: np.ndarray, size: int) -> Shards:
    parts = tuple(vectors[i : i + size] for i in range(0, len(vectors), size))
    return Shards(parts, tuple(map(len, parts)), vectors.shape[1])


def pool_of(world: World, shard: int = 5) -> ShardedPool:
    return ShardedPool.of({x: in_shards(world.vectors["passage", x], shard) for x in world.langs})


def rankings(world: World, pair_depth: int = 0, pool_depth: int = 100) -> list[Ranking]:
    requests = world.requests(pair_depth, pool_depth)
    found = sharded_rankings(world.collection, pool_of(world), requests, Silent())
    return [ranking for of_language in found for ranking in of_language]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    distinct=st.sampled_from([None, 1, 2, 5, 12]),
    block=st.integers(1, 6),
    tile=st.tuples(st.integers(1, 5), st.integers(1, 4)),
)
def test_ranks_are_those_of_a_full_stable_sort(
    seed, queries, passages, distinct, block, tile
) -> None:
    world = random_world(seed, queries, passages, distinct)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharded, "BLOCK", block)
        patch.setattr(sharded, "TILE", tile)
        patch.setattr(sharded, "FEW_QUERIES", 1)
        found = rankings(world)
    for ranking in found:
        columns = (ranking.query, ranking.passage, ranking.grade, ranking.rank)
        rows = [tuple(map(int, row)) for row in zip(*columns, strict=True)]
        assert rows == sorted(plain_rows(world, ranking.setting))
        assert ranking.candidates == sum(passages[x] for x in ranking.setting.passage_langs)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    distinct=st.sampled_from([None, 1, 3, 12]),
    block=st.integers(1, 9),
    pair_depth=st.integers(1, 12),
    pool_depth=st.integers(1, 30),
)
def test_the_best_passages_are_the_head_of_a_full_stable_sort(
    seed, distinct, block, pair_depth, pool_depth
) -> None:
    world = random_world(seed, {"de": 4, "en": 5}, {"de": 7, "en": 11}, distinct)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharded, "BLOCK", block)
        patch.setattr(sharded, "TILE", (4, 3))
        found = rankings(world, pair_depth, pool_depth)
    for ranking in found:
        setting = ranking.setting
        passages = np.concatenate([world.vectors["passage", x] for x in setting.passage_langs])
        depth = min(pair_depth if len(setting.passage_langs) == 1 else pool_depth, len(passages))
        queries = world.vectors["query", setting.query_lang][ranking.scored]
        assert ranking.top is not None
        assert ranking.top.shape == (len(queries), depth)
        for row, query in zip(ranking.top, queries, strict=True):
            assert row.tolist() == plain_order(query, passages)[:depth]


def test_a_vector_that_repeats_an_earlier_one_never_stands_before_it_in_whatever_block() -> None:
    rng = np.random.default_rng(0)
    once = rng.standard_normal((300, 384)).astype(np.float32)
    world = random_world(0, {"en": 20}, {"en": 1200}, dimension=384)
    world.vectors["passage", "en"][:] = np.tile(once, (4, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharded, "BLOCK", 130)
        patch.setattr(sharded, "TILE", (9, 50))
        (found,) = rankings(world, pair_depth=1200)
    assert found.top is not None
    for row in found.top:
        # Copies of one vector follow each other, in pool order.
        assert all(b == a + 300 for a, b in pairwise(row.tolist()) if b % 300 == a % 300)
        assert sum(b % 300 == a % 300 for a, b in pairwise(row.tolist())) == 900


def test_a_query_that_is_a_passage_itself_is_none_of_its_candidates() -> None:
    world = random_world(1, {"en": 6}, {"en": 6, "de": 5})
    others = Relevance(np.arange(6), (np.arange(6) + 2) % 6, np.ones(6, np.int64))
    collection = replace(
        world.collection, relevance={("en", "en"): others}, own={"en": np.arange(6)}
    )
    vectors = {**world.vectors, ("query", "en"): world.vectors["passage", "en"]}
    mine = [Setting("en", ("en",)), Setting("en", ("de", "en"))]
    requests = [SearchRequest("en", vectors["query", "en"], mine, 3, 3)]
    (found,) = sharded_rankings(collection, pool_of(world, 4), requests, Silent())
    (plain,) = exact_rankings(collection, world.pool, requests)
    for one, other in zip(found, plain, strict=True):
        assert one.candidates == other.candidates
        assert one.rank.tolist() == other.rank.tolist()
        assert one.top is not None
        assert other.top is not None
        assert one.top.tolist() == other.top.tolist()


def test_rows_of_shards_come_in_the_order_asked_for() -> None:
    vectors = np.arange(22, dtype=np.float32).reshape(11, 2)
    shards = in_shards(vectors, 4)
    wanted = np.array([10, 0, 4, 4, 3])
    assert len(shards) == 11
    assert (shards.rows(wanted) == vectors[wanted]).all()
    blocks = list(shards.blocks(3))
    assert [first for first, _ in blocks] == [0, 3, 4, 7, 8]
    assert (np.concatenate([rows for _, rows in blocks]) == vectors).all()


def test_progress_counts_the_passages_that_are_looked_at() -> None:
    told: list[object] = []

    class Counting(Silent):
        def start(self, stage: str, total: int, unit: str) -> None:
            told.append((stage, total, unit))

        def advance(self, count: int) -> None:
            told.append(count)

    world = random_world(2, {"en": 3}, {"de": 7, "en": 6})
    requests = [SearchRequest("en", world.vectors["query", "en"], [Setting("en", ("de",))])]
    sharded_rankings(world.collection, pool_of(world), requests, Counting())
    assert told == [("search", 7, "passages"), 5, 2]
