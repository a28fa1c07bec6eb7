"""`xlir-bench robustness`: whether a quality holds away from home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from changed import evaluated
from cli.conftest import tells
from reports.test_robustness import on


@pytest.fixture
def three(xlir):
    ngram = evaluated("builtin:ngram")
    ngram.save(Path("results/builtin-ngram/mini"))
    on(ngram, "news").save(Path("results/builtin-ngram/news"))
    return xlir


def test_the_first_task_is_the_reference_unless_one_is_named(three) -> None:
    said = three("robustness", "results")
    assert said.code == 0, said.err
    assert "map beside mini" in said.out
    assert "map beside news" in three("robustness", "results", "--reference", "news").out


def test_json_and_a_picture(three) -> None:
    pytest.importorskip("matplotlib")
    said = three("robustness", "results", "--json", "--plot", "gains.svg")
    assert json.loads(said.out)["shifts"][0]["task"] == "news"
    assert Path("gains.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_what_is_asked_wrongly_is_one_line(three) -> None:
    both = three("robustness", "results", "--reference", "mini", "--baseline", "builtin-ngram")
    assert (both.code, tells(both.err, "--reference", "--baseline", "one")) == (2, True)
    alone = three("robustness", "results/builtin-ngram/mini")
    assert (alone.code, tells(alone.err, "nothing", "beside mini")) == (2, True)
