"""`xlir-bench show`: a stored result again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli.conftest import tells
from stored import change, copy_results

FOLDER = Path("results/builtin-ngram/mini")


@pytest.fixture
def stored(xlir):
    """The command in a folder with results."""
    copy_results(Path("results"))
    return xlir


def test_it_prints_what_run_printed(xlir):
    ran = xlir("run", "--model", "builtin:ngram")
    shown = xlir("show", FOLDER)
    assert shown.code == 0
    assert shown.out.strip() in ran.out


def test_a_measure_of_fairness_without_an_interval_shows_none(stored):
    record = json.loads((FOLDER / "result.json").read_text())
    figures = {key: {**record["bias"][key], "low": None, "high": None} for key in ("tlr@20",)}
    change(FOLDER, bias=figures)
    (line,) = [x for x in stored("show", FOLDER).out.splitlines() if x.startswith("recall@20 of")]
    assert " - " in line
    assert " to " not in line


def test_a_question_shows_its_ranks_in_every_pool_and_its_texts(stored):
    said = stored("show", FOLDER, "--query", "honey-bees-1")
    assert said.code == 0
    assert "all:en" in said.out
    assert "How many eggs can a queen bee lay" in said.out
    assert "en:0:1: On a busy day in early summer" in said.out


def test_a_question_is_shown_as_it_was_asked(xlir, tmp_path):
    part = (
        "--langs",
        "de,en",
        "--limit",
        "2",
        "--model",
        "builtin:ngram",
        "--quiet",
        "--query-form",
    )
    assert xlir("run", *part, "lower", "--output", "lower").code == 0
    (folder,) = Path("lower/builtin-ngram").iterdir()
    said = xlir("show", folder, "--query", "honey-bees-1")
    assert "how many eggs can a queen bee lay" in said.out
    assert "How many eggs" not in said.out
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/en-de.tsv").write_text("queen\tKönigin\n", encoding="utf-8")
    (tmp_path / "lists/de-en.tsv").write_text("Königin\tqueen\n", encoding="utf-8")
    lists = ("--lexicon", tmp_path / "lists", "--output", "switched")
    assert xlir("run", *part, "code-switched", *lists).code == 0
    (folder,) = Path("switched/builtin-ngram").iterdir()
    said = xlir("show", folder, "--query", "honey-bees-1")
    assert said.code == 0
    assert tells(said.out, "texts", "not shown", "word lists")


def test_without_the_data_the_ranks_are_shown_all_the_same(stored, tmp_path):
    record = json.loads((FOLDER / "result.json").read_text())
    record["task"]["name"] = "gone"
    (FOLDER / "result.json").write_text(json.dumps(record))
    said = stored("show", FOLDER, "--query", "honey-bees-1")
    assert said.code == 0
    assert tells(said.out, "texts", "not shown", "'gone'")
    assert "all:en" in said.out


def test_a_question_is_not_asked_for_as_json(stored):
    said = stored("show", FOLDER, "--query", "honey-bees-1", "--json")
    assert (said.code, said.out) == (2, "")
    assert tells(said.err, "--query", "--json")


def test_an_unknown_question_gets_a_near_miss(stored):
    said = stored("show", FOLDER, "--query", "honey-bee-1")
    assert said.code == 2
    assert tells(said.err, "'honey-bee-1'", "'honey-bees-1'")
    assert len(said.err) < 2000


def test_several_results_are_one_table(stored):
    shutil.copytree(FOLDER, "results/other/mini")
    said = stored("show", FOLDER, "results/other/mini", "--markdown")
    assert said.out.count("| builtin:ngram") == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_a_damaged_result_is_one_message(stored, text):
    (FOLDER / "result.json").write_text(text)
    said = stored("show", FOLDER)
    assert said.code == 2
    assert "result.json" in said.err
    assert "Traceback" not in said.err


def test_a_result_that_is_not_there_is_told(xlir):
    said = xlir("show", "results/none")
    assert said.code == 2
    assert "results/none" in said.err


def test_a_root_is_a_list_of_what_is_there_and_a_folder_of_one_result_is_that_result(stored):
    said = stored("show", "results")
    assert said.code == 0
    assert "builtin:ngram" in said.out
    assert "results/builtin-random/mini" in said.out
    assert stored("show", FOLDER.parent).out == stored("show", FOLDER).out


def test_a_question_is_found_by_words_of_it_in_any_case(stored):
    by_id = stored("show", FOLDER, "--query", "honey-bees-1")
    assert stored("show", FOLDER, "--query", "QUEEN BEE").out == by_id.out


def test_several_questions_with_these_words_are_listed_and_so_are_all_of_them(stored):
    said = stored("show", FOLDER, "--query", "bee")
    assert "honey-bees-1  en  How many eggs" in said.out
    assert "all:en" not in said.out
    assert stored("show", FOLDER, "--query", "").out.count("  en  ") == 72
