"""LAReQA's files with paragraphs as candidates: the tasks `xquad` and `mlqa`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation.plain import Signs, plain_measures, settings_of
from sources.serving import SMALL, article, lareqa, paragraph, write_data, write_task
from sources.test_lareqa import read, relevant

from xlir_bench import RunOptions, evaluate
from xlir_bench.errors import InputError
from xlir_bench.records import Kind
from xlir_bench.tasks import catalogue, read_task


def test_a_question_finds_the_paragraph_of_its_translation_in_every_language(
    tmp_path: Path,
) -> None:
    found = read(tmp_path, SMALL, candidate="paragraph")
    assert found.passages["en"].ids == ("en:0", "en:1")
    assert found.passages["en"].texts == ("Bees dance. They make honey.", "Salt is white.")
    assert relevant(found, "en", "de") == {"q1": ["de:0"], "q2": ["de:1"]}
    assert relevant(found, "de", "de") == {"q1": ["de:0"], "q2": ["de:1"]}
    assert found.queries["de"].clusters == ("Bees", "Salt")
    assert (found.cluster, found.parallel, found.notes) == ("article", True, ())


def test_equal_paragraphs_are_one_candidate_and_those_without_a_question_count(
    tmp_path: Path,
) -> None:
    one, again = (paragraph(["Yes.", "No."], [(f"q{n}", "Which?", n)]) for n in range(2))
    content = lareqa(article("A", paragraph(["Alone."], []), one), article("B", again))
    found = read(tmp_path, {"en": content}, candidate="paragraph")
    assert found.passages["en"].texts == ("Alone.", "Yes. No.")
    assert relevant(found, "en", "en") == {"q0": ["en:1"], "q1": ["en:1"]}


def test_a_question_of_one_language_only_is_not_asked_elsewhere(tmp_path: Path) -> None:
    alone = lareqa(article("Tea", paragraph(["Tee ist heiß."], [("q9", "Was?", 0)])))
    found = read(tmp_path, {"en": SMALL["en"], "de": alone}, candidate="paragraph")
    assert ("en", "de") not in found.relevance
    assert relevant(found, "de", "de") == {"q9": ["de:0"]}


@pytest.mark.parametrize(
    ("context", "questions", "message"),
    [
        (" ", [("q", "Who?", 0)], "paragraphs[0].context: is empty"),
        ("Bees.", [("q", "\n", 0)], "qas[0].question: is empty"),
        ("Bees.", [("q", "Who?", 0), ("q", "Why?", 0)], "'q' is the id of another question"),
    ],
)
def test_a_fault_is_one_message_with_its_place(
    tmp_path: Path, context: str, questions: list[tuple[str, str, int]], message: str
) -> None:
    content = lareqa(article("A", paragraph([context], questions)))
    with pytest.raises(InputError, match=r"^1 fault\b.*'small'") as caught:
        read(tmp_path, {"en": content}, candidate="paragraph")
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "settings"), [("xquad", 132), ("mlqa", 56)])
def test_the_tasks_are_of_the_same_files_and_no_other_digest(name: str, settings: int) -> None:
    task, sentences = catalogue().get([name, f"{name}-r"])
    assert len(task.settings()) == settings
    assert task.source == sentences.source
    same = {lang: (f.path, f.sha256, f.queries) for lang, f in sentences.files.items()}
    assert {lang: (f.path, f.sha256, f.queries) for lang, f in task.files.items()} == same
    assert task.digest != sentences.digest
    assert task.candidates == ["paragraph"]


@pytest.mark.parametrize(
    ("usual", "asked", "part"),
    [
        ("paragraph", None, {}),
        ("paragraph", "sentence", {"candidate": "candidate text sentence"}),
        ("sentence", "paragraph", {"candidate": "candidate text paragraph"}),
    ],
)
def test_the_candidates_that_a_task_has_anyway_make_no_run_a_part(
    tmp_path: Path, usual: str, asked: str | None, part: dict[str, str]
) -> None:
    file = write_task(tmp_path, SMALL)
    text = file.read_text("utf-8").replace('candidate = "sentence"', f'candidate = "{usual}"')
    file.write_text(text.replace('"sentence+context"]', '"paragraph"]'), "utf-8")
    root = write_data(tmp_path, SMALL)
    options = RunOptions(data=root, cache=None, candidate=asked)
    assert evaluate(read_task(file), Signs(), options).record.options.part == part


class PlainParagraphs:
    """Questions, distinct paragraphs and which answers which, read in the plainest way."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self.questions, self.paragraphs, self.asked_of = {}, {}, {}
        for lang, path in paths.items():
            every = [
                part
                for piece in json.loads(path.read_text("utf-8"))["data"]
                for part in piece["paragraphs"]
            ]
            self.questions[lang] = {q["id"]: q["question"] for part in every for q in part["qas"]}
            self.paragraphs[lang] = list(dict.fromkeys(part["context"] for part in every))
            self.asked_of[lang] = {q["id"]: part["context"] for part in every for q in part["qas"]}


@pytest.mark.parametrize(
    ("name", "langs"), [("xquad", ("ar", "en", "th", "zh")), ("mlqa", ("de", "hi", "zh"))]
)
def test_all_settings_of_real_files_equal_a_plain_computation(
    xlir_data: Path, name: str, langs: tuple[str, ...]
) -> None:
    (task,) = catalogue().get([name])
    result = evaluate(task, Signs(), RunOptions(langs=langs, cache=None, data=xlir_data))
    plain = PlainParagraphs({lang: xlir_data / task.files[lang].path for lang in langs})
    passages, queries = (
        {lang: Signs().encode(list(texts[lang]), role).astype(float) for lang in langs}
        for role, texts in (
            ("passage", plain.paragraphs),
            ("query", {lang: asked.values() for lang, asked in plain.questions.items()}),
        )
    )
    for (asked, sought), setting in settings_of(result).items():
        pool = langs if sought == "*" else (sought,)
        paragraphs = [(lang, text) for lang in pool for text in plain.paragraphs[lang]]
        place = {paragraph: n for n, paragraph in enumerate(paragraphs)}
        scores = queries[asked] @ np.concatenate([passages[lang] for lang in pool]).T
        ranks = []
        orders = np.argsort(-scores, axis=1, kind="stable")
        for name_, order in zip(plain.questions[asked], orders, strict=True):
            answers = [(lang, plain.asked_of[lang].get(name_)) for lang in pool]
            there = [place[paragraph] for paragraph in answers if paragraph in place]
            ranks.append(np.flatnonzero(np.isin(order, there)) + 1)
        table = np.array([np.pad(row, (0, len(pool) - len(row))) for row in ranks])
        wanted = plain_measures(table)
        found = {measure: setting.measures[measure] for measure in wanted}
        assert found == pytest.approx(wanted, abs=1e-6), (asked, sought)
        assert setting.queries == (table.max(axis=1) > 0).sum()
        assert setting.candidates == len(paragraphs)
    assert len(result.record.settings) == len(langs) ** 2 + len(langs)
    assert {s.kind for s in result.record.settings} == set(Kind)
