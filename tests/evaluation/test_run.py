from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import pytest
from evaluation.plain import (
    MEASURES,
    Plain,
    Signs,
    assert_equals_plain,
    full_small,
    mini_files,
    plain_measures,
    settings_of,
    small,
)

import xlir_bench as xb
from xlir_bench import EncoderOptions, Kind, Result, RunOptions, evaluate
from xlir_bench.errors import (
    BadVectorsError,
    InputError,
    NotComparableError,
    UnknownNameError,
    XlirError,
)
from xlir_bench.reports.compare import compare
from xlir_bench.retrieval.lexical import BM25Index
from xlir_bench.tasks import catalogue


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at this machine's cache."""
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def mini() -> Result:
    return evaluate("mini", "builtin:ngram", RunOptions(cache=None, data=None))


def test_all_132_settings_of_mini_equal_a_plain_computation(mini: Result) -> None:
    assert len(mini.record.settings) == 132
    plain = Plain(mini_files(), xb.load_encoder("builtin:ngram"))
    certain = 0
    for setting in mini.record.settings:
        best, worst = plain.bounds(setting.query_lang, setting.passage_langs)
        highest, lowest = plain_measures(best), plain_measures(worst)
        certain += highest == pytest.approx(lowest, abs=1e-6)
        assert highest["map"] - lowest["map"] < 0.005
        for measure, value in setting.measures.items():
            assert lowest[measure] - 1e-6 <= value <= highest[measure] + 1e-6
        if setting.kind == Kind.MULTILINGUAL:
            span = mini.record.bias["rank_distance"].by_query_lang[setting.query_lang]
            assert (best.max(axis=1) - worst.min(axis=1)).mean() - 1e-6 <= span
            assert span <= (worst.max(axis=1) - best.min(axis=1)).mean() + 1e-6
    assert certain > 66


def test_all_132_settings_with_ties_everywhere_equal_a_plain_computation() -> None:
    result = evaluate("mini", Signs(), RunOptions(cache=None, data=None))
    assert_equals_plain(result, Plain(mini_files(), Signs()))


def test_a_result_says_what_was_evaluated_and_how(mini: Result) -> None:
    record = mini.record
    assert (record.task.name, record.task.cluster, record.task.clusters) == ("mini", "article", 24)
    assert len(record.task.files) == 11
    assert (record.encoder.name, record.encoder.kind) == ("builtin:ngram", "builtin")
    assert record.encoder.dimension == 1024
    assert set(record.bias) == {
        "rank_distance", "top10_language_share", "same_language_preference",
        "map_without_same_language", "parallel_query_agreement", "tlr@20", "oracle_gap@10",
        "rank_variance", "peer@20", "peer@100", "peer_unretrieved_mean@20", "mrc@5", "mrc@10", "mrc@20",
    }  # fmt: skip
    assert set(record.profile.seconds) == {"read", "encode", "search", "measure"}
    assert record.profile.peak_memory_bytes > 10**7
    assert record.profile.index is None
    assert record.environment.versions["numpy"] == np.__version__
    assert all(0 < s.chance_map < 0.1 for s in record.settings)
    assert set(mini.tables) == {"ranks", "best", "scores"}


def test_an_encoder_that_knows_nothing_is_at_the_chance_level() -> None:
    options = RunOptions(langs=("ar", "de", "en", "zh"), cache=None, data=None)
    record = evaluate("mini", "builtin:random", options).record
    for setting in record.settings:
        assert setting.measures["map"] == pytest.approx(setting.chance_map, abs=0.05)
    distance = record.bias["rank_distance"]
    assert isinstance(distance.mean, float)
    assert isinstance(distance.chance, float)
    assert distance.mean == pytest.approx(distance.chance, rel=0.05)


def test_some_languages_give_the_settings_among_them(mini: Result) -> None:
    found = settings_of(full_small())
    assert list(found) == [
        ("de", "de"), ("en", "en"), ("de", "en"), ("en", "de"), ("de", "*"), ("en", "*"),
    ]  # fmt: skip
    for key in list(found)[:4]:
        assert found[key].measures == pytest.approx(settings_of(mini)[key].measures)
    assert full_small().record.options.langs == ["de", "en"]


