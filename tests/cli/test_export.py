"""`xlir-bench export`: stored results for other tools."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from changed import evaluated
from cli.conftest import tells

FOLDER = Path("results/a/mini")


@pytest.fixture
def export(xlir):
    evaluated("builtin:ngram").save(FOLDER)
    return lambda *args: xlir("export", *args)


def test_it_says_what_it_wrote(export):
    said = export("csv", FOLDER, "--output", "out/t.csv")
    assert said.code == 0, said.err
    assert re.fullmatch(r"1 file .*\bout/t\.csv\n", said.out)
    assert Path("out/t.csv").read_text(encoding="utf-8").startswith("task,")


def test_an_unknown_format_gets_a_near_miss(export):
    said = export("trek", FOLDER, "--output", "out")
    assert said.code == 2
    assert tells(said.err, "'trek'", "'trec'")


def test_trec_without_passages_says_how_to_get_them(export):
    said = export("trec", FOLDER, "--output", "out")
    assert said.code == 2
    assert "--save-run" in said.err


def test_a_result_that_is_not_there_is_told(export):
    said = export("csv", "results/none", "--output", "t.csv")
    assert said.code == 2
    assert "results/none" in said.err
