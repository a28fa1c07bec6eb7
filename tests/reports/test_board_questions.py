"""The questions on a leaderboard's page: which are chosen, what is said of them, and only where it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import copy_results

from xlir_bench import Result
from xlir_bench.evaluation import RunOptions
from xlir_bench.records import Collection, Silent
from xlir_bench.reports.leaderboard import single_page
from xlir_bench.reports.leaderboard.board import TaskBoard, read_board
from xlir_bench.reports.leaderboard.single_page import question_data
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue


@pytest.fixture(scope="module")
def mini() -> Collection:
    return load_collection(catalogue().get(["mini"])[0], RunOptions(), Silent())


@pytest.fixture
def board(tmp_path: Path) -> TaskBoard:
    return read_board([copy_results(tmp_path / "results")]).tasks[0]


def plain(board: TaskBoard, encoder: int, lang: str) -> dict[str, tuple[float, int]]:
    """Of each question map in the pool and the rank of the first answer, from the tables alone."""
    result = Result.load(board.rows[encoder].folder)
    values = (
        result.table("queries").to_pandas().astype({"kind": str, "measure": str, "query_lang": str})
    )
    ranks = result.table("ranks").to_pandas().astype({"kind": str, "query_lang": str})
    chosen = values[
        (values.kind == "multilingual") & (values.measure == "map") & (values.query_lang == lang)
    ]
    pooled = ranks[(ranks.kind == "multilingual") & (ranks.query_lang == lang)]
    first = pooled.groupby("query_id", observed=True)["rank"].min()
    return {str(row.query_id): (row.value, int(first[row.query_id])) for row in chosen.itertuples()}


def test_every_encoder_has_its_worst_and_best_and_what_the_others_made_of_them(
    board: TaskBoard, mini: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_page, "WORST", 4)
    monkeypatch.setattr(single_page, "BEST", 2)
    data = question_data(board, mini)
    assert (data["kind"], data["worst"], data["best"]) == ("multilingual", 4, 2)
    assert list(data["byLang"]) == board.langs
    for lang in ("de", "zh"):
        shown = {question["id"]: question for question in data["byLang"][lang]}
        assert 6 <= len(shown) <= 12
        for encoder in (0, 1):
            told = plain(board, encoder, lang)
            value = {name: pair[0] for name, pair in told.items()}
            assert {*sorted(value, key=lambda name: (value[name], name))[:4]} <= shown.keys()
            assert {*sorted(value, key=lambda name: (-value[name], name))[:2]} <= shown.keys()
            for name, question in shown.items():
                pair = question["values"][encoder], question["ranks"][encoder]
                assert pair == (pytest.approx(told[name][0]), told[name][1])


def test_texts_are_those_of_the_data_the_answer_in_the_language_of_the_question(
    board: TaskBoard, mini: Collection
) -> None:
    asked = mini.queries["de"]
    for question in question_data(board, mini)["byLang"]["de"]:
        row = asked.ids.index(question["id"])
        assert question["text"] == asked.texts[row]
        relevance = mini.relevance["de", "de"]
        answers = relevance.passage[relevance.query == row].tolist()
        assert question["answer"] in [mini.passages["de"].texts[place] for place in answers]


def test_few_are_shown_of_very_many_encoders_and_languages_and_long_texts_are_cut(
    board: TaskBoard, mini: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_page, "MOST", 1)
    monkeypatch.setattr(single_page, "LONGEST", 10)
    data = question_data(board, mini)
    assert (data["worst"], data["best"]) == (1, 1)
    for found in data["byLang"].values():
        assert 1 <= len(found) <= 4
        assert all(len(question["text"]) <= 11 for question in found)


def test_an_encoder_without_ranks_says_nothing(board: TaskBoard, mini: Collection) -> None:
    for table in board.rows[1].folder.glob("*.parquet"):
        table.unlink()
    for question in question_data(board, mini)["byLang"]["en"]:
        assert question["values"][0] is not None
        assert (question["values"][1], question["ranks"][1]) == (None, None)