def test_languages_asked_for_twice_or_in_another_order_are_the_same_run() -> None:
    again = evaluate("mini", "builtin:ngram", small(langs=("en", "de", "en")))
    assert again.record.settings == full_small().record.settings
    (task,) = catalogue().get(["mini"])
    assert small(langs=("en", "de", "en")).part(task) == small().part(task)


def test_one_language_has_one_setting_and_no_bias() -> None:
    record = evaluate("mini", "builtin:ngram", small(langs=("th",))).record
    assert [(s.kind, s.query_lang) for s in record.settings] == [("monolingual", "th")]
    assert record.bias == {}


@pytest.mark.parametrize("kind", list(Kind))
def test_one_kind_has_the_figures_it_has_in_a_full_run(kind: Kind) -> None:
    found = evaluate("mini", "builtin:ngram", small(kinds=(kind,)))
    wanted = full_small()
    assert found.record.settings == [s for s in wanted.record.settings if s.kind == kind]
    assert found.summary == {kind: wanted.summary[kind]}
    bias = {k: v for k, v in wanted.record.bias.items() if k != "oracle_gap@10"}  # of two kinds
    assert found.record.bias == (bias if kind == Kind.MULTILINGUAL else {})


def test_kinds_may_be_named_as_words() -> None:
    found = evaluate("mini", "builtin:ngram", small(kinds=("monolingual",)))
    assert [s.kind for s in found.record.settings] == ["monolingual"] * 2


def test_a_limit_takes_the_first_queries_and_all_candidates() -> None:
    found = settings_of(evaluate("mini", "builtin:ngram", small(limit=5)))
    for key, setting in settings_of(full_small()).items():
        assert found[key].queries == 5
        assert found[key].candidates == setting.candidates


def test_a_limit_gives_the_same_ranks_for_those_queries() -> None:
    part = evaluate("mini", "builtin:ngram", small(limit=5)).tables["ranks"].to_pandas()
    whole = full_small().tables["ranks"].to_pandas()
    keys = ["kind", "query_lang", "query_id", "passage_id"]
    both = part.astype(dict.fromkeys(keys, str)).merge(
        whole.astype(dict.fromkeys(keys, str)), on=keys
    )
    assert len(both) == len(part) == 5 * 2 * 4
    assert (both.rank_x == both.rank_y).all()


def test_sentence_and_context_is_another_text_of_the_same_candidates() -> None:
    found = evaluate("mini", "builtin:ngram", small(candidate="sentence+context"))
    assert found.record.options.candidate == "sentence+context"
    assert found.record.texts["en"].passages == full_small().record.texts["en"].passages
    assert found.score("monolingual") != full_small().score("monolingual")


def test_measures_are_those_that_were_asked_for() -> None:
    found = evaluate("mini", "builtin:ngram", small(measures=("f1@10", "r-precision", "map")))
    for setting in found.record.settings:
        assert list(setting.measures) == ["f1@10", "r-precision", "map"]
    assert found.score("monolingual") == full_small().score("monolingual")
    assert found.record.options.measures == ["f1@10", "r-precision", "map"]


def test_an_interval_ends_at_1_only_where_a_measure_does() -> None:
    asked = RunOptions(kinds=("multilingual",), measures=("dcg@100", "hits@10", "map"), cache=None)
    summary = evaluate("mini", "builtin:multilingual", asked).record.summary[Kind.MULTILINGUAL]
    for name, figure in summary.items():
        assert (figure.mean > 1) == (name != "map")
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < figure.mean < figure.high


def test_the_gap_to_one_language_follows_from_the_ranks_that_are_kept(mini: Result) -> None:
    ranks = mini.tables["ranks"].to_pandas()
    ranks["hit"] = ranks["rank"] <= 10
    keys = ["query_lang", "query_id", "passage_id"]
    pool = ranks[ranks["kind"] == "multilingual"].set_index(keys)["hit"].astype(float)
    alone = ranks[ranks["kind"] != "multilingual"].set_index(keys)["hit"].astype(float)
    gap = (alone - pool).groupby(["query_lang", "query_id"]).mean().groupby("query_lang").mean()
    figure = mini.record.bias["oracle_gap@10"]
    assert figure.by_query_lang == pytest.approx(gap.to_dict())
    assert figure.low < figure.mean < figure.high


