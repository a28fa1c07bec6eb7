"""What papers report stands beside the measured figures, and is never ranked with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import change, copy_results

from xlir_bench.records import Kind
from xlir_bench.reports.leaderboard.board import read_board
from xlir_bench.reports.leaderboard.pages import leaderboard_texts
from xlir_bench.reports.scores import MEAN, SOURCES, Score, reported_tasks


def test_every_row_is_read_and_names_a_known_source():
    systems = [system for task in reported_tasks().values() for system in task.values.items()]
    assert sum(len(scores) for _, scores in systems) == 1040
    assert {source for (source, *_), _ in systems} == set(SOURCES)


def test_the_means_of_the_paper_are_those_of_its_abstract():
    places = [(Score(Kind.MULTILINGUAL, measure), MEAN) for measure in ("map", "rank_distance")]
    rows = {system[1:]: scores for system, scores in reported_tasks()["xquad-r"].rows(places)}
    means, distance = rows["LaBSE", "hybrid"]
    assert means == pytest.approx(0.6817)
    assert distance == pytest.approx(221, abs=1)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_reported_mean_is_the_mean_of_its_languages(kind):
    for task in reported_tasks().values():
        places = [(Score(kind, "map"), lang) for lang in (MEAN, *task.langs)]
        for _, (mean, *values) in task.rows(places):
            if None not in values:
                assert mean == pytest.approx(sum(values) / len(values), abs=2e-4)


def test_reported_rows_are_marked_and_stand_under_the_measured_ones(tmp_path: Path):
    results = copy_results(tmp_path / "results")
    for folder in results.glob("*/mini"):
        change(folder, task={"name": "xquad-r", "title": "XQuAD-R"})
    board = read_board([results])
    text = leaderboard_texts(board)["published.md"]
    lines = [x for x in text.splitlines() if x.startswith("| ")]
    assert all(("*reported*" in x) != ("measured" in x) for x in lines if "map |" not in x and "| ---" not in x and not x.startswith(("| encoder", "| :")))  # fmt: skip
    measured = next(i for i, x in enumerate(lines) if "builtin:ngram" in x)
    reported = next(i for i, x in enumerate(lines) if "LaBSE" in x)
    assert measured < reported
    assert [row.name for row in board.tasks[0].rows] == ["builtin:ngram", "builtin:random"]


def test_no_reported_row_is_on_a_ranked_page(tmp_path: Path):
    results = copy_results(tmp_path / "results")
    for folder in results.glob("*/mini"):
        change(folder, task={"name": "xquad-r"})
    texts = leaderboard_texts(read_board([results]))
    assert "LaBSE" not in texts["README.md"] + texts["xquad-r.md"]
