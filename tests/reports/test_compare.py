"""`compare`: what two results say of each other, and which results cannot be compared."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from changed import changed, evaluated, queries, stated, times

from xlir_bench import Result
from xlir_bench.errors import NotComparableError, UnknownNameError
from xlir_bench.records import Kind
from xlir_bench.rendering.document import render
from xlir_bench.reports.compare import (
    compare,
    compare_all,
    comparison_blocks,
    comparison_record,
    most_moved,
    pairs_blocks,
)
from xlir_bench.results.schema import OptionsPart


@pytest.fixture(scope="module")
def found():
    return compare(evaluated("builtin:ngram"), evaluated("builtin:random"))


def test_it_has_a_row_for_each_kind_language_and_setting(found):
    assert [row.kind for row in found.kinds] == list(Kind)
    assert [row.settings for row in found.kinds] == [3, 6, 3]
    assert len(found.langs) == 9
    assert len(found.settings) == 12


def test_values_are_those_of_the_results(found):
    for row in found.kinds:
        assert row.first == pytest.approx(evaluated("builtin:ngram").score(row.kind))
        assert row.second == pytest.approx(evaluated("builtin:random").score(row.kind))
        assert row.test.difference == pytest.approx(row.second - row.first)


def test_p_is_corrected_for_every_setting_tested_not_for_those_shown(found):
    smallest = min(row.test.p for row in found.settings)
    first = next(row for row in found.settings if row.test.p == smallest)
    assert first.p_holm == pytest.approx(min(1, 12 * smallest))


def test_kinds_and_rank_distance_are_corrected_together(found):
    assert found.rank_distance is not None
    tests = [*found.kinds, found.rank_distance]
    smallest = min(tests, key=lambda row: row.test.p)
    assert smallest.p_holm == pytest.approx(4 * smallest.test.p)


def test_the_setting_that_moved_most_comes_first(found):
    moved = [abs(row.test.difference) for row in found.settings]
    assert moved == sorted(moved, reverse=True)


def test_shares_of_queries_won_lost_and_tied():
    values = queries(evaluated())
    mine = values[(values["kind"] == "monolingual") & (values["measure"] == "map")]
    better = mine["query_id"].unique()[:18]

    def some_better(frame):
        won = frame["query_id"].isin(better) & (frame["kind"] == "monolingual")
        return frame["value"] + 0.5 * won - 0.5 * (frame["kind"] == "multilingual")

    share = compare(evaluated(), changed(evaluated(), some_better)).shares
    assert (share[Kind.MONOLINGUAL].won, share[Kind.MONOLINGUAL].tied) == (0.25, 0.75)
    assert share[Kind.CROSS_LINGUAL].tied == 1
    assert share[Kind.MULTILINGUAL].lost == 1


def test_the_queries_that_changed_most_are_named():
    one = queries(evaluated())["query_id"].iloc[0]

    def one_worse(frame):
        return frame["value"] - 0.25 * ((frame["query_id"] == one) & (frame["query_lang"] == "th"))

    found = compare(evaluated(), changed(evaluated(), one_worse))
    worst = most_moved(found, 3)
    assert [(m.query_lang, m.query_id, m.settings) for m in worst] == [("th", one, 4)]
    assert worst[0].change == pytest.approx(-0.25)


def test_a_difference_of_rounding_is_a_tie():
    found = compare(evaluated(), changed(evaluated(), lambda frame: frame["value"] + 1e-12))
    assert all(share.tied == 1 for share in found.shares.values())


def test_the_same_encoder_twice_is_noted():
    assert "same encoder" in compare(evaluated(), evaluated()).notes[0]


def test_the_measure_is_asked_for_by_name():
    assert compare(evaluated(), evaluated(), "recall@10").measure == "recall@10"
    with pytest.raises(UnknownNameError, match=r"'recal@10'.*'recall@10'"):
        compare(evaluated(), evaluated(), "recal@10")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limit": 50}, "limit (none against 50)"),
        ({"langs": ["de", "en"]}, "languages (de en th against de en)"),
        ({"kinds": [Kind.MONOLINGUAL]}, "kinds (all against monolingual)"),
        ({"candidate": "sentence+context"}, "candidate text (sentence against sentence+context)"),
        ({"index": "IVF64,Flat"}, "index (Flat against IVF64,Flat)"),
        ({"measures": ["map"]}, "measures ("),
        ({"changed_data": ["a.json"]}, "changed data (none against a.json)"),
    ],
)
def test_results_of_other_options_are_refused_with_what_differs(options, told):
    with pytest.raises(NotComparableError) as refused:
        compare(evaluated(), stated(evaluated(), **options))
    assert told in str(refused.value)
    assert "--force" in str(refused.value)


def test_what_moves_no_score_and_what_is_not_known_is_no_difference():
    lists = {"query_form": "code-switched"}
    by_lists = [stated(evaluated(), **lists, word_lists=x) for x in ("", "sha256:1", "sha256:2")]
    compare(evaluated(), stated(evaluated(), seed=7))
    compare(by_lists[0], by_lists[1])
    with pytest.raises(NotComparableError, match="word lists"):
        compare(by_lists[1], by_lists[2])


def _other_task(**update):
    record = evaluated().record
    task = record.task.model_copy(update=update)
    return type(evaluated())(record.model_copy(update={"task": task}), evaluated().tables)


def test_another_version_of_the_task_is_refused():
    with pytest.raises(NotComparableError, match=r"mini version 1\b.*version 2\b.*\b1{6}"):
        compare(evaluated(), _other_task(version=2, digest="sha256:" + "1" * 64))


def test_other_bytes_of_the_same_files_are_refused():
    files = dict.fromkeys(evaluated().record.task.files, "0" * 64)
    with pytest.raises(NotComparableError, match="data files"):
        compare(evaluated(), _other_task(files=files))


def test_a_result_that_names_no_data_is_compared_and_the_doubt_is_told():
    unknown = _other_task(files={}, data=None)
    (note,) = compare(evaluated("builtin:random"), unknown).notes
    assert re.search(r"data.*builtin:ngram", note)
    assert "builtin:random" not in note
    of_before = _other_task(data=None)
    assert not compare(evaluated("builtin:random"), of_before).notes


def test_the_same_files_and_one_more_are_other_data():
    files = {**evaluated().record.task.files, "more.json": "0" * 64}
    with pytest.raises(NotComparableError, match=r"data files\b.*\bmore\.json"):
        compare(evaluated(), _other_task(files=files))


def test_force_compares_what_both_have_and_says_so():
    fewer = stated(evaluated("builtin:random"), limit=50, measures=["map"])
    found = compare(evaluated(), fewer, force=True)
    assert "not measured alike" in found.notes[0]
    assert "limit (none against 50)" in found.notes[0]
    with pytest.raises(UnknownNameError):
        compare(evaluated(), fewer, "recall@10", force=True)


def test_pools_of_other_languages_are_never_set_against_each_other():
    record = evaluated().record
    settings = [
        s.model_copy(update={"passage_langs": ["de", "en"]}) if len(s.passage_langs) > 1 else s
        for s in record.settings
    ]
    other = type(evaluated())(record.model_copy(update={"settings": settings}), evaluated().tables)
    found = compare(evaluated(), stated(other, langs=["de", "en"]), force=True)
    assert [row.kind for row in found.kinds] == [Kind.MONOLINGUAL, Kind.CROSS_LINGUAL]


def test_three_results_are_compared_in_pairs_and_corrected_together():
    third = changed(evaluated(), times(0.9), "third")
    rows, notes = compare_all([evaluated("builtin:ngram"), evaluated("builtin:random"), third])
    assert [(a, b) for a, b, _ in rows[::3]] == [
        ("builtin:ngram", "builtin:random"),
        ("builtin:ngram", "third"),
        ("builtin:random", "third"),
    ]
    smallest = min((row for _, _, row in rows), key=lambda row: row.test.p)
    assert smallest.p_holm == pytest.approx(9 * smallest.test.p)
    assert notes == []
    assert "Holm over 9" in render(pairs_blocks(rows, "map", notes))


def test_text_is_short_and_names_both(found):
    text = render(comparison_blocks(found, most_moved(found, 3)))
    assert text.startswith("mini: map\nA = builtin:ngram\nB = builtin:random")
    assert re.search(r"moved most.*\b12\b", text)
    assert "Holm over 4" in text


def test_markdown_is_escaped():
    evil = changed(evaluated(), times(0.5), "<script>alert(1)</script> | **x**")
    text = render(comparison_blocks(compare(evaluated(), evil), []), "markdown")
    assert "<script>" not in text
    assert "\\|" in text


def test_json_has_every_setting(found):
    record = json.loads(json.dumps(comparison_record(found, most_moved(found, 2))))
    assert len(record["settings"]) == 12
    assert len(record["queries"]) == 4
    assert record["kinds"][0]["test"]["p"] == found.kinds[0].test.p


def test_halving_every_value_is_found_everywhere():
    found = compare(evaluated(), changed(evaluated(), times(0.5)))
    for row in [*found.kinds, *found.settings]:
        assert row.second == pytest.approx(row.first / 2)
        assert row.test.low < row.test.difference < row.test.high
    for row in found.kinds:
        assert row.test.high < 0
        assert row.test.p < 0.001
    assert np.isclose(found.rank_distance.test.difference, 0)


def test_an_option_that_has_no_field_of_its_own_is_kept_and_compared():
    options = evaluated("builtin:random").record.options
    salted = OptionsPart.model_validate(options.model_dump() | {"salt": 3})
    assert (salted.part, salted.model_dump()["salt"]) == (options.part | {"salt": "salt 3"}, 3)
    record = evaluated("builtin:random").record.model_copy(update={"options": salted})
    with pytest.raises(NotComparableError, match=r"salt \(default against 3\)"):
        compare(evaluated("builtin:ngram"), Result(record, evaluated("builtin:random").tables))
