from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli.conftest import tells
from train.rowfiles import row, write_rows

from xlir_bench.cli import exit_code
from xlir_bench.tasks import tasks_folder

MINI_TRAIN = str(tasks_folder() / "mini-train.jsonl")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)


def test_check_training_shows_languages_pairs_and_lengths(capsys: pytest.CaptureFixture) -> None:
    assert exit_code(["data", "check-training", MINI_TRAIN]) == 0
    shown = capsys.readouterr().out
    assert f"rows in {MINI_TRAIN}" in shown
    assert re.search(r"\bquestion\b.*\bdown\b.*\banswer\b.*\bacross\b", shown)
    assert "no faults" in shown


def test_check_training_lists_faults_by_line_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [row(1), {"id": "x"}])
    assert exit_code(["data", "check-training", str(path)]) == 1
    shown = capsys.readouterr().out
    assert f"1 fault:\n  {path}, line 2: no question" in shown
    assert exit_code(["data", "check-training", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["faults"][0]["line"] == 2


def test_check_training_of_no_rows_says_so_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [])
    assert exit_code(["data", "check-training", str(path)]) == 1
    assert capsys.readouterr().out == f"0 rows in {path}\n"


def test_leakage_exits_with_1_and_names_task_and_language(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mini = json.loads((tasks_folder() / "mini" / "de.json").read_text(encoding="utf-8"))
    context = mini["data"][0]["paragraphs"][0]["context"]
    path = write_rows(tmp_path / "rows.jsonl", [row(1, answer={"de": context})])
    assert exit_code(["data", "leakage", str(path), "--task", "mini"]) == 1
    shown = capsys.readouterr().out
    assert tells(shown, "1 row", "with evaluation text")
    assert ["mini", "de", "0", "1"] in [line.split() for line in shown.splitlines()]
    assert exit_code(["data", "leakage", str(path), "--task", "mini", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["leaking"] == 1


def test_leakage_says_what_it_could_not_check(capsys: pytest.CaptureFixture) -> None:
    assert exit_code(["data", "leakage", MINI_TRAIN]) == 0
    shown = capsys.readouterr().out
    assert tells(shown, "compared", "mini (11 languages)")
    assert "not checked: xquad-r (" in shown
    assert "no evaluation text" in shown


def test_what_cannot_be_read_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert exit_code(["data", "check-training", str(tmp_path / "gone.jsonl")]) == 2
    assert tells(capsys.readouterr().err, "gone.jsonl", "not there")
    assert exit_code(["data", "leakage", MINI_TRAIN, "--task", "minni"]) == 2
    assert tells(capsys.readouterr().err, "'minni'", "'mini'")


def test_invented_codes_are_warned_of_and_nulls_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    odd = row(1, question={"jp": "何", "german": "Was?", "zh-Hant": "甚麼", "de": None})
    path = write_rows(tmp_path / "rows.jsonl", [odd, row(2)])
    assert exit_code(["data", "check-training", str(path)]) == 0
    shown = capsys.readouterr().out
    assert tells(shown, "warning:", "ISO 639", "german, jp;")
    assert tells(shown, "1", "null", "absent")
