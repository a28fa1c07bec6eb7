from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from worlds import World, plain_order, random_world

from xlir_bench import Result
from xlir_bench.measures import score
from xlir_bench.records import Ranking
from xlir_bench.results.tables import best_table, ranks_table, run_table
from xlir_bench.results.values import values_of_scores, values_table


@pytest.fixture(scope="module")
def world() -> World:
    return random_world(2, {"de": 8, "en": 7, "fr": 3}, {"de": 11, "en": 9}, distinct=9)


@pytest.fixture(scope="module")
def rankings(world: World) -> list[Ranking]:
    return world.rankings(4, 4)


def test_every_relevant_passage_of_every_setting_has_a_row(
    world: World, rankings: list[Ranking]
) -> None:
    table = ranks_table(rankings, world.collection).to_pylist()
    wanted = []
    for r in rankings:
        langs = r.setting.passage_langs
        ids = [name for lang in langs for name in world.collection.passages[lang].ids]
        asked = world.collection.queries[r.setting.query_lang]
        for query, passage, grade, rank in zip(r.query, r.passage, r.grade, r.rank, strict=True):
            wanted.append({
                "kind": r.setting.kind.value,
                "query_lang": r.setting.query_lang,
                "query_id": asked.ids[query],
                "cluster": asked.clusters[query],
                "passage_id": ids[passage],
                "passage_lang": ids[passage].split(":")[0],
                "grade": grade,
                "rank": rank,
            })  # fmt: skip
    assert {row["kind"] for row in wanted} == {"monolingual", "cross-lingual", "multilingual"}
    assert table == wanted


def test_every_measure_of_every_scored_query_has_a_row(
    world: World, rankings: list[Ranking]
) -> None:
    measures = ["map", "recall@1"]
    scores = score(rankings, measures)
    wanted = [
        {
            "kind": s.setting.kind.value,
            "query_lang": s.setting.query_lang,
            "passage_lang": s.setting.passage_lang,
            "query_id": world.collection.queries[s.setting.query_lang].ids[query],
            "cluster": world.collection.queries[s.setting.query_lang].clusters[query],
            "measure": measure,
            "value": value,
        }
        for measure in measures
        for s in scores
        for query, value in zip(s.query, s.values[measure], strict=True)
    ]
    found = [values_of_scores(scores, m, world.collection.queries) for m in measures]
    assert values_table(found).to_pylist() == wanted


def test_the_best_passages_stand_in_order_with_their_scores(
    world: World, rankings: list[Ranking]
) -> None:
    rows = run_table(rankings, world.collection, 3).to_pylist()
    groups: dict[tuple[str, ...], list[dict]] = {}
    for row in rows:
        groups.setdefault(
            (row["kind"], row["query_lang"], row["passage_lang"], row["query_id"]), []
        ).append(row)
    assert len(groups) == sum(len(r.scored) for r in rankings)
    for r in rankings:
        ids = [x for lang in r.setting.passage_langs for x in world.collection.passages[lang].ids]
        passages = np.concatenate([world.vectors["passage", x] for x in r.setting.passage_langs])
        for query in r.scored:
            vector = world.vectors["query", r.setting.query_lang][query]
            key = (r.setting.kind.value, r.setting.query_lang, r.setting.passage_lang, f"q{query}")
            found = groups[key]
            assert [row["rank"] for row in found] == [1, 2, 3]
            assert [row["passage_id"] for row in found] == [
                ids[p] for p in plain_order(vector, passages)[:3]
            ]
            assert all(a["score"] >= b["score"] - 1e-6 for a, b in pairwise(found))


def test_the_best_of_a_pool_each_have_their_own_language(
    world: World, rankings: list[Ranking]
) -> None:
    pools = [r for r in rankings if r.setting.kind == "multilingual"]
    rows = best_table([*rankings, replace(pools[0], top=None)], world.collection).to_pylist()
    wanted = []
    for r in pools:
        names = [
            (x, lang)
            for lang in r.setting.passage_langs
            for x in world.collection.passages[lang].ids
        ]
        for query, top in zip(r.scored, r.top, strict=True):
            for rank, place in enumerate(top, start=1):
                passage, lang = names[place]
                wanted.append({
                    "query_lang": r.setting.query_lang, "query_id": f"q{query}", "passage_id": passage,
                    "passage_lang": lang, "rank": rank,
                })  # fmt: skip
    assert [{name: row[name] for name in wanted[0]} for row in rows] == wanted


def test_padding_of_an_index_is_no_row(world: World, rankings: list[Ranking]) -> None:
    (r,) = [r for r in rankings if str(r.setting) == "en-*"]
    top = np.full((len(r.scored), 3), -1)
    top[:, 0] = 5
    padded = replace(r, top=top, top_scores=np.zeros(top.shape))
    table = run_table([padded], world.collection, 3)
    assert table.column("rank").to_pylist() == [1] * len(r.scored)
    assert best_table([padded], world.collection).column("rank").to_pylist() == [1] * len(r.scored)
    for unknown in ({"top": None}, {"top_scores": None}):
        assert run_table([replace(padded, **unknown)], world.collection, 3).num_rows == 0


def test_tables_of_nothing_have_their_columns(world: World) -> None:
    assert ranks_table([], world.collection).column_names[-1] == "rank"
    assert values_table([]).num_rows == 0
    assert run_table([], world.collection, 3).num_rows == 0


def test_a_run_keeps_no_values_that_its_ranks_give(result: Result) -> None:
    assert set(result.tables) == {"ranks", "best", "run", "scores"}
    assert result.table("queries").num_rows == 6 * sum(s.queries for s in result.record.settings)


def test_names_are_stored_once_and_not_per_row(result: Result) -> None:
    for name, columns in {
        "ranks": ["kind", "query_lang", "query_id", "cluster", "passage_id", "passage_lang"],
        "queries": ["kind", "query_lang", "passage_lang", "query_id", "cluster", "measure"],
    }.items():
        for column in columns:
            assert pa.types.is_dictionary(result.table(name).schema.field(column).type)


def test_every_figure_can_be_made_again_from_the_tables(result: Result) -> None:
    """Without the encoder: that is what they are kept for."""
    ranks = result.tables["ranks"].to_pandas().astype({"kind": str, "query_lang": str})
    values = result.table("queries").to_pandas().astype({"kind": str, "query_lang": str})
    pool = ranks[ranks.kind == "multilingual"].groupby(["query_lang", "query_id"], observed=True)
    spread = (pool["rank"].max() - pool["rank"].min()).groupby("query_lang").mean()
    distance = result.record.bias["rank_distance"]
    assert distance.by_query_lang == pytest.approx(spread.to_dict())
    for setting in result.record.settings:
        there = "*" if len(setting.passage_langs) > 1 else setting.passage_langs[0]
        mine = values[
            (values.kind == setting.kind)
            & (values.query_lang == setting.query_lang)
            & (values.passage_lang == there)
        ]
        means = mine.groupby("measure", observed=True)["value"].mean().to_dict()
        assert setting.measures == pytest.approx(means)
        if setting.kind != "multilingual":
            one = ranks[
                (ranks.kind == setting.kind)
                & (ranks.query_lang == setting.query_lang)
                & (ranks.passage_lang == there)
            ]
            best = 1 / one.groupby("query_id", observed=True)["rank"].min()
            assert setting.measures["mrr"] == pytest.approx(best.mean())
