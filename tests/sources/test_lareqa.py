from __future__ import annotations

import contextlib
import copy
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources.serving import SMALL, article, lareqa, packed, paragraph, write_data, write_task

from xlir_bench.errors import InputError
from xlir_bench.options.running import RunOptions
from xlir_bench.records import Collection, Silent
from xlir_bench.sources import ReadOptions, load_collection
from xlir_bench.sources.squad import DIFFERS, RUNS_PAST, read_lareqa
from xlir_bench.tasks import Task, read_task, tasks_folder


def read(folder: Path, contents: dict[str, Any], **reading: Any) -> Collection:
    task = read_task(write_task(folder, contents))
    root = write_data(folder, contents)
    files = {lang: root / "lareqa" / "small" / f"{lang}.json" for lang in contents}
    return read_lareqa(task, files, ReadOptions(**({"candidate": "sentence"} | reading)))


def relevant(collection: Collection, query_lang: str, passage_lang: str) -> dict[str, list[str]]:
    """Ids of the relevant passages by query id."""
    found: dict[str, list[str]] = {}
    rows = collection.relevance.get((query_lang, passage_lang))
    if rows is not None:
        for query, passage in zip(rows.query, rows.passage, strict=True):
            name = collection.queries[query_lang].ids[query]
            found.setdefault(name, []).append(collection.passages[passage_lang].ids[passage])
    return found


def faults_of(folder: Path, content: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, {"en": content})
    return str(caught.value)


def test_every_sentence_is_a_candidate_in_the_order_of_the_file(tmp_path: Path) -> None:
    passages = read(tmp_path, SMALL).passages
    assert passages["en"].ids == ("en:0:0", "en:0:1", "en:1:0")
    assert passages["en"].texts == ("Bees dance.", "They make honey.", "Salt is white.")
    assert passages["de"].ids == ("de:0:0", "de:1:0", "de:1:1")


def test_a_question_finds_the_sentence_of_its_translation_in_every_language(tmp_path: Path) -> None:
    collection = read(tmp_path, SMALL)
    assert relevant(collection, "en", "de") == {"q1": ["de:0:0"], "q2": ["de:1:1"]}
    assert relevant(collection, "de", "en") == {"q1": ["en:0:0"], "q2": ["en:1:0"]}
    assert relevant(collection, "de", "de") == {"q1": ["de:0:0"], "q2": ["de:1:1"]}
    rows = collection.relevance["en", "de"]
    assert [a.dtype for a in (rows.query, rows.passage, rows.grade)] == [np.int32] * 3
    assert rows.grade.tolist() == [1, 1]
    assert collection.parallel


def test_articles_that_share_a_question_are_one_cluster(tmp_path: Path) -> None:
    collection = read(tmp_path, SMALL)
    assert collection.cluster == "article"
    assert collection.queries["en"].clusters == ("Bees", "Salt")
    assert collection.queries["de"].clusters == ("Bees", "Salt")


def test_articles_of_one_title_in_one_file_are_one_cluster_and_untitled_ones_are_not(
    tmp_path: Path,
) -> None:
    one, two, three, four = (paragraph([f"S{n}."], [(f"q{n}", "Q?", 0)]) for n in range(4))
    content = lareqa(
        article("A", one), article("A", two), {"paragraphs": [three]}, {"paragraphs": [four]}
    )
    clusters = read(tmp_path, {"en": content}).queries["en"].clusters
    assert clusters == ("A", "A", "article 2 of en", "article 3 of en")


def test_with_context_the_candidate_is_sentence_space_paragraph(tmp_path: Path) -> None:
    texts = read(tmp_path, SMALL, candidate="sentence+context").passages["en"].texts
    assert texts[1] == "They make honey. Bees dance. They make honey."


def test_a_limit_cuts_the_queries_of_each_language_and_no_candidate(tmp_path: Path) -> None:
    swapped = SMALL | {"de": lareqa(*reversed(SMALL["de"]["data"]))}
    collection = read(tmp_path, swapped, limit=1)
    assert collection.queries["en"].ids == ("q1",)
    assert collection.queries["de"].ids == ("q2",)
    assert len(collection.passages["de"].ids) == 3
    assert relevant(collection, "en", "de") == {"q1": ["de:1:0"]}


