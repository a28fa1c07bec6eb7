"""Fused retrievers against a plain computation, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval.test_vector_index import rows, sizes
from scipy.sparse import csr_array
from worlds import World, plain_rows, random_world

from xlir_bench.encoders.multivector import TokenVectors
from xlir_bench.records import Setting, Silent
from xlir_bench.retrieval import VectorIndex, Vectors, fusion
from xlir_bench.retrieval.fusion import FusedIndex
from xlir_bench.retrieval.lexical import BM25Index
from xlir_bench.retrieval.similarity import MaxSim

LISTED, SCORED = 0, 1_000_000
"""What it has to cost to list passages, so that all pools are gone through by lists, and so that none is."""


def plain_fused(
    worlds: Sequence[World],
    setting: Setting,
    query: int,
    depth: int,
    weights: Sequence[float] | None,
) -> list[int]:
    """The whole pool in its fused order."""
    passages = sum(len(worlds[0].vectors["passage", x]) for x in setting.passage_langs)
    scores = [index_scores(w, setting, query) for w in worlds]
    orders = [sorted(range(passages), key=lambda p: (-s[p], p)) for s in scores]
    together: set[int] = set()
    for order, of_one in zip(orders, scores, strict=True):
        listed = order[:depth]
        if len(listed) < passages:
            listed = [p for p in listed if of_one[p] != of_one[listed[-1]]]
        together.update(listed)

    there = sorted(together)

    def fused(p: int) -> float:
        total = 0.0
        for number, s in enumerate(scores):
            if weights is None:
                total += 1 / (60 + 1 + (s[there] > s[p]).sum())
            else:
                low, high = s[there].min(), s[there].max()
                total += weights[number] * ((s[p] - low) / (high - low) if high > low else 0)
        return total

    sums = {p: fused(p) for p in together}
    head = sorted(together, key=lambda p: (-sums[p], -scores[0][p], p))
    return head + [p for p in orders[0] if p not in together]


def index_scores(world: World, setting: Setting, query: int) -> np.ndarray:
    index = world.whole_index
    bounds = index.pool.rows(setting)
    positions = np.arange(bounds.start, bounds.stop)
    return index.scores(setting, np.full(len(positions), query), positions)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    distinct=st.sampled_from([None, 2, 5]),
    depth=st.integers(1, 20),
    weights=st.sampled_from([None, (1.0, 0.5), (0.0, 1.0)]),
    together=st.integers(1, 9),
    listing=st.sampled_from([LISTED, SCORED]),
)
def test_ranks_are_those_of_the_whole_pool_in_its_fused_order(
    seed, queries, passages, distinct, depth, weights, together, listing
) -> None:
    first = random_world(seed, queries, passages, distinct)
    # Other vectors of the same texts.
    second = World(first.collection, random_world(seed + 1, queries, passages, distinct).vectors)
    index = FusedIndex((first.index(), second.index()), depth, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion, "QUERIES", together)
        patch.setattr(fusion, "LISTING", listing)
        found = list(index.search(first.wants(pair_depth=4), Silent()))
    for ranking in (r for p in found for r in p.rankings()):
        plain = {
            q: plain_fused((first, second), ranking.setting, q, depth, weights)
            for q in np.unique(ranking.query)
        }
        assert rows(ranking) == sorted(
            (q, p, grade, plain[q].index(p) + 1)
            for q, p, grade, _ in plain_rows(first, ranking.setting)
        )
        if ranking.top is not None:
            for top, order in zip(ranking.top, plain.values(), strict=True):
                assert list(top) == order[: len(top)]


KINDS = ["vectors", "words", "tokens"]


def index_of(world: World, kind: str, seed: int) -> VectorIndex | BM25Index:
    """Few different texts, so that most scores are ties, and some texts that are alike to everything."""
    if kind == "vectors":
        return world.index(part=3)
    rng = np.random.default_rng(seed)
    counts, tokens = {}, {}
    for key, vectors in world.vectors.items():
        counts[key] = csr_array(rng.integers(0, 2, (len(vectors), 4)).astype(np.int32))
        ends = np.concatenate([[0], rng.integers(0, 3, len(vectors)).cumsum()])
        made = rng.integers(-1, 2, (ends[-1], 3)).astype(np.float32)
        tokens[key] = Vectors.of(TokenVectors(made, ends))
    return BM25Index.of(counts) if kind == "words" else VectorIndex.of(tokens, MaxSim(), block=4)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    distinct=st.sampled_from([None, 1, 2, 5]),
    depth=st.integers(1, 20),
    weights=st.sampled_from([None, (1.0, 0.5)]),
    cells=st.integers(1, 60),
)
def test_a_pool_that_is_listed_and_one_that_is_scored_whole_are_the_same_to_the_bit(
    seed, kinds, distinct, depth, weights, cells
) -> None:
    world = random_world(seed, {"de": 7, "en": 4}, {"de": 9, "en": 13, "zh": 1}, distinct)
    # German questions are German passages, which are none of their candidates, nor relevant to themselves.
    judged = {pair: x for pair, x in world.collection.relevance.items() if pair != ("de", "de")}
    collection = replace(world.collection, own={"de": np.arange(7)}, relevance=judged)
    world = World(
        collection, {**world.vectors, ("query", "de"): world.vectors["passage", "de"][:7]}
    )
    indexes = tuple(index_of(world, kind, seed + n) for n, kind in enumerate(kinds))
    found = []
    for listing in (LISTED, SCORED):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fusion, "LISTING", listing)
            patch.setattr(fusion, "CELLS", cells)
            index = FusedIndex(indexes, depth, weights)
            found.append(list(index.search(world.wants(6, 30), Silent())))
    for listed, scored in zip(*found, strict=True):
        for pooled, before in listed.before.items():
            assert before.tolist() == scored.before[pooled].tolist()
        for setting, best in listed.best.items():
            assert best.positions.tolist() == scored.best[setting].positions.tolist()
            assert best.scores.tolist() == scored.best[setting].scores.tolist()
