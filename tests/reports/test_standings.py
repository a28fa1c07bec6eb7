"""The ranks that encoders may have, and the groups that cannot be told apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from xlir_bench.measures.significance import holm
from xlir_bench.records import Kind, Setting
from xlir_bench.reports.pairing import of_same_queries, pair, standings
from xlir_bench.results.values import QueryValues

SETTINGS = (Setting("de", ("de",)), Setting("en", ("en",)), Setting("de", ("en",)))
CLUSTERS, EACH = 24, 5


def encoders(levels: list[float], spread: float = 0.1, seed: int = 0) -> list[QueryValues]:
    """Values around a level an encoder; questions of an article are alike."""
    rng = np.random.default_rng(seed)
    shape = (len(levels), len(SETTINGS), CLUSTERS, EACH)
    values = np.array(levels)[:, None, None, None] + rng.normal(0, spread, shape[:3])[..., None]
    values = values + rng.normal(0, spread, shape)
    setting, cluster, query = (x.ravel() for x in np.indices(shape[1:]))
    return [
        QueryValues(
            measure="map",
            settings=SETTINGS,
            query_ids=tuple(f"q{i}" for i in range(CLUSTERS * EACH)),
            clusters=tuple(f"c{i}" for i in range(CLUSTERS)),
            setting=setting,
            query=cluster * EACH + query,
            cluster=cluster,
            value=mine.ravel(),
        )
        for mine in values
    ]


@pytest.mark.parametrize("seed", range(5))
def test_ranks_and_letters_are_those_of_every_pair_tested_by_itself(seed):
    levels = [0.3, 0.32, 0.34, 0.36, 0.5, 0.31]
    values = encoders(levels, seed=seed)
    pairs = list(combinations(range(len(values)), 2))
    tests = []
    for i, j in pairs:
        pairing = pair(values[i], values[j])
        tests += pairing.test([pairing.first.of_kinds([Kind.MONOLINGUAL])])
    apart = holm([test.p for test in tests]) < 0.05
    found = standings(values, Kind.MONOLINGUAL)
    assert any(apart)
    assert not all(apart)
    for (i, j), differs in zip(pairs, apart, strict=True):
        assert differs == (not set(found[i].letters) & set(found[j].letters))
    for i, standing in enumerate(found):
        gains = {
            (j if i == a else a): (test.difference if i == b else -test.difference)
            for (a, b), test, differs in zip(pairs, tests, apart, strict=True)
            if differs and i in (a, b)
            for j in [b]
        }
        assert standing.first == 1 + sum(gain < 0 for gain in gains.values())
        assert standing.last == len(values) - sum(gain > 0 for gain in gains.values())


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_that_was_seen_is_one_it_may_have_and_the_best_is_in_the_first_group(seed):
    values = encoders([0.30, 0.31, 0.33, 0.36, 0.40, 0.45, 0.3], seed=seed)
    mean = [v.value[v.setting < 2].mean() for v in values]
    order = np.argsort(np.argsort(-np.array(mean)))
    for standing, rank in zip(standings(values, Kind.MONOLINGUAL), order, strict=True):
        assert standing.first <= rank + 1 <= standing.last
        assert rank > 0 or standing.letters[0] == "a"


def test_encoders_that_nothing_tells_apart_share_all_ranks_and_one_letter():
    (one,) = encoders([0.3])
    for standing in standings([one, one, one], Kind.CROSS_LINGUAL):
        assert (standing.first, standing.last, standing.letters) == (1, 3, ("a",))


def test_one_encoder_has_the_one_rank_there_is():
    (standing,) = standings(encoders([0.3]), Kind.MONOLINGUAL)
    assert (standing.first, standing.last) == (1, 1)
    assert standings([], Kind.MONOLINGUAL) == []


def test_a_chain_of_neighbours_shares_letters_pair_by_pair():
    """The middle one is told apart from neither end, the ends are from each other: two letters."""
    low, middle, high = encoders([0.300, 0.330, 0.360], spread=0.07, seed=2)
    found = standings([low, middle, high], Kind.MONOLINGUAL)
    assert [f.letters for f in found] == [("b",), ("a", "b"), ("a",)]
    assert [(f.first, f.last) for f in found] == [(2, 3), (1, 3), (1, 2)]


def test_values_of_other_queries_are_seen():
    one, two = encoders([0.3, 0.4])
    fewer = QueryValues(
        two.measure, two.settings, two.query_ids, two.clusters,
        two.setting[:-1], two.query[:-1], two.cluster[:-1], two.value[:-1],
    )  # fmt: skip
    assert of_same_queries(one, two)
    assert not of_same_queries(one, fewer)
    assert not of_same_queries(fewer, one)


def test_thirty_encoders_are_tested_in_seconds():
    values = encoders(list(np.linspace(0.2, 0.5, 30)))
    found = standings(values, Kind.MONOLINGUAL)
    assert found[0].last == 30
    assert found[-1].first == 1
