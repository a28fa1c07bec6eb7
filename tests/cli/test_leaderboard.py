"""`xlir-bench leaderboard`: pages from stored results."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli.conftest import tells
from stored import change, copy_results

from xlir_bench import __version__


@pytest.fixture
def boards(xlir, tmp_path):
    """The command in a folder with results."""
    copy_results(tmp_path / "results")
    return xlir


def test_it_writes_the_pages_and_says_so_and_every_page_says_which_command_and_version_made_it(
    boards,
):
    said = boards("leaderboard", "--html")
    assert said.code == 0
    counts = ("2 encoders", "1 task", "6 files", "6 new", "0 changed", "0 removed")
    assert tells(said.out, *counts, "leaderboards")
    assert "builtin:ngram" in Path("leaderboards/README.md").read_text(encoding="utf-8")
    assert Path("leaderboards/index.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    for page in Path("leaderboards").rglob("*.*"):
        text = page.read_text(encoding="utf-8")
        assert "xlir-bench leaderboard" in text
        assert __version__ in text


def test_check_is_silent_when_all_is_well_and_tells_what_is_not(boards):
    boards("leaderboard")
    said = boards("leaderboard", "--check")
    assert (said.code, said.out) == (0, "")
    Path("leaderboards/mini.md").unlink()
    readme = Path("leaderboards/README.md")
    readme.write_text(readme.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    said = boards("leaderboard", "--check")
    assert said.code == 1
    assert said.out.splitlines() == [
        "differs: leaderboards/README.md",
        "missing: leaderboards/mini.md",
    ]
    assert not Path("leaderboards/mini.md").exists()


def test_check_holds_for_runs_of_some_languages(boards):
    run = ("run", "--model", "builtin:ngram", "--task", "mini", "--langs", "en,de")
    assert boards(*run).code == 0
    assert boards("leaderboard", "--html").code == 0
    assert "# mini: de en" in Path("leaderboards/mini~de-en.md").read_text(encoding="utf-8")
    assert boards("leaderboard", "--html", "--check").code == 0
    (part,) = Path("results/builtin-ngram").glob("mini~*")
    part.rename(Path("results/gone"))
    Path("results/gone/result.json").unlink()
    said = boards("leaderboard", "--html", "--check")
    assert said.code == 1
    assert "extra: leaderboards/mini~de-en.md" in said.out


def test_several_folders_are_one_board(boards, tmp_path):
    (tmp_path / "results" / "builtin-random").rename(tmp_path / "more")
    said = boards("leaderboard", "--results", "results", "--results", "more", "--output", "out")
    assert "2 encoders" in said.out
    assert Path("out/mini/builtin-random.md").exists()


def test_a_damaged_file_is_named_and_with_strict_it_ends_the_command(boards):
    Path("results/broken").mkdir()
    Path("results/broken/result.json").write_text("{", encoding="utf-8")
    said = boards("leaderboard")
    assert said.code == 0
    assert said.err.startswith("left out: results/broken/result.json")
    said = boards("leaderboard", "--strict")
    assert said.code == 2
    assert "Traceback" not in said.err


def test_a_folder_that_is_not_there_is_told(xlir):
    said = xlir("leaderboard")
    assert said.code == 2
    assert tells(said.err, "error: results", "not there", "--results")


def test_pages_of_stored_results_are_not_replaced_by_those_of_a_first_run(xlir, tmp_path):
    """Such as those of a checkout, by `leaderboard` without any option."""
    copy_results(tmp_path / "results")
    copy_results(tmp_path / "leaderboards" / "results")
    said = xlir("leaderboard")
    assert said.code == 2
    assert tells(said.err, "--results leaderboards/results")
    assert xlir("leaderboard", "--results", "leaderboards/results").code == 0


def test_a_readme_of_one_s_own_is_not_overwritten(boards):
    Path("README.md").write_text("mine\n", encoding="utf-8")
    said = boards("leaderboard", "--output", ".")
    assert said.code == 2
    assert tells(said.err, "README.md", "not overwritten", "--output")
    assert Path("README.md").read_text(encoding="utf-8") == "mine\n"


def test_figures_once_there_are_drawn_anew_and_checked(boards):
    pytest.importorskip("matplotlib")
    assert boards("leaderboard", "--figures").code == 0
    figure = Path("leaderboards/figures/mini-matrix.svg")
    assert "![mini: matrix](figures/mini-matrix.svg)" in Path("leaderboards/mini.md").read_text(
        encoding="utf-8"
    )
    assert boards("leaderboard", "--check").code == 0
    fresh = figure.read_text(encoding="utf-8")
    ElementTree.fromstring(fresh)
    figure.write_text(fresh.replace("builtin:ngram", "another"), encoding="utf-8")
    said = boards("leaderboard", "--check")
    assert (said.code, said.out) == (1, "differs: leaderboards/figures/mini-matrix.svg\n")
    own = Path("leaderboards/figures/own.svg")
    own.write_text("<svg/>", encoding="utf-8")
    said = boards("leaderboard", "--results", "results/builtin-ngram", "--check")
    assert "extra: leaderboards/figures/mini-difference.svg" in said.out
    assert boards("leaderboard", "--results", "results/builtin-ngram").code == 0
    assert "builtin:ngram" in figure.read_text(encoding="utf-8")
    assert not Path("leaderboards/figures/mini-difference.svg").exists()
    assert own.exists()


def test_no_text_of_the_data_is_on_the_page_unless_it_was_asked_for(boards):
    question = "How many eggs can a queen bee lay"
    page = Path("leaderboards/index.html")
    assert boards("leaderboard", "--html").code == 0
    assert question not in page.read_text(encoding="utf-8")
    said = boards("leaderboard", "--questions")
    assert said.code == 0, said.err
    assert question in page.read_text(encoding="utf-8")
    assert boards("leaderboard", "--questions", "--check").code == 0
    assert boards("leaderboard", "--html", "--check").code == 1
    assert boards("leaderboard", "--html").code == 0
    assert question not in page.read_text(encoding="utf-8")


def test_a_task_whose_data_is_not_here_has_no_questions_and_that_is_said(boards):
    for folder in Path("results").glob("*/mini"):
        change(folder, task={"name": "xquad-r"})
    said = boards("leaderboard", "--questions")
    assert said.code == 0
    assert tells(said.err, "no questions", "xquad-r", "xlir-bench data fetch xquad-r")
    assert '"questions":' not in Path("leaderboards/index.html").read_text(encoding="utf-8")
