from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from train.rowfiles import row, write_rows

from xlir_bench.records import Silent
from xlir_bench.tasks import catalogue, tasks_folder
from xlir_bench.train.leakage import EvaluationTexts, LeakageReport, find_leaks, normalised
from xlir_bench.train.ngrams import GramIndex
from xlir_bench.train.reading import TrainingSource

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
    return find_leaks([TrainingSource(str(path))], catalogue().get(tasks), None)


def test_an_evaluation_text_is_found_whatever_its_case_and_spacing(
    tmp_path: Path, mini_question: str
) -> None:
    spaced = "  " + mini_question.upper().replace(" ", "\u00a0 ")
    report = leaks(tmp_path, row(1), row(2, question={"de": spaced}))
    assert (report.rows, report.leaking) == (2, 1)
    assert report.found == {"mini": {"en": {"exact": 1, "near": 0}}}
    assert report.examples[0].row == "row-2"
    assert report.examples[0].text == normalised(mini_question)


def test_a_near_duplicate_and_one_inside_a_paragraph_are_found(
    tmp_path: Path, mini_question: str
) -> None:
    inside = row(1, answer={"en": f"{PARAGRAPH} {mini_question} {PARAGRAPH}"})
    changed = row(2, answer={"en": mini_question.rstrip("?") + ", then?"})
    negative = row(3, negative={"en": mini_question.replace(" ", "-")})
    report = leaks(tmp_path, inside, changed, negative, row(4, answer={"en": PARAGRAPH}))
    assert report.leaking == 3
    assert report.found == {"mini": {"en": {"exact": 0, "near": 3}}}


def test_short_texts_are_passed_over(tmp_path: Path) -> None:
    index = GramIndex.of(["too short to count", PARAGRAPH])
    assert index.near(["too short to count", PARAGRAPH + " too short to count"]) == [(1, 1)]


def test_a_share_of_the_ngrams_below_the_threshold_is_no_duplicate() -> None:
    index = GramIndex.of([PARAGRAPH])
    assert index.near([PARAGRAPH[:-10]]) == [(0, 0)]
    assert index.near([PARAGRAPH[:40]]) == []
    assert index.near([]) == index.near([""]) == []


def test_a_task_whose_data_is_not_on_disk_is_named_and_not_downloaded(tmp_path: Path) -> None:
    report = leaks(tmp_path, row(1), tasks=("mini", "xquad-r"))
    assert report.checked.keys() == {"mini"}
    assert "ar, de, el" in report.unchecked["xquad-r"]


def test_the_report_says_how_it_looked(tmp_path: Path) -> None:
    stated = leaks(tmp_path, row(1)).as_json()
    assert (stated["threshold"], stated["ngram"], stated["leaking"]) == (0.8, 8, 0)
    assert stated["checked"] == {
        "mini": ["ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"]
    }


def test_the_bundled_training_rows_do_not_hold_the_bundled_task() -> None:
    path = tasks_folder() / "mini-train.jsonl"
    report = find_leaks([TrainingSource(str(path))], catalogue().get(["mini"]), None)
    assert report.rows > 0
    assert report.leaking == 0


def test_every_evaluation_text_of_real_data_is_found_again(xlir_data: Path) -> None:
    task = catalogue().get(["xquad-r"])
    texts = EvaluationTexts.load(task, xlir_data, Silent())
    some = texts.texts[::500]
    assert all("exact" in found.values() for found in texts.matches(some))
