"""Scores over all orders of equal scores, by trying every order."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from worlds import plain_order, random_world

import xlir_bench as xb
from xlir_bench.measures import score
from xlir_bench.measures.ties import tie_ranges
from xlir_bench.records import Kind, Ranking, Setting
from xlir_bench.rendering.numbers import number
from xlir_bench.reports.tables import report
from xlir_bench.retrieval.similarity import normalised

MEASURES = (
    "map", "map@2", "mrr", "mrr@2", "ndcg", "ndcg@3", "dcg@3", "ndcg_burges@3", "recall@2", "precision@2", "hits@3",
    "hit_rate@2", "f1@3", "r-precision", "rbp.80",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_every_measure_is_the_mean_over_all_orders(seed: int) -> None:
    world = random_world(seed, {"de": 6}, {"de": 6, "en": 1}, distinct=3)
    rankings = [r for r in world.rankings() if r.setting == Setting("de", ("de",)) and len(r.query)]
    if not rankings:
        pytest.skip("no passage is relevant in this world")
    (ranking,) = rankings
    (scored,) = score([ranking], MEASURES)
    passages = normalised(world.vectors["passage", "de"]).astype(float)
    sums = np.zeros((3, len(MEASURES)))
    for query in scored.query:
        mine = ranking.query == query
        vector = normalised(world.vectors["query", "de"][query : query + 1]).astype(float)[0]
        scores = (passages @ vector).round(6)
        orders = np.array(
            [p for p in permutations(range(6)) if (np.diff(scores[list(p)]) <= 0).all()]
        )
        assert list(orders[0]) == plain_order(vector, passages) or len(orders) > 1
        places = np.argsort(orders, axis=1)[:, ranking.passage[mine]] + 1
        every = Ranking(
            ranking.setting, 6, np.repeat(np.arange(len(orders)), mine.sum()),
            np.tile(ranking.passage[mine], len(orders)), np.tile(ranking.grade[mine], len(orders)), places.ravel(),
        )  # fmt: skip
        (values,) = score([every], MEASURES)
        for n, measure in enumerate(MEASURES):
            of = values.values[measure]
            sums[:, n] += of.mean(), of.min(), of.max()
    found = tie_ranges([ranking], [scored], MEASURES).get(Kind.MONOLINGUAL, {})
    for n, measure in enumerate(MEASURES):
        mean = float(scored.values[measure].mean())
        stated = found.get(measure)
        expected, low, high = sums[:, n] / len(scored.query)
        got = (mean, mean, mean) if stated is None else (stated.expected, stated.low, stated.high)
        assert got == pytest.approx((expected, low, high), abs=1e-9), measure


def test_ties_are_counted_as_they_stand_in_the_pool() -> None:
    world = random_world(1, {"de": 5, "en": 4}, {"de": 40, "en": 30}, distinct=4)
    for part in (7, 1000):
        for ranking in world.rankings(part=part):
            passages = np.concatenate(
                [world.vectors["passage", x] for x in ranking.setting.passage_langs]
            )
            assert ranking.ties is not None
            for query, place, ties in zip(
                ranking.query, ranking.passage, ranking.ties.T, strict=True
            ):
                scores = normalised(passages) @ normalised(
                    world.vectors["query", ranking.setting.query_lang][query : query + 1]
                )[0]  # fmt: skip
                equal = np.flatnonzero(np.abs(scores - scores[place]) < 1e-6)
                assert ties.tolist() == [(equal < place).sum(), (equal > place).sum()]


def test_no_tie_that_decides_leaves_nothing_to_say() -> None:
    (ranking,) = [r for r in random_world(0, {"de": 8}, {"de": 30}).rankings() if len(r.query)]
    scores = score([ranking], ["map"])
    assert tie_ranges([ranking], scores, ["map"]) == {}
    assert tie_ranges([replace(ranking, ties=None)], scores, ["map"]) == {}


def test_a_constant_encoder_may_be_anything_and_is_chance_on_average() -> None:
    options = xb.RunOptions(cache=None, langs=("de", "en"))
    result = xb.evaluate("mini", lambda texts, _role: np.ones((len(texts), 4)), options)
    for kind, ties in result.record.ties.items():
        of_kind = [s for s in result.record.settings if s.kind == kind]
        assert ties["map"].expected == pytest.approx(np.mean([s.chance_map for s in of_kind]))
        assert ties["map"].low < result.score(kind) < ties["map"].high
        assert ties["map"].high == pytest.approx(1)
    lines = [line for b in report(result.record) for line in getattr(b, "lines", ())]
    (told,) = [line for line in lines if re.search(r"monolingual map\b.*\bequal scores", line)]
    ties = result.record.ties[Kind.MONOLINGUAL]["map"]
    figures = [number(x) for x in (ties.expected, ties.low, ties.high)]
    assert re.findall(r"\d*\.\d+", told) == figures