def test_the_seed_moves_intervals_and_no_mean() -> None:
    found = evaluate("mini", "builtin:ngram", small(seed=7))
    assert found.record.settings == full_small().record.settings
    ours, theirs = (r.summary[Kind.MONOLINGUAL]["map"] for r in (found, full_small()))
    assert ours.mean == theirs.mean
    assert (ours.low, ours.high) != (theirs.low, theirs.high)


def test_folders_may_be_said_as_text(tmp_path: Path) -> None:
    said = RunOptions(data="~/data", cache=str(tmp_path))  # type: ignore[arg-type]
    assert (said.data, said.cache) == (Path.home() / "data", tmp_path)


def test_only_a_run_of_everything_is_a_full_run() -> None:
    (task,) = catalogue().get(["mini"])
    full = RunOptions(cache=None, data=None)
    assert full.part(task) == {}
    assert replace(full, langs=tuple(reversed(task.languages))).part(task) == {}
    assert replace(full, kinds=tuple(Kind), candidate="sentence").part(task) == {}
    assert replace(full, measures=tuple(reversed(MEASURES))).part(task) == {}
    parts = [
        {"langs": ("de",)}, {"kinds": (Kind.MONOLINGUAL,)}, {"limit": 10}, {"index": "HNSW32"},
        {"candidate": "sentence+context"}, {"measures": ("map",)}, {"seed": 1},
    ]  # fmt: skip
    for part in parts:
        assert set(replace(full, **part).part(task)) == set(part)


