from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from train.changes import CHANGES, WHOLE, shares_found
from train.rowfiles import row, write_rows

from xlir_bench.options.running import RunOptions
from xlir_bench.records import ROLES, Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue, tasks_folder
from xlir_bench.train.leakage import EvaluationTexts, LeakageReport, find_leaks
from xlir_bench.train.ngrams import KnownTexts, Letters

PARAGRAPH = "It is said that the ship left the harbour at dawn, and nobody on the quay saw it go."


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty cache: `mini` alone is on disk."""
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    yield
    assert not (tmp_path / "cache").exists(), "evaluation data was downloaded"


@pytest.fixture(scope="module")
def mini_question() -> str:
    data = json.loads((tasks_folder() / "mini" / "en.json").read_text(encoding="utf-8"))
    return next(
        qa["question"]
        for article in data["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
        if len(qa["question"]) > 40
    )


def leaks(tmp_path: Path, *rows: dict, tasks: tuple[str, ...] = ("mini",)) -> LeakageReport:
    path = write_rows(tmp_path / "rows.jsonl", rows)
    return find_leaks([str(path)], catalogue().get(tasks), None, Silent())


def test_an_evaluation_text_is_found_whatever_its_case_and_spacing(
    tmp_path: Path, mini_question: str
) -> None:
    spaced = "  " + mini_question.upper().replace(" ", "\u00a0 ")
    report = leaks(tmp_path, row(1), row(2, question={"de": spaced}))
    assert (report.rows, report.leaking) == (2, 1)
    assert report.by_task == {"mini": {"en": {"exact": 1, "near": 0}}}
    assert report.examples[0]["row"] == "row-2"
    assert report.examples[0]["text"] == mini_question


def test_a_near_duplicate_and_one_inside_a_paragraph_are_found(
    tmp_path: Path, mini_question: str
) -> None:
    inside = row(1, answer={"en": f"{PARAGRAPH} {mini_question} {PARAGRAPH}"})
    changed = row(2, answer={"en": mini_question.rstrip("?") + ", then?"})
    negative = row(3, negative={"en": mini_question.replace(" ", "-")})
    report = leaks(tmp_path, inside, changed, negative, row(4, answer={"en": PARAGRAPH}))
    assert report.leaking == 3
    assert report.by_task == {"mini": {"en": {"exact": 1, "near": 2}}}


def near(known: str, text: str) -> bool:
    return bool(KnownTexts.of(Letters.of([known])).near(Letters.of([text])))


def test_texts_are_compared_by_their_letters() -> None:
    def letters(text: str) -> str:
        return Letters.of([text])[0]

    assert letters("Ｆｕß - “Ärger”, 3.5​!") == "fussarger35"
    assert letters("Ελλάδα Ёлка Việt") == letters("ελλαδα елка Viet")
    assert letters("DIYARBAKIR İÇİN") == letters("Diyarbakır için") == "diyarbakiricin"
    assert letters("ガイド ｶﾞｲﾄﾞ") == "ガイドガイド"
    for one, other in (("कि", "की"), ("ปา", "ป่า"), ("قَد", "قد"), ("か", "が")):
        assert letters(one) != letters(other)


def test_a_short_text_is_found_if_it_is_the_whole_and_a_very_short_one_is_not() -> None:
    texts = {
        text: [("made", "xx")] for text in ("谁发明了电话？", "Why?", "Who won it?", PARAGRAPH)
    }
    known = EvaluationTexts.of(texts)
    hits = known.matches(["谁发明了电话", "why?", "who won it", "Who won it? I asked.", PARAGRAPH])
    assert [list(x.values()) for x in hits] == [["exact"], [], ["exact"], [], ["exact"]]
    counts = known.counts["made"]
    assert counts == {"texts": 4, "exact_only": 2, "not_compared": 1}


def test_a_part_of_a_text_is_no_duplicate() -> None:
    assert near(PARAGRAPH, PARAGRAPH[:-20])
    assert not near(PARAGRAPH, PARAGRAPH[:40])
    assert not near(PARAGRAPH, "")
    assert not near("", PARAGRAPH)


def test_a_stock_phrase_or_words_of_a_short_text_in_a_longer_one_are_no_duplicate() -> None:
    longer = "The test uses real-time reverse transcription polymerase chain reaction (rRT-PCR)."
    assert not near("Polymerase chain reaction (DNA).", longer)
    assert near("Polymerase chain reaction.", longer)
    zukunft = (
        "Das wäre eine „Bestätigung unserer Zukunft“, und mehr als 80 Prozent sind erforderlich."
    )
    assert not near("[Bestätigung erforderlich]", zukunft)


def texts_of(name: str, root: Path | None) -> dict[str, list[str]]:
    (task,) = catalogue().get([name])
    request = RunOptions(data=root, langs=tuple(task.languages), offline=True)
    collection = load_collection(task, request, Silent())
    return {
        lang: list(dict.fromkeys(x for role in ROLES for x in collection.texts(role, lang)))
        for lang in task.languages
    }


def require_found(table: dict[str, dict[str, float]]) -> None:
    """What has all its letters is found; what lost some, nearly always."""
    assert table.keys() == CHANGES.keys()
    assert [kind for kind in WHOLE if set(table[kind].values()) != {1.0}] == []
    least = {kind: min(found.values()) for kind, found in table.items()}
    assert {kind: share for kind, share in least.items() if share < LEAST.get(kind, 1.0)} == {}


LEAST = {
    "typo": 1.0,
    "digits": 0.95,
    "word deleted": 0.85,
    "word replaced": 0.85,
    "three quarters": 0.9,
}
"""The share that is found of the sentences of 60 characters and little more (20 in Chinese, Japanese, Korean)
after each change, in the language where it is least; of all others, which keep their letters, 1."""


def test_twelve_kinds_of_change_in_eleven_languages_are_found() -> None:
    table = shares_found(texts_of("mini", None), 40)
    assert len(table["exact"]) == 11
    require_found(table)


def test_twelve_kinds_of_change_are_found_in_real_data(xlir_data: Path) -> None:
    texts = {lang: its[:600] for lang, its in texts_of("xquad-r", xlir_data).items()}
    for lang, name in (("ja", "jp"), ("ko", "ko")):
        captions = xlir_data / "xtd10" / f"test_1kcaptions_{name}.txt"
        texts[lang] = list(dict.fromkeys(captions.read_text(encoding="utf-8").splitlines()))
    table = shares_found(texts, 100)
    assert len(table["exact"]) == 13
    require_found(table)


@pytest.fixture(scope="module")
def xquad_texts(xlir_data: Path) -> EvaluationTexts:
    return EvaluationTexts.load(catalogue().get(["xquad-r"]), xlir_data, Silent())


def test_sentences_of_other_data_are_not_taken_for_evaluation_texts(
    xlir_data: Path, xquad_texts: EvaluationTexts
) -> None:
    """News and health; joined to paragraphs, too."""
    for name in ("ntrex", "tico19"):
        path = xlir_data / "parallel" / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()[:600]
        rows = [json.loads(line)["text"] for line in lines]
        texts = [text for row in rows for text in row.values()]
        texts += [
            " ".join(row["es"] for row in rows[n : n + 4]) for n in range(0, len(rows) - 3, 4)
        ]
        assert [texts[n] for n, hit in enumerate(xquad_texts.matches(texts)) if hit] == []


def test_a_task_whose_data_is_not_on_disk_is_named_and_not_downloaded(tmp_path: Path) -> None:
    report = leaks(tmp_path, row(1), tasks=("mini", "xquad-r"))
    assert report.evaluation.checked.keys() == {"mini"}
    assert "ar, de, el" in report.evaluation.unchecked["xquad-r"]


def test_the_report_says_how_it_looked(tmp_path: Path) -> None:
    stated = leaks(tmp_path, row(1)).as_json()
    assert (stated["threshold"], stated["ngram"], stated["leaking"]) == (0.7, 8, 0)
    assert stated["checked"] == {
        "mini": ["ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"]
    }


def test_the_bundled_training_rows_do_not_hold_the_bundled_task() -> None:
    path = tasks_folder() / "mini-train.jsonl"
    report = find_leaks([str(path)], catalogue().get(["mini"]), None, Silent())
    assert report.rows > 0
    assert report.leaking == 0


def test_every_evaluation_text_of_real_data_is_found_again(xquad_texts: EvaluationTexts) -> None:
    some = xquad_texts.texts[::500]
    assert all("exact" in found.values() for found in xquad_texts.matches(some))
