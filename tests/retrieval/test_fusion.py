"""Fused retrievers against a plain computation, query by query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval.test_exact import rows, sizes
from worlds import World, plain_rows, random_world

from xlir_bench.records import Setting, Silent
from xlir_bench.retrieval import fusion
from xlir_bench.retrieval.fusion import FusedIndex


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
    index = world.index()
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
)
def test_ranks_are_those_of_the_whole_pool_in_its_fused_order(
    seed, queries, passages, distinct, depth, weights, together
) -> None:
    first = random_world(seed, queries, passages, distinct)
    # Other vectors of the same texts.
    second = World(first.collection, random_world(seed + 1, queries, passages, distinct).vectors)
    index = FusedIndex((first.index(), second.index()), depth, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion, "QUERIES", together)
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
