"""Two results side by side: values are matched by name, and mean what result.json says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from changed import (
    changed,
    evaluated,
    paired_difference,
    queries,
    ranks,
    times,
    with_tables,
)

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.records import Kind
from xlir_bench.reports.pairing import pair
from xlir_bench.results.values import RANK_DISTANCE


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("measure", ["map", "recall@10"])
def test_a_difference_is_that_of_the_macro_averages(kind, measure):
    first, second = evaluated("builtin:ngram"), evaluated("builtin:random")
    found = paired_difference(first, second, kind, measure)
    expected = second.score(kind, measure) - first.score(kind, measure)
    assert found.difference == pytest.approx(expected)
    assert found.low < found.difference < found.high
    assert found.clusters == first.record.task.clusters
    assert found.queries == sum(s.queries for s in first.record.settings if s.kind == kind)


def test_rank_distance_made_from_ranks_is_that_of_the_result():
    first, second = evaluated("builtin:ngram"), evaluated("builtin:random")
    pairing = pair(first.values(RANK_DISTANCE), second.values(RANK_DISTANCE))
    means = pairing.means([pairing.first.of_kinds([Kind.MULTILINGUAL])])[0]
    assert means == pytest.approx([r.record.bias["rank_distance"].mean for r in (first, second)])


def test_an_answer_that_an_index_missed_counts_as_the_last_in_its_rank_distance():
    frame = ranks(evaluated())
    pooled = frame[frame["kind"] == "multilingual"]
    one = pooled["query_id"].iloc[0]
    mine = (
        (frame["kind"] == "multilingual")
        & (frame["query_id"] == one)
        & (frame["query_lang"] == "de")
    )
    frame.loc[mine, "rank"] = np.array([1, 2, 0], np.int32)
    missed = with_tables(evaluated(), ranks=pa.Table.from_pandas(frame, preserve_index=False))
    values = missed.values(RANK_DISTANCE)
    de = next(i for i, s in enumerate(values.settings) if str(s) == "de-*")
    row = (values.setting == de) & (values.query == values.query_ids.index(one))
    assert values.value[row] == [evaluated().record.settings[de].candidates - 1]


def test_the_order_of_rows_and_names_makes_no_difference():
    first = evaluated()
    frame = queries(changed(first, times(0.5))).sample(frac=1, random_state=0)
    shuffled = with_tables(first, queries=pa.Table.from_pandas(frame, preserve_index=False))
    found = paired_difference(first, shuffled, Kind.CROSS_LINGUAL, "map")
    assert found == paired_difference(first, changed(first, times(0.5)), Kind.CROSS_LINGUAL, "map")


def test_queries_that_one_result_lacks_are_left_out():
    first = evaluated()
    frame = queries(first)
    frame = frame[frame["query_id"] != frame["query_id"].iloc[0]]
    fewer = with_tables(first, queries=pa.Table.from_pandas(frame, preserve_index=False))
    found = paired_difference(first, fewer, Kind.MONOLINGUAL, "map")
    assert found.queries == 3 * 71
    assert found.difference == 0


def test_values_are_sorted_by_setting_and_query():
    values = evaluated().values("map")
    keys = values.setting * len(values.query_ids) + values.query
    assert np.all(np.diff(keys) > 0)


def test_a_measure_that_is_not_there_gets_a_near_miss():
    with pytest.raises(UnknownNameError, match=r"'recal@10'.*'recall@10'"):
        evaluated().values("recal@10")


def test_without_its_tables_a_result_cannot_be_compared():
    bare = evaluated()
    bare = type(bare)(bare.record, {})
    with pytest.raises(InputError, match=r"no table\b.*\branks\b.*result\.json"):
        bare.values("map")


def test_tables_of_another_result_are_refused():
    frame = queries(evaluated())
    frame["query_id"] = frame["query_id"] + "x"
    foreign = with_tables(evaluated(), queries=pa.Table.from_pandas(frame, preserve_index=False))
    with pytest.raises(InputError, match=r"not belong.*result\.json"):
        foreign.values("map")
