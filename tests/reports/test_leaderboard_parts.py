"""Leaderboards of some languages of a task: ranked by themselves, never with full runs or other parts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from stored import another, change, copy_results

from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.records import Kind
from xlir_bench.rendering.numbers import signed
from xlir_bench.reports.compare import compare
from xlir_bench.reports.export import write as export
from xlir_bench.reports.leaderboard.board import read_board
from xlir_bench.reports.leaderboard.pages import leaderboard_texts
from xlir_bench.results import Result, load_results, result_folder
from xlir_bench.tasks import catalogue


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return copy_results(tmp_path / "results")


def pages(results: Path) -> dict[str, str]:
    return leaderboard_texts(read_board([results]))


LANGUAGES = ("de", "en"), ("de", "el", "en")


@pytest.fixture
def parts(results: Path) -> Path:
    """Runs of two choices of languages beside the full ones, where `run` puts them."""
    for name in ("ngram", "random"):
        for langs in LANGUAGES:
            run_part(results, name, langs=langs)
    return results


def run_part(results: Path, name: str, **stated: Any) -> Path:
    options = RunOptions(cache=None, **stated)
    (mini,) = catalogue().get(["mini"])
    folder = result_folder(results, f"builtin-{name}", "mini", options.part(mini))
    evaluate(mini, f"builtin:{name}", options).save(folder)
    return folder


def test_runs_of_the_same_languages_are_ranked_on_a_page_of_their_own(parts):
    board = read_board([parts])
    assert [(task.file, task.title) for task in board.tasks] == [
        ("mini", "mini"),
        ("mini~de-el-en", "mini: de el en"),
        ("mini~de-en", "mini: de en"),
    ]
    assert not board.left_out
    for task, langs in zip(board.tasks[1:], reversed(LANGUAGES), strict=True):
        assert [row.name for row in task.rows] == ["builtin:ngram", "builtin:random"]
        assert all(row.record.options.langs == list(langs) for row in task.rows)
        assert all(row.standings for row in task.rows)
    texts = pages(parts)
    assert "# mini: de en\n" in texts["mini~de-en.md"]
    (counts,) = [line for line in texts["mini~de-en.md"].splitlines() if "(de en)" in line]
    assert all(f"2 {what}" in counts for what in ("languages", *Kind))
    own = texts["mini~de-en/builtin-ngram.md"]
    assert re.search(r"^# builtin:ngram\b.*\bmini: de en$", own, re.MULTILINE)
    assert "## [mini: de en](mini~de-en.md)" in texts["README.md"]
    part = Result.load(parts / "builtin-ngram" / "mini").record.summary[Kind.MULTILINGUAL]["map"]
    assert f"{part.mean:.4f}"[1:] not in texts["mini~de-en.md"]


def test_parts_change_nothing_on_the_pages_of_full_runs(results):
    before = leaderboard_texts(read_board([results]), html=True)
    run_part(results, "ngram", langs=("de", "en"))
    after = leaderboard_texts(read_board([results]), html=True)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"README.md", "index.html"}
    assert before["README.md"].partition("\n---\n")[0] in after["README.md"]
    shutil.rmtree(results / "builtin-ngram" / "mini")
    shutil.rmtree(results / "builtin-random" / "mini")
    alone = pages(results)
    assert sorted(alone) == [
        "README.md",
        "mini~de-en.md",
        "mini~de-en/builtin-ngram.md",
        "published.md",
    ]


def test_a_part_of_a_task_that_papers_report_on_does_not_stand_beside_their_figures(parts):
    for file in parts.rglob("result.json"):
        change(file.parent, task={"name": "xquad-r", "title": "XQuAD-R"})
    full = leaderboard_texts(read_board([parts]), html=True)
    for folder in parts.glob("*/mini"):
        shutil.rmtree(folder)
    alone = leaderboard_texts(read_board([parts]), html=True)
    assert "builtin:ngram" in full["published.md"]
    assert "builtin:ngram" not in alone["published.md"]
    assert "(published.md#xquad-r)" in full["xquad-r.md"]
    assert "(published.md)" in alone["xquad-r~de-en.md"]
    assert '"reported":[{' in full["index.html"]
    assert '"reported":[{' not in alone["index.html"]


def test_an_exported_part_has_the_page_that_it_had(parts, tmp_path):
    export("result", load_results([*parts.glob("*/*")]), tmp_path / "exported")
    assert pages(tmp_path / "exported") == pages(parts)
    folder = run_part(parts, "ngram", langs=("de", "en"), candidate="sentence+context")
    export("result", [Result.load(folder)], tmp_path / "other")
    assert read_board([tmp_path / "other"]).tasks == ()


@pytest.mark.parametrize(
    "more",
    [
        {"limit": 5},
        {"kinds": ("monolingual",)},
        {"candidate": "sentence+context"},
        {"measures": ("map", "mrr")},
        {"seed": 1},
    ],
)
def test_a_part_in_more_than_its_languages_is_not_ranked(results, more):
    run_part(results, "ngram", langs=("de", "en"), **more)
    board = read_board([results])
    assert [task.file for task in board.tasks] == ["mini"]
    assert len(board.left_out) == 1


def test_parts_are_ranked_by_themselves_where_nothing_else_of_their_task_is(tmp_path):
    for name in ("ngram", "random"):
        run_part(tmp_path, name, limit=5)
    run_part(tmp_path, "ngram", limit=6)
    boards = read_board([tmp_path]).tasks
    # The task, then what the part is: so many queries of each language.
    parts = {task.title.removeprefix("mini: "): len(task.rows) for task in boards}
    assert [(*re.findall(r"\d+ queries", part), rows) for part, rows in parts.items()] == [
        ("5 queries", 2), ("6 queries", 1),
    ]  # fmt: skip
    assert all(task.is_part for task in boards)
    page = leaderboard_texts(read_board([tmp_path]), html=True)["index.html"]
    assert f'"part":"{next(iter(parts))}"' in page


def test_many_languages_of_a_part_are_counted_in_its_title(results):
    langs = [f"{letter}aa_Latn" for letter in "abcdefghijklmnopqrst"]
    for name in ("ngram", "random"):
        change(results / f"builtin-{name}" / "mini", options={"langs": langs})
    (task,) = read_board([results]).tasks
    assert task.title == "mini: 20 languages"
    assert len(task.file) <= 120
    change(results / "builtin-random" / "mini", options={"langs": langs[:-1]})
    assert len({task.file for task in read_board([results]).tasks}) == 2


def test_parts_whose_languages_are_spelt_alike_have_a_page_each(results):
    spelt = [["a-b", "c"], ["a", "b-c"], ["a", "b", "c"], ["a-b-c"], ["a-b-c "]]
    for n, langs in enumerate(spelt):
        folder = another(results, f"e{n}", f"e{n}")
        change(folder, options={"langs": langs})
    assert len({task.file for task in read_board([results]).tasks}) == 1 + len(spelt)


def test_what_questions_in_other_forms_cost_stands_on_the_page_of_the_encoder(results):
    """Of runs that are otherwise alike: the changes that `compare` finds, with their intervals."""
    langs = ("de", "en")
    plain = run_part(results, "ngram", langs=langs)
    changed = run_part(results, "ngram", langs=langs, query_form="typos")
    run_part(results, "ngram", langs=langs, query_form="lower", limit=5)
    texts = pages(results)
    with_forms = [name for name, text in texts.items() if "in other forms" in text]
    assert with_forms == ["mini~de-en/builtin-ngram.md"]
    page = texts[with_forms[0]]
    assert "| questions | typos |" in page
    found = compare(Result.load(plain), Result.load(changed))
    for row in (*found.kinds, *found.langs):
        test = row.test
        cell = f"{signed(test.difference)} ({signed(test.low)} to {signed(test.high)})"
        assert f"| {row.kind.value} {row.query_lang or 'all'} | {cell} |" in page
    shutil.rmtree(plain)
    assert not any("in other forms" in text for text in pages(results).values())