def test_a_question_in_one_language_only_has_nothing_relevant_elsewhere(tmp_path: Path) -> None:
    alone = lareqa(article("Tea", paragraph(["Tee ist heiß."], [("q9", "Was?", 0)])))
    collection = read(tmp_path, {"en": SMALL["en"], "de": alone})
    assert ("en", "de") not in collection.relevance
    assert relevant(collection, "de", "de") == {"q9": ["de:0:0"]}


def test_paragraphs_and_articles_may_be_without_questions_or_sentences(tmp_path: Path) -> None:
    content = lareqa(
        article("Nothing"),
        article("No question", paragraph(["One."], [])),
        article("No sentence", paragraph([], [])),
        article("Both", paragraph(["Two."], [("q", "Which?", 0)])),
    )
    collection = read(tmp_path, {"en": content})
    assert collection.passages["en"].ids == ("en:0:0", "en:2:0")
    assert relevant(collection, "en", "en") == {"q": ["en:2:0"]}


def test_an_answer_at_the_last_character_belongs_to_the_last_sentence(tmp_path: Path) -> None:
    content = lareqa(article("T", paragraph(["One.", "Two"], [("q", "Which?", 1)])))
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [{"answer_start": 7, "text": "o"}]
    assert relevant(read(tmp_path, {"en": content}), "en", "en") == {"q": ["en:0:1"]}


def test_a_break_ends_before_its_end_so_touching_sentences_share_no_character(
    tmp_path: Path,
) -> None:
    touching = paragraph(["水是湿的。", "火是热的。"], [("q", "什么热?", 1)], glue="")
    collection = read(tmp_path, {"zh": lareqa(article("T", touching))})
    assert relevant(collection, "zh", "zh") == {"q": ["zh:0:1"]}


def test_offsets_count_code_points_whatever_the_script(tmp_path: Path) -> None:
    sentences = ["العسل 🍯 حلو.", "النحل 🐝🐝 يرقص.", "שלום."]
    content = lareqa(article("ت", paragraph(sentences, [("q", "من يرقص؟", 1), ("r", "מה?", 2)])))
    found = relevant(read(tmp_path, {"ar": content}), "ar", "ar")
    assert found == {"q": ["ar:0:1"], "r": ["ar:0:2"]}


def test_equal_sentences_stay_apart_and_are_noted(tmp_path: Path) -> None:
    content = lareqa(article("T", paragraph(["Yes.", "Yes.", "No."], [("q", "Second?", 1)])))
    collection = read(tmp_path, {"en": content})
    assert collection.passages["en"].texts == ("Yes.", "Yes.", "No.")
    assert relevant(collection, "en", "en") == {"q": ["en:0:1"]}
    assert any(note.startswith("sentences that repeat") for note in collection.notes)


def test_several_answers_make_several_sentences_relevant_once_each(tmp_path: Path) -> None:
    content = lareqa(article("T", paragraph(["One.", "Two."], [("q", "Which?", 0)])))
    answers = [(5, "Two"), (0, "One"), (6, "wo")]
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [
        {"answer_start": start, "text": text} for start, text in answers
    ]
    rows = read(tmp_path, {"en": content}).relevance["en", "en"]
    assert (rows.query.tolist(), rows.passage.tolist()) == ([0, 0], [0, 1])


def test_oddities_of_the_real_data_are_notes_with_counts(tmp_path: Path) -> None:
    content = copy.deepcopy(SMALL["en"])
    first = content["data"][0]["paragraphs"][0]
    first["qas"][0]["answers"][0]["text"] = first["context"]
    first["sentences"][1] = "They make honey, really."
    collection = read(tmp_path, {"en": content})
    assert collection.notes == (
        f"{RUNS_PAST}: 1 (en 1)",
        f"{DIFFERS}: 1 (en 1)",
    )
    assert collection.passages["en"].texts[1] == "They make honey, really."


