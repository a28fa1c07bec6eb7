"""Values of single queries, made from ranks or read from a table, against the tables' own rows."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from xlir_bench import Result
from xlir_bench.records import Kind
from xlir_bench.results.values import StoredRankings, values_of_table


@pytest.fixture(scope="module")
def table(result: Result) -> pa.Table:
    return result.table("queries")


def test_ranks_in_any_order_give_every_query_its_value(result: Result, table: pa.Table) -> None:
    ranks = result.table("ranks")
    mixed = ranks.take(np.random.default_rng(0).permutation(ranks.num_rows))
    found = StoredRankings(mixed, result.record).values("map")
    rows = {
        (found.settings[s].query_lang, found.settings[s].passage_lang, found.query_ids[q]): (
            found.clusters[c],
            value,
        )
        for s, q, c, value in zip(
            found.setting, found.query, found.cluster, found.value, strict=True
        )
    }
    wanted = {
        (row["query_lang"], row["passage_lang"], row["query_id"]): (row["cluster"], row["value"])
        for row in table.to_pylist()
        if row["measure"] == "map"
    }
    assert rows == wanted


def test_a_stored_table_gives_the_same_values_as_its_ranks(result: Result, table: pa.Table) -> None:
    from_ranks = StoredRankings(result.table("ranks"), result.record).values("mrr")
    for shuffled in (table, table.take(np.random.default_rng(0).permutation(table.num_rows))):
        found = values_of_table(shuffled, "mrr", result.record, None)
        assert found.settings == from_ranks.settings
        for setting in range(len(found.settings)):
            of = [
                {
                    (v.query_ids[q], v.clusters[c], x)
                    for q, c, x in zip(
                        v.query[v.setting == setting],
                        v.cluster[v.setting == setting],
                        v.value[v.setting == setting],
                        strict=True,
                    )
                }
                for v in (found, from_ranks)
            ]
            assert of[0] == of[1]
            assert len(of[0]) == result.record.settings[setting].queries
    assert len(values_of_table(table, "no such measure", result.record, None).value) == 0


def test_plain_text_columns_are_read_like_those_of_codes(result: Result, table: pa.Table) -> None:
    plain = pa.table({
        name: pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    })  # fmt: skip
    found, wanted = (values_of_table(t, "map", result.record, None) for t in (plain, table))
    assert found.value.tolist() == wanted.value.tolist()
    assert found.query_ids == wanted.query_ids


def test_rows_of_no_setting_and_of_no_cluster_are_refused(result: Result, table: pa.Table) -> None:
    only = [s for s in result.record.settings if s.query_lang != "ar"]
    other = result.record.model_copy(update={"settings": only})
    with pytest.raises(ValueError, match="unknown setting"):
        values_of_table(table, "map", other, None)
    with pytest.raises(ValueError, match="unknown setting"):
        StoredRankings(result.table("ranks"), other)
    ranks = result.table("ranks")
    some = ranks.filter(
        pc.not_equal(pc.cast(ranks["query_id"], pa.string()), ranks["query_id"][0].as_py())
    )
    with pytest.raises(ValueError, match="query without a cluster"):
        values_of_table(table, "map", result.record, some)


def test_a_question_has_its_mean_over_settings_of_some_kinds(
    result: Result, table: pa.Table
) -> None:
    values = StoredRankings(result.table("ranks"), result.record).values("map")
    for kinds in (tuple(Kind), (Kind.CROSS_LINGUAL,)):
        wanted = defaultdict(list)
        for row in table.to_pylist():
            if row["measure"] == "map" and row["kind"] in kinds:
                wanted[row["query_lang"], row["query_id"]].append(row["value"])
        found = values.by_question(kinds)
        assert found.keys() == wanted.keys()
        for question, (mean, count) in found.items():
            assert mean == pytest.approx(fmean(wanted[question]))
            assert count == len(wanted[question])


def test_sums_are_by_cluster_and_setting(result: Result) -> None:
    values = StoredRankings(result.table("ranks"), result.record).values("recall@1")
    pools = values.of_kinds([Kind.MULTILINGUAL])
    assert [values.settings[i].kind for i in pools] == [Kind.MULTILINGUAL] * 3
    found = values.sums(pools)
    assert found.sums.shape == (len(values.clusters), 3)
    for column, setting in enumerate(pools):
        for cluster in range(len(values.clusters)):
            at = (values.setting == setting) & (values.cluster == cluster)
            assert found.sums[cluster, column] == pytest.approx(values.value[at].sum())
            assert found.sizes[cluster, column] == at.sum()
