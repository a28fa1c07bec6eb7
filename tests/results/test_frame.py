"""A result as rows, against the numbers of its record."""

from __future__ import annotations

import hashlib
from collections import Counter

import pandas as pd
import pytest

from xlir_bench import Result
from xlir_bench.results.frame import named, part_of, tidy_frame


@pytest.fixture(scope="module")
def frame(result: Result) -> pd.DataFrame:
    return tidy_frame([result.record])


def test_a_kind_has_its_interval_and_says_over_how_many_settings(
    result: Result, frame: pd.DataFrame
) -> None:
    kinds = frame[(frame.level == "kind") & (frame.measure == "map")].set_index("kind")
    assert kinds.settings.to_dict() == {"monolingual": 3, "cross-lingual": 6, "multilingual": 3}
    for kind, row in kinds.iterrows():
        interval = result.summary[kind]["map"]
        assert (row.value, row.low, row.high) == (interval.mean, interval.low, interval.high)
    assert kinds.query_lang.isna().all()


def test_settings_in_which_nothing_is_scored_are_not_counted(result: Result) -> None:
    first, *others = result.record.settings
    assert first.kind == "monolingual"
    empty = first.model_copy(update={"queries": 0, "measures": {}})
    record = result.record.model_copy(update={"settings": [empty, *others]})
    frame = tidy_frame([record])
    kinds = frame[(frame.level == "kind") & (frame.measure == "map")].set_index("kind")
    assert kinds.settings.to_dict() == {"monolingual": 2, "cross-lingual": 6, "multilingual": 3}


def test_a_setting_has_the_values_of_the_record(result: Result, frame: pd.DataFrame) -> None:
    settings = frame[frame.level == "setting"]
    assert set(settings.settings) == {1}
    assert Counter(settings.passage_lang) == {"ar": 18, "de": 18, "en": 18, "*": 18}
    found = settings.set_index(["query_lang", "passage_lang", "measure"]).value.to_dict()
    wanted = {
        (s.query_lang, s.passage_langs[0] if s.kind != "multilingual" else "*", measure): value
        for s in result.record.settings
        for measure, value in s.measures.items()
    }
    assert found == wanted


def test_a_part_is_named_by_a_digest_of_what_it_is(result: Result) -> None:
    """Folders of exported results and baselines are called so: the name may not change."""
    assert part_of(result.record) == "languages ar de en"
    digest = hashlib.sha256(b"languages ar de en").hexdigest()[:8]
    assert named(result.record) == f"mini~{digest}"
    whole = result.record.options.model_copy(update={"langs": []})
    assert named(result.record.model_copy(update={"options": whole})) == "mini"
