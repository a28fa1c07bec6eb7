from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.plain import Signs, plain_measures

from xlir_bench import RunOptions, evaluate
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Kind, Silent
from xlir_bench.sources import ReadOptions, load_collection
from xlir_bench.sources.squad import SHARED, read_squad, read_tydiqa
from xlir_bench.tasks import catalogue


def paragraph(context: str, **questions: str) -> dict[str, Any]:
    asked = [{"id": name, "question": text, "answers": []} for name, text in questions.items()]
    return {"paragraphs": [{"context": context, "qas": asked}]}


BEES = "Bees dance. They make honey."
SALT = "Salt is white."
SMALL = {
    "data": [
        paragraph(BEES, **{"english-1": "What do bees make?"}),
        paragraph(SALT, **{"english-2": "Which colour has salt?"}),
        paragraph(BEES, **{"english-3": "Do bees dance?"}),
        paragraph("Mehiläiset tanssivat.", **{"finnish-1": "Tanssivatko mehiläiset?"}),
    ]
}


def read(folder: Path, content: Any, reader: Any = read_squad, **reading: Any) -> Collection:
    path = folder / "en.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    (task,) = catalogue().get(["tydiqa-goldp"])
    return reader(task, {"en": path}, ReadOptions(**({"candidate": "passage"} | reading)))


def test_a_question_finds_its_paragraph_among_the_distinct_ones(tmp_path: Path) -> None:
    found = read(tmp_path, SMALL)
    assert found.passages["en"].texts == (BEES, SALT, "Mehiläiset tanssivat.")
    assert found.passages["en"].ids == ("en:0", "en:1", "en:2")
    assert found.queries["en"].ids == ("english-1", "english-2", "english-3", "finnish-1")
    assert found.relevance["en", "en"].passage.tolist() == [0, 1, 0, 2]
    assert not found.parallel
    assert f"{SHARED}: 1 (en 1)" in found.notes


def test_questions_about_one_paragraph_are_one_cluster(tmp_path: Path) -> None:
    found = read(tmp_path, SMALL)
    assert found.cluster == "document"
    assert found.queries["en"].clusters == ("en:0", "en:1", "en:0", "en:2")


def test_of_a_file_of_all_languages_the_questions_of_its_own_are_taken(tmp_path: Path) -> None:
    found = read(tmp_path, SMALL, read_tydiqa)
    assert found.queries["en"].ids == ("english-1", "english-2", "english-3")
    assert found.passages["en"].texts == (BEES, SALT)


def test_a_limit_leaves_all_paragraphs(tmp_path: Path) -> None:
    found = read(tmp_path, SMALL, limit=1)
    assert found.queries["en"].ids == ("english-1",)
    assert len(found.passages["en"].ids) == 3
    assert found.relevance["en", "en"].query.tolist() == [0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "$: is empty"),
        ('{"data": [', "ends too early"),
        ({"data": {}}, "$.data: should be a list"),
        ({"data": []}, "there is no question of 'en' in the whole file"),
        ({"data": [paragraph(" ", q="?")]}, "$.data[0].paragraphs[0].context: is empty"),
        ({"data": [paragraph("a", q=" ")]}, "$.data[0].paragraphs[0].qas[0].question: is empty"),
        ({"data": [paragraph("a", q="b"), paragraph("c", q="d")]}, "'q' is the id of another"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "'context' is missing"),
        ({"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "q"}]}]}]}, "'question' is"),
    ],
)
def test_a_bad_file_is_one_message_with_the_place(
    tmp_path: Path, content: Any, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, content)
    assert message in str(caught.value)
    assert "en.json" in str(caught.value)


LANGS = ("ar", "en", "fi", "ko", "ru")


def test_the_real_files_have_as_many_questions_and_paragraphs_as_the_task_says(
    xlir_data: Path,
) -> None:
    (task,) = catalogue().get(["tydiqa-goldp"])
    assert sum(file.queries or 0 for file in task.files.values()) == 5_077
    request = RunOptions(data=xlir_data, cache=xlir_data / "none", langs=LANGS)
    found = load_collection(task, request, Silent())
    for lang in LANGS:
        assert len(found.queries[lang].ids) == task.files[lang].queries
        assert len(found.passages[lang].ids) == task.files[lang].candidates
    assert any("digest not checked" in note for note in found.notes)


def test_scores_of_real_questions_equal_a_plain_computation(xlir_data: Path) -> None:
    encoder, langs = Signs(), ("en", "ko")
    result = evaluate("tydiqa-goldp", encoder, RunOptions(langs=langs, cache=None, data=xlir_data))
    contexts: dict[str, list[str]] = {}
    asked: dict[str, list[tuple[str, str]]] = {}
    for lang in langs:
        stated = json.loads((xlir_data / f"tydiqa-goldp/tydiqa.goldp.{lang}.dev.json").read_bytes())
        paragraphs = [p for article in stated["data"] for p in article["paragraphs"]]
        contexts[lang] = list(dict.fromkeys(p["context"] for p in paragraphs))
        asked[lang] = [(q["question"], p["context"]) for p in paragraphs for q in p["qas"]]
    for setting in result.record.settings:
        pool = [c for lang in setting.passage_langs for c in contexts[lang]]
        start = 0 if setting.query_lang == langs[0] or len(setting.passage_langs) == 1 else len(
            contexts[langs[0]]
        )  # fmt: skip
        queries = encoder.encode([q for q, _ in asked[setting.query_lang]], "query")
        scores = queries @ encoder.encode(pool, "passage").T
        ranks = []
        for row, (_, context) in zip(scores, asked[setting.query_lang], strict=True):
            at = start + contexts[setting.query_lang].index(context)
            ranks.append((row > row[at]).sum() + (row[:at] == row[at]).sum() + 1)
        assert setting.queries == len(ranks)
        assert setting.measures == pytest.approx(plain_measures(np.array(ranks)[:, None]), abs=1e-6)
    assert {s.kind for s in result.record.settings} == {Kind.MONOLINGUAL, Kind.MULTILINGUAL}
