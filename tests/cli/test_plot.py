"""`xlir-bench plot`: pictures of stored results."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import tells
from stored import copy_results

pytest.importorskip("matplotlib")


@pytest.fixture
def stored(xlir, tmp_path):
    copy_results(tmp_path / "results")
    return xlir


def test_a_matrix_is_drawn_as_png(stored):
    said = stored("plot", "matrix", "results/builtin-ngram/mini", "--output", "m.png", "--dpi", 50)
    assert said.code == 0, said.err
    assert tells(said.out, "m.png")
    assert len(said.out.splitlines()) == 1
    assert Path("m.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_of_results_is_searched_through(stored):
    assert stored("plot", "trade-off", "results", "--output", "new/t.svg").code == 0
    assert Path("new/t.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["matrix", "results", "--output", "m.png"], ["plot matrix", "one result", "2"]),
        (["matrix", "results/builtin-ngram", "--output", "m.gif"], ["m.gif", ".png"]),
        (["matrix", "results/builtin-ngram", "--output", "m.png", "--measure", "mpa"], ["'mpa'", "'map'"]),
        (["alignment", "results/builtin-ngram", "--output", "m.png"], ["xlir-bench run --alignment"]),
        (["matrix", "none", "--output", "m.png"], ["none", "not there"]),
        (["pie", "results", "--output", "m.png"], ["pie"]),
    ],
)  # fmt: skip
def test_faults_are_a_line_and_exit_2(stored, arguments, facts):
    said = stored("plot", *arguments)
    assert said.code == 2
    assert tells(said.err, *facts)
    assert not Path("m.png").exists()


def test_without_matplotlib_the_extra_is_named(stored, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = stored("plot", "matrix", "results/builtin-ngram/mini", "--output", "m.png")
    assert said.code == 2
    assert "xlir-bench[plot]" in said.err
