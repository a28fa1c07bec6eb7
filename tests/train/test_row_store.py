from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train.rowfiles import row, stored, write_rows

from xlir_bench.errors import InputError
from xlir_bench.options.training import TrainingSource
from xlir_bench.records import Silent
from xlir_bench.train.row_store import open_rows, store_rows
from xlir_bench.train.rows import SIDES

LANGS = ("aa", "bb", "cc")
TEXTS = st.dictionaries(st.sampled_from(LANGS), st.text("xyz", min_size=1, max_size=3), min_size=1)
STATED = st.fixed_dictionaries(
    {"question": TEXTS, "answer": TEXTS}, optional={"negative": TEXTS, "id": st.integers(0, 5)}
)


@settings(max_examples=25, deadline=None)
@given(st.lists(STATED, min_size=1, max_size=8))
def test_every_text_comes_back_and_its_key_tells_it_from_others(rows: list) -> None:
    store = stored(rows)
    wanted = [
        (r, s, store.languages.index(lang), text)
        for r, stated in enumerate(rows)
        for s, side in enumerate(SIDES)
        for lang, text in stated.get(side, {}).items()
    ]
    places = [np.array(x) for x in zip(*(w[:3] for w in wanted), strict=True)]
    assert store.fetch(*places) == [w[3] for w in wanted]
    assert np.count_nonzero(store.keys) == len(wanted)
    texts_by_key = {int(store.keys[w[:3]]): w[3] for w in wanted}
    assert len(texts_by_key) == len({w[3] for w in wanted})


def test_rows_are_found_again_in_their_folder(tmp_path: Path) -> None:
    store = stored([row(n) for n in range(600)], tmp_path)
    again = open_rows(store.folder)
    assert again == store
    assert again is not None
    assert again.fetch([599, 0], [0, 1], [0, 2]) == ["question 599 in de", "answer 0 in es"]
    assert store.language_counts() == {"de": 1200, "en": 1200, "es": 1200}
    assert open_rows(tmp_path / "nowhere") is None


def test_a_pickled_store_names_its_folder_and_holds_no_keys(tmp_path: Path) -> None:
    store = stored([row(n) for n in range(600)], tmp_path)
    assert store.keys.nbytes > 40_000  # they are mapped now
    pickled = pickle.dumps(store)
    assert len(pickled) < 2_000
    assert (pickle.loads(pickled).keys == store.keys).all()


def test_a_sample_is_whole_rows_spread_over_the_file(tmp_path: Path) -> None:
    store = stored([row(n) for n in range(600)], tmp_path)
    sample = list(store.sample(120))
    assert len(sample) == 120
    assert sample[:4] == [f"question 0 in {x}" for x in ("de", "en", "es")] + ["answer 0 in de"]
    assert sample[-1] == "answer 570 in es"
    assert len(list(store.sample(10**6))) == 3600


def test_rows_of_one_id_and_data_set_share_an_id_whatever_their_file(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.jsonl", [row(1, "de"), {**row(1, "de"), "dataset": "other"}])
    two = write_rows(tmp_path / "two.jsonl", [row(1, "fr"), row(2)])
    sources = [TrainingSource(str(one)), TrainingSource(str(two), weight=2.0)]
    store = store_rows(sources, tmp_path / "store", Silent())
    ids = store.ids.tolist()
    assert ids[0] == ids[2]
    assert len(set(ids)) == 3
    assert [(s.rows, s.weight) for s in store.sources] == [(2, 1.0), (2, 2.0)]


def test_faults_are_refused_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: .*line 5: .*\b1 more\b.*check-training"):
        stored([row(1), {}, row(2), {}, {}, {}], tmp_path)


def test_rows_can_be_left_out_and_none_left_is_an_error(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [row(n) for n in range(5)])
    sources = [TrainingSource(str(path))]
    store = store_rows(
        sources, tmp_path / "s", Silent(), keep=lambda rows: [r.id != "row-3" for r in rows]
    )
    assert (store.rows, store.sources[0].dropped) == (4, 1)
    with pytest.raises(InputError, match=r"rows\.jsonl.*\b5 .*evaluation"):
        store_rows(sources, tmp_path / "t", Silent(), keep=lambda rows: [False] * len(rows))


def test_a_copy_in_another_file_shares_the_id_of_its_original(tmp_path: Path) -> None:
    nameless = {k: v for k, v in row(1).items() if k != "dataset"}
    copy = {**nameless, "dataset": "rows.jsonl", "origin": "code-switched"}
    one = write_rows(tmp_path / "rows.jsonl", [nameless, row(1)])
    two = write_rows(tmp_path / "switched.jsonl", [copy, {**nameless, "id": "row-2"}])
    sources = [TrainingSource(str(path)) for path in (one, two)]
    store = store_rows(sources, tmp_path / "store", Silent())
    assert store.ids[0] == store.ids[2]
    assert len(set(store.ids.tolist())) == 3
    assert [dict(s.origins) for s in store.sources] == [
        {"original": 2},
        {"code-switched": 1, "original": 1},
    ]
    assert store.origin_counts() == {"original": 3, "code-switched": 1}
    assert open_rows(store.folder) == store