def broken(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The small English file with its first paragraph changed."""
    content = copy.deepcopy(SMALL["en"])
    change(content["data"][0]["paragraphs"][0])
    return content


def put(*keys: Any) -> Callable[[dict[str, Any]], None]:
    """Sets what lies under these keys to the last of them."""

    def change(entry: Any) -> None:
        for key in keys[:-2]:
            entry = entry[key]
        entry[keys[-2]] = keys[-1]

    return change


P = "$.data[0].paragraphs[0]"


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b"", "$", "is empty"),
        (b" \n", "$", "is empty"),
        (b"[1, 2", "$", "ends too early"),
        (b'{"data": [{"title": "Be', "$", "ends too early"),
        (b'{"data": }', "$", "is not JSON: Expecting value at line 1, column 10"),
        (b'{"data": "\xff"}', "$", "is not UTF-8 at byte 10"),
        (b"[" * 100_000, "$", "is nested too deeply"),
        ([], "$", "should be an object, is a list"),
        ({}, "$", "'data' is missing"),
        ({"data": None}, "$.data", "should be a list, is null"),
        ({"data": []}, "$", "there is no question of 'en' in the whole file"),
        ({"data": [7]}, "$.data[0]", "should be an object, is a whole number"),
        (lareqa({"title": "T"}), "$.data[0]", "'paragraphs' is missing"),
        (lareqa({"title": 1, "paragraphs": []}), "$.data[0].title", "should be text"),
        (broken(put("context", 1.5)), f"{P}.context", "should be text, is the number 1.5"),
        (broken(put("sentences", 1, None)), f"{P}.sentences[1]", "should be text, is null"),
        (broken(lambda p: p["sentences"].pop()), f"{P}.sentence_breaks", "2 breaks for 1 sentences"),
        (broken(put("sentence_breaks", 1, [12, 99])), f"{P}.sentence_breaks[1]", "outside the text"),
        (broken(put("sentence_breaks", 0, [-1, 9])), f"{P}.sentence_breaks[0]", "outside the text"),
        (broken(put("sentence_breaks", 1, [20, 20])), f"{P}.sentence_breaks[1]", "does not end after"),
        (broken(put("sentence_breaks", 1, [5, 28])), f"{P}.sentence_breaks[1]", "[5, 28] begins before"),
        (broken(put("sentence_breaks", 0, [0])), f"{P}.sentence_breaks[0]", "at least 2 items"),
        (broken(put("sentence_breaks", 0, [True, 9])), f"{P}.sentence_breaks[0][0]", "is true"),
        (broken(put("qas", {})), f"{P}.qas", "should be a list, is an object"),
        (broken(put("qas", 0, "id", 5)), f"{P}.qas[0].id", "should be text, is a whole number"),
        (broken(put("qas", 0, "question", " ")), f"{P}.qas[0].question", "is empty"),
        (broken(put("qas", 0, "question", "\ud800")), f"{P}.qas[0].question", "lone surrogate"),
        (broken(put("qas", 0, "answers", [])), f"{P}.qas[0].answers", "is empty"),
        (broken(put("qas", 0, "answers", 0, {"text": "x"})), f"{P}.qas[0].answers[0]", "'answer_start' is"),
        (broken(put("qas", 0, "answers", 0, "answer_start", 11)), f"{P}.qas[0].answers[0].answer_start",
         "11 is in no sentence break (the text has 28 characters)"),
        (broken(put("qas", 0, "answers", 0, "answer_start", 28)), f"{P}.qas[0].answers[0].answer_start",
         "28 is in no"),
        (broken(put("qas", 0, "answers", 0, "answer_start", -1)), f"{P}.qas[0].answers[0].answer_start",
         "-1 is in no"),
        (broken(put("qas", 0, "id", "q2")), "$.data[1].paragraphs[0].qas[0].id",
         f"'q2' is the id of another question: {P}.qas[0].id"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_file_place_and_reason(
    tmp_path: Path, content: Any, place: str, reason: str
) -> None:
    message = faults_of(tmp_path, content)
    file = tmp_path / "lareqa" / "small" / "en.json"
    assert f"{file}: {place}: " in message
    assert reason in message
    assert re.match(r"1 fault\b.*'small'", message)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, {"en": b"\xef\xbb\xbf" + packed(SMALL["en"])}).queries["en"].ids


def test_the_first_ten_faults_of_all_files_come_in_one_message_with_their_count(
    tmp_path: Path,
) -> None:
    questions = [(f"q{n}", " ", 0) for n in range(8)]
    content = lareqa(article("T", paragraph(["One."], questions)))
    with pytest.raises(InputError) as caught:
        read(tmp_path, {"de": content, "en": content})
    lines = str(caught.value).splitlines()
    assert re.match(r"16 faults\b.*'small'", lines[0])
    assert len(lines) == 12
    assert "de.json: $.data[0].paragraphs[0].qas[7].question: is empty" in lines[8]
    assert "en.json" in lines[9]
    assert lines[-1].strip() == "(the first 10 of 16)"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    return [at, *(place for key in keys for place in places(value[key], (*at, key)))]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.sampled_from(places(SMALL["en"])), value=JSON)
def test_whatever_stands_anywhere_is_read_or_reported(
    tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    content: Any = {"top": copy.deepcopy(SMALL["en"])}
    entry, *keys = content, "top", *place
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = value
    body = json.dumps(content["top"], ensure_ascii=True).encode()
    with contextlib.suppress(InputError):  # anything else is a crash
        collection = read(tmp_path, {"en": body})
        assert len(collection.passages["en"].ids) == len(collection.passages["en"].texts)
        assert set(relevant(collection, "en", "en")) == set(collection.queries["en"].ids)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, len(packed(SMALL["en"])) - 1))
def test_a_file_cut_anywhere_is_a_fault(tmp_path: Path, cut: int) -> None:
    message = faults_of(tmp_path, packed(SMALL["en"])[:cut])
    assert "ends too early" in message or "is empty" in message


def real(name: str, root: Path, **request: Any) -> tuple[Task, Collection]:
    task = read_task(tasks_folder() / f"{name}.toml")
    return task, load_collection(
        task, RunOptions(data=root, cache=root / "none", **request), Silent()
    )


@pytest.mark.parametrize("name", ["xquad-r", "mlqa-r"])
def test_the_real_files_have_as_many_queries_and_candidates_as_their_task_says(
    xlir_data: Path, name: str
) -> None:
    task, collection = real(name, xlir_data)
    for lang, file in task.files.items():
        assert len(collection.queries[lang].ids) == file.queries
        assert len(set(collection.passages[lang].ids)) == file.candidates
    assert collection.changed == ()
    assert collection.digests == {file.path: file.sha256 for file in task.files.values()}


def test_xquad_r_is_parallel_in_all_languages_and_has_48_clusters(xlir_data: Path) -> None:
    _, collection = real("xquad-r", xlir_data)
    first, *others = collection.queries.values()
    assert len(set(first.clusters)) == 48
    for other in others:
        assert dict(zip(other.ids, other.clusters, strict=True)) == dict(
            zip(first.ids, first.clusters, strict=True)
        )
    assert sum(len(p.ids) for p in collection.passages.values()) == 13_014
    assert {len(rows.query) for rows in collection.relevance.values()} == {1190}
    assert len(collection.relevance) == 121
    assert f"{DIFFERS}: 2 (tr 2)" in collection.notes
    assert any(note.startswith(RUNS_PAST) and "tr 20" in note for note in collection.notes)


def test_mlqa_r_joins_its_translated_titles(xlir_data: Path) -> None:
    _, collection = real("mlqa-r", xlir_data)
    languages = Counter(name for queries in collection.queries.values() for name in queries.ids)
    assert Counter(languages.values()) == {4: 820, 3: 263, 2: 65}
    clusters: dict[str, set[str]] = {}
    for queries in collection.queries.values():
        for name, cluster in zip(queries.ids, queries.clusters, strict=True):
            clusters.setdefault(name, set()).add(cluster)
    assert {len(names) for names in clusters.values()} == {1}
    assert len(set().union(*clusters.values())) <= 520
    assert not {("ar", "ar"), ("en", "de")} - set(collection.relevance)


def test_all_of_xquad_r_is_read_in_a_moment(xlir_data: Path) -> None:
    real("xquad-r", xlir_data, langs=("en",))
    started = time.process_time()
    real("xquad-r", xlir_data)
    assert time.process_time() - started < 2
