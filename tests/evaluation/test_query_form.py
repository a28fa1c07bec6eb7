"""`--query-form`: told loudly, never a full run, and compared with the questions as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xlir_bench import EncoderOptions, RunOptions, evaluate
from xlir_bench.errors import InputError, NotComparableError
from xlir_bench.evaluation import as_retriever, encode_shard
from xlir_bench.options.running import Shard
from xlir_bench.records import Silent
from xlir_bench.reports.compare import compare, compare_all
from xlir_bench.reports.pairing import require_comparable
from xlir_bench.tasks import catalogue


def small(**options: object) -> RunOptions:
    return RunOptions(langs=("de", "en"), cache=None, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain():
    return evaluate("mini", "builtin:ngram", small())


def test_a_run_with_typos_is_a_part_and_says_so(plain) -> None:
    changed = evaluate("mini", "builtin:ngram", small(query_form="typos"))
    assert changed.record.options.query_form == "typos"
    assert "typos" in changed.record.options.part["query_form"]
    assert any("typos" in note and "en 100%" in note for note in changed.record.notes)
    assert "query_form" in small(query_form="typos").part(catalogue().get(["mini"])[0])
    assert changed.score("monolingual", "map") < plain.score("monolingual", "map")
    comparison = compare(plain, changed)
    assert any(re.search("^the questions .*typos in ", note) for note in comparison.notes)
    assert comparison.first == "builtin:ngram"
    assert re.fullmatch("builtin:ngram, .*typos", comparison.second)


def test_several_forms_stand_in_one_table(plain) -> None:
    forms = [evaluate("mini", "builtin:ngram", small(query_form=x)) for x in ("lower", "typos")]
    pairs, notes = compare_all([plain, *forms])
    (second,) = {two for one, two, *_ in pairs if one == "builtin:ngram" and "typos" in two}
    assert re.fullmatch("builtin:ngram, .*typos", second)
    assert any(re.search("^the questions .*lower in .*typos in ", note) for note in notes)


def test_whoever_decides_refuses_other_questions(plain) -> None:
    changed = evaluate("mini", "builtin:ngram", small(query_form="lower"))
    with pytest.raises(NotComparableError, match="questions"):
        require_comparable([plain, changed], False, "run it again")


def test_questions_that_do_not_change_score_the_same() -> None:
    options = small(query_form="romanised", limit=5)
    english = evaluate("mini", "builtin:ngram", options, encoder_options=EncoderOptions())
    as_they_are = evaluate("mini", "builtin:ngram", small(limit=5))
    for setting, same in zip(english.record.settings, as_they_are.record.settings, strict=True):
        if setting.query_lang == "en":
            assert setting.measures == same.measures


def test_a_part_of_the_vectors_is_of_questions_as_they_are_asked(tmp_path) -> None:
    options = RunOptions(langs=("de", "en"), limit=5, query_form="lower", cache=tmp_path)
    retriever = as_retriever("builtin:ngram", EncoderOptions(), options)
    encode_shard(catalogue().get(["mini"])[0], retriever, options, Shard(1, 1), Silent())
    assert evaluate("mini", "builtin:ngram", options).record.profile.encoded_texts == 0


def test_questions_changed_by_other_word_lists_are_another_part(tmp_path) -> None:
    task, results, parts = catalogue().get(["mini"])[0], [], []
    for name, word in (("one", "Wann"), ("two", "Wer")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "en-de.tsv").write_text(f"who\t{word}\n", encoding="utf-8")
        options = small(query_form="code-switched", lexicon=tmp_path / name, limit=5)
        parts.append(options.part(task))
        results.append(evaluate("mini", "builtin:ngram", options))
    assert parts[0] != parts[1]
    assert [r.record.options.word_lists for r in results] == [p["word_lists"] for p in parts]
    with pytest.raises(NotComparableError, match="word lists"):
        compare(*results)
    with pytest.raises(InputError, match="--lexicon"):
        evaluate("mini", "builtin:ngram", small(query_form="lower", lexicon=tmp_path))


def test_a_folder_that_is_named_like_a_word_list_is_none(tmp_path: Path) -> None:
    options = RunOptions(query_form="code-switched", lexicon=tmp_path)
    (tmp_path / "en-de.tsv").write_text("who\twer\n", encoding="utf-8")
    before = options.word_lists_digest
    (tmp_path / "en-fr.tsv").mkdir()
    assert options.word_lists_digest == before