def test_save_run_keeps_the_best_passages_of_every_query() -> None:
    result = evaluate("mini", "builtin:ngram", small(save_run=7, limit=3))
    run = result.tables["run"].to_pandas()
    groups = run.groupby(["kind", "query_lang", "passage_lang", "query_id"], observed=True)
    assert len(groups) == 3 * 6
    assert (groups["rank"].agg(list).map(tuple) == tuple(range(1, 8))).all()
    ranks = result.tables["ranks"].to_pandas()
    seen = ranks[(ranks["rank"] <= 7) & (ranks.kind == "monolingual")]
    both = seen.merge(run[run.kind == "monolingual"], on=["query_lang", "query_id", "passage_id"])
    assert len(both) == len(seen) > 0
    assert (both.rank_x == both.rank_y).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"langs": ("de", "xx", "engl")}, UnknownNameError, "'engl'.*'xx'.*there are: ar, de"),
        ({"langs": ()}, InputError, "--langs is empty"),
        ({"kinds": ("monolingal", "all")}, UnknownNameError, "'monolingal'.*'monolingual'.*'all'"),
        ({"langs": ("de",), "kinds": (Kind.MULTILINGUAL,)}, InputError, "two languages"),
        ({"limit": 0}, InputError, "--limit 0"),
        ({"limit": -3}, InputError, "--limit -3"),
        ({"limit": "5"}, InputError, "--limit '5' .*whole"),
        ({"limit": 2.5}, InputError, "--limit 2.5 .*whole"),
        ({"limit": True}, InputError, "--limit True .*whole"),
        ({"limit": np.int64(-1)}, InputError, "--limit -1 .*1 or more"),
        ({"langs": 5}, InputError, "--langs 5 wants text"),
        ({"alignment": "yes"}, InputError, "--alignment 'yes' .*true or false"),
        ({"seed": -1}, InputError, "--seed -1 .*0 or more"),
        ({"candidate": "paragraph"}, UnknownNameError, "'paragraph'.*sentence"),
        ({"measures": ("map", "recal@10")}, UnknownNameError, "'recal@10'.*'recall@10'"),
        ({"index": "NSHW"}, InputError, "'NSHW' .*FAISS"),
        ({"index": "LSH"}, InputError, "'LSH' .*inner products"),
        ({"index": "PQ16"}, InputError, r"'PQ16' .*\d+ candidates of"),
    ],
)
def test_what_is_asked_wrongly_is_one_message(
    options: dict[str, Any], error: type[XlirError], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        evaluate("mini", "builtin:ngram", small(**options))
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_an_index_that_faiss_cannot_read_is_told_before_anything_is_encoded() -> None:
    def never(texts: list[str], role: str) -> np.ndarray:
        raise AssertionError

    with pytest.raises(InputError, match=r"'IVF64,Foo' .*FAISS"):
        evaluate("mini", never, small(index="IVF64,Foo"))


def test_an_unknown_task_gets_a_near_miss() -> None:
    with pytest.raises(UnknownNameError, match=r"'minni'.*'mini'"):
        evaluate("minni", "builtin:ngram", small())


def test_a_function_is_an_encoder() -> None:
    def lengths(texts: list[str], role: str) -> np.ndarray:
        return np.array([[len(text), 1] for text in texts])

    assert evaluate("mini", lengths, small()).record.encoder.dimension == 2


def test_an_encoder_whose_roles_have_vectors_of_different_length_is_one_message() -> None:
    def encode(texts: list[str], role: str) -> np.ndarray:
        return np.ones((len(texts), 3 if role == "query" else 4))

    with pytest.raises(BadVectorsError, match="vectors of 4 numbers"):
        evaluate("mini", encode, small())


def test_an_encoder_of_one_vector_for_everything_does_not_look_good() -> None:
    result = evaluate("mini", lambda texts, role: np.ones((len(texts), 8)), small())
    for setting in result.record.settings:
        assert setting.measures["map"] < 2 * setting.chance_map
        assert setting.measures["recall@1"] < 0.05


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder of vectors for German and English `mini`."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    plain = Plain({lang: mini_files()[lang] for lang in ("de", "en")}, Signs())
    for role, by_lang in (("query", plain.queries), ("passage", plain.passages)):
        for lang, vectors in by_lang.items():
            np.save(folder / f"{role}.{lang}.npy", vectors.astype(np.float16))
    return folder


def test_vectors_that_exist_are_ranked_like_their_encoder(stored: Path) -> None:
    found = evaluate("mini", f"npy:{stored}", small())
    assert found.record.settings == evaluate("mini", Signs(), small()).record.settings


def test_stored_vectors_that_are_no_numbers_are_one_message(stored: Path) -> None:
    """A NaN is lower than nothing: it would be ranked first."""
    vectors = np.load(stored / "query.de.npy")
    vectors[3, 2] = np.nan
    np.save(stored / "query.de.npy", vectors)
    with pytest.raises(BadVectorsError, match="NaN"):
        evaluate("mini", f"npy:{stored}", small())


def test_stored_vectors_are_not_encoded_and_so_not_dropped(stored: Path) -> None:
    with pytest.raises(InputError, match=r"--no-keep-vectors .*encoded"):
        evaluate("mini", f"npy:{stored}", small(keep_vectors=False))


def test_stored_vectors_that_are_zero_are_noted(stored: Path) -> None:
    vectors = np.load(stored / "query.de.npy")
    vectors[[3, 5]] = 0
    np.save(stored / "query.de.npy", vectors)
    notes = evaluate("mini", f"npy:{stored}", small()).record.notes
    assert any(re.search(r"^2 query .*zero vector", note) for note in notes)


def test_an_approximate_index_says_how_far_it_is_from_exact() -> None:
    found = evaluate("mini", "builtin:ngram", small(index="IVF8,Flat"))
    part = found.record.profile.index
    assert part is not None
    assert (part.factory, part.depth) == ("IVF8,Flat", 1000)
    for kind in Kind:
        assert 0 < part.recall_of_exact_top100[kind.value] < 1
        lost = found.score(kind) - full_small().score(kind)
        assert part.map_difference[kind.value] == pytest.approx(lost)
    assert (found.tables["ranks"].column("rank").to_numpy() == 0).any()
    assert found.record.options.index == "IVF8,Flat"


def test_an_index_that_loses_nothing_changes_nothing() -> None:
    found = evaluate("mini", "builtin:ngram", small(index="IVF1,Flat"))
    part = found.record.profile.index
    assert part is not None
    assert set(part.recall_of_exact_top100.values()) == {1}
    assert set(part.map_difference.values()) == {0}
    assert found.record.settings == full_small().record.settings
    assert found.record.bias == full_small().record.bias


WARM = """
import sys
import xlir_bench as xb
result = xb.evaluate("mini", sys.argv[1], xb.RunOptions(langs=("de", "en"), data=None))
assert result.record.profile.encoded_texts == 0, result.record.profile
heavy = {"torch", "sentence_transformers", "transformers", "faiss", "datasets"} & set(sys.modules)
assert not heavy, heavy
print(result.to_json())
"""


def test_a_run_whose_vectors_are_cached_loads_no_model(tiny_transformer: Path) -> None:
    options = RunOptions(langs=("de", "en"), data=None)
    cold = evaluate("mini", str(tiny_transformer), options)
    assert cold.record.profile.encoded_texts > 300
    done = subprocess.run(
        [sys.executable, "-c", WARM, str(tiny_transformer)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    warm = json.loads(done.stdout)
    stated = json.loads(cold.to_json())
    for part in ("task", "encoder", "settings", "summary", "bias", "texts", "notes"):
        assert warm[part] == stated[part]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_ranks_are_exact_for_vectors_kept_in_fewer_bits_and_the_result_says_so(dtype: Any) -> None:
    options = RunOptions(langs=("de", "en"), cache=None)
    whole, few = (
        evaluate("mini", "builtin:ngram", replace(options, vectors=x)) for x in ("float32", dtype)
    )
    assert few.record.options.part["vectors"] == f"vectors kept as {dtype}"
    assert options.part(catalogue().get(["mini"])[0]) != replace(options, vectors=dtype).part(
        catalogue().get(["mini"])[0]
    )
    for kind in whole.summary:
        assert few.score(kind) == pytest.approx(whole.score(kind), abs=0.01)
    with pytest.raises(NotComparableError, match="vectors"):
        compare(whole, few)


def test_bm25_is_a_retriever_without_vectors() -> None:
    found = evaluate("mini", "builtin:bm25", small(langs=("en", "zh"), alignment=True))
    assert len(found.record.settings) == 6
    assert found.record.summary[Kind.MONOLINGUAL]["map"].mean > 0.4
    assert found.record.bias
    assert found.record.texts["en"].tokens_mean > 1
    assert any("the weight of a word" in note for note in found.record.notes)
    assert any(re.search("^alignment .*on vectors", note) for note in found.record.notes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BM25Index, "search", None)  # refused before hours of search
        with pytest.raises(InputError, match=r"--index 'HNSW32' .*dense.*builtin:bm25"):
            evaluate("mini", "builtin:bm25", small(langs=("en",), index="HNSW32"))
    with pytest.raises(InputError, match="--vectors int8"):
        evaluate("mini", "builtin:bm25", small(langs=("en",), vectors="int8"))
    with pytest.raises(InputError, match="has no vectors"):
        xb.load_encoder("builtin:bm25").encode(["text"], "query")


def test_fused_retrievers_are_one_with_both_names_and_their_options() -> None:
    how = EncoderOptions(fuse=("builtin:bm25",), fuse_weights=(1, 0.3), fuse_depth=50)
    options = small(langs=("en", "de"))
    alone = evaluate("mini", "builtin:ngram", options)
    fused = evaluate("mini", "builtin:ngram", options, encoder_options=how)
    encoder = fused.record.encoder
    assert encoder.name == "1 builtin:ngram + 0.3 builtin:bm25"
    assert encoder.kind == "fused"
    assert encoder.options is not None
    assert (encoder.options.fuse, encoder.options.fuse_depth) == (("builtin:bm25",), 50)
    assert encoder.slug != alone.record.encoder.slug
    assert [s.queries for s in fused.record.settings] == [s.queries for s in alone.record.settings]
    assert any("best 50 of each" in note for note in fused.record.notes)
    ranks = fused.tables["ranks"].to_pandas()
    assert not ranks.duplicated(["kind", "query_lang", "query_id", "passage_id"]).any()
    assert (
        not ranks[ranks.kind == "multilingual"].duplicated(["query_lang", "query_id", "rank"]).any()
    )
    with pytest.raises(InputError, match=r": 1 .*builtin:ngram, builtin:bm25"):
        evaluate("mini", "builtin:ngram", encoder_options=replace(how, fuse_weights=(1,)))
    with pytest.raises(InputError, match="--fuse-weights"):
        evaluate("mini", "builtin:ngram", encoder_options=EncoderOptions(fuse_weights=(1,)))


@pytest.mark.parametrize("weights", [(1, 0.3), [1, 0.3], "1,0.3", ("1", "0.3")])
def test_weights_are_numbers_however_they_are_given(weights: Any) -> None:
    assert EncoderOptions(fuse="builtin:bm25", fuse_weights=weights).fuse_weights == (1, 0.3)
    assert EncoderOptions(fuse_weights=0.3).fuse_weights == (0.3,)
    with pytest.raises(InputError, match=r"--fuse-weights 'one' .*1,0\.5"):
        EncoderOptions(fuse_weights="one,2")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fuse": "builtin:bm25", "fuse_depth": 0}, "--fuse-depth 0 .*1 or more"),
        ({"fuse": "builtin:bm25", "fuse_weights": (-1, 1)}, "--fuse-weights -1 .*0 or more"),
        ({"rerank": "py:absent.py:f", "rerank_depth": 0}, "--rerank-depth 0 .*1 or more"),
    ],
)
def test_depths_and_weights_are_held_to_their_bounds_in_python_too(
    given: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        evaluate("mini", "builtin:ngram", small(), **given)


def test_vectors_that_nobody_keeps_change_no_figure(tmp_path: Path) -> None:
    options = RunOptions(langs=("de", "en"), save_run=10, cache=tmp_path)
    kept, passed = (
        evaluate("mini", "builtin:multilingual", replace(options, keep_vectors=keep))
        for keep in (True, False)
    )
    assert all(kept.tables[name].equals(table) for name, table in passed.tables.items())
    for part in ("settings", "summary", "options", "texts"):
        assert getattr(kept.record, part) == getattr(passed.record, part)
    # Scores of unions want the vectors once more.
    assert kept.tables.keys() - passed.tables.keys() == {"scores"}
    wanted = {name: view for name, view in kept.record.bias.items() if "mrc" not in name}
    assert passed.record.bias == wanted != kept.record.bias
    assert "kept nowhere" in passed.record.notes[-1]
    assert passed.record.profile.encoded_texts == 290


def test_vectors_that_nobody_keeps_are_made_twice_at_most_and_by_one_thread() -> None:
    """With the batches of judged passages, and when they are searched; a model need not bear two threads."""
    seen: Counter[str] = Counter()
    threads = set()

    class Counting(Signs):
        def encode(self, texts: Sequence[str], role: str) -> np.ndarray:
            threads.add(get_ident())
            seen.update(texts if role == "passage" else ())
            return super().encode(texts, role)

    options = RunOptions(langs=("de", "en", "zh"), keep_vectors=False, cache=None)
    evaluate("mini", Counting(), options)
    assert seen.total() == 2 * len(seen) > 400
    assert threads == {get_ident()}


@pytest.mark.parametrize(
    ("more", "loaded", "what"),
    [
        ({"alignment": True}, {}, "--alignment .*more than once"),
        ({"index": "IVF2,Flat"}, {}, "--index IVF2,Flat .*more than once"),
        ({}, {"fuse": ("builtin:bm25",)}, "--fuse .*more than once"),
        ({}, {"transform": "centroids"}, "--transform .*more than once"),
    ],
)
def test_what_reads_vectors_again_wants_them_kept(more: Any, loaded: Any, what: str) -> None:
    options = RunOptions(keep_vectors=False, cache=None, **more)
    with pytest.raises(InputError, match=what):
        evaluate("mini", "builtin:ngram", options, encoder_options=EncoderOptions(**loaded))
