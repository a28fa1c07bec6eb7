"""One renderer: what is plain text in a report is plain text in every form."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess

import pytest
from changed import evaluated
from hypothesis import given, settings
from hypothesis import strategies as st

from xlir_bench.errors import WARNING
from xlir_bench.rendering.document import Bold, Lines, Listing, Table, render
from xlir_bench.reports.tables import report

LANGS = [f"l{n}" for n in range(12)]
MATRIX = Table(["query", *LANGS], [[x, *(".123" for _ in LANGS)] for x in LANGS])
WIDE = Table(["setting", "map", "p", "tied"], [["a b", ".5", ".01", "3"]], spare=("tied", "p"))


def longest(text: str) -> int:
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("width", [14, 24, 40, 79, 80])
def test_no_table_is_wider_than_the_terminal_and_no_column_is_lost(width: int) -> None:
    text = render([MATRIX], width=width)
    assert longest(text) <= width
    heads = [line for line in text.splitlines() if line.startswith("query")]
    assert [x for line in heads for x in line.split()[1:]] == LANGS
    assert text.count(".123") == 144


def test_without_a_terminal_every_column_stands_in_one_table() -> None:
    assert render([MATRIX]).count("query") == 1


def test_spare_columns_go_first_and_are_named() -> None:
    whole = longest(render([WIDE]))
    assert render([WIDE], width=whole) == render([WIDE])
    one, both = (render([WIDE], width=width) for width in (whole - 1, 16))
    assert one.splitlines()[0].split() == ["setting", "map", "p"]
    assert re.search(r"\(tied: .*--json\)", " ".join(one.split()))
    assert both.splitlines()[0].split() == ["setting", "map"]
    assert "(tied, p: " in both


def test_no_spare_column_goes_where_the_table_is_split_all_the_same() -> None:
    headers = ["name", *(f"number {n}" for n in range(6)), "spare"]
    table = Table(headers, [["a", *"1234567"]], spare=("spare",))
    text = render([table], width=60)
    assert text.count("name") == 2
    assert "spare" in text
    assert "a wider terminal" not in text
    assert longest(text) <= 60


def test_a_spare_column_goes_where_alone_it_is_too_wide() -> None:
    table = Table(["a", "b" * 30], [["1", "2"]], spare=("b" * 30,))
    text = render([table], width=20)
    assert "(" + "b" * 30 + ": a wider terminal" in " ".join(text.split())


@pytest.mark.parametrize("width", [24, 40, 80])
def test_ideographs_count_as_two_and_may_end_a_line(width: int) -> None:
    line = "  found instead " + "北京大学在哪里" * 12 + " and some words"
    text = render([Lines(line)], width=width)
    wide = [sum(2 if "\u2e80" <= c <= "\uffff" else 1 for c in x) for x in text.splitlines()]
    assert max(wide) <= width
    assert "".join(text.split()) == "".join(line.split())


def test_names_too_long_for_the_terminal_are_cut_and_that_is_told() -> None:
    names = ["multilingual-e5-small | centroids of held-out text / " * 2, "short / one"]
    table = Table(["A / B", "kind", "p"], [[name, "monolingual", ".01"] for name in names], text=2)
    text = render([table], width=60)
    assert longest(text) <= 60
    assert "multiling" in text
    assert "…" in text
    assert "short / one" in text
    assert re.search(r"\(whole names: .*--json\)", text)
    assert "whole names" not in render([table], width=200)


def test_a_report_of_a_result_fits_eighty_columns() -> None:
    text = render(report(evaluated().record), width=80)
    tables = [line for line in text.splitlines() if line.startswith("---")]
    assert tables
    assert longest("\n".join(tables)) <= 80


def test_a_result_in_which_nothing_was_scored_is_shown_too() -> None:
    assert "mini: builtin:ngram" in render(
        report(evaluated().record.model_copy(update={"summary": {}}))
    )


EVIL = "a|b\n<script>\x1b[2J_x_ *y* \\input{z} $1 & 100% #1 ~^"


def test_names_from_outside_break_out_of_no_form() -> None:
    blocks = [Lines(EVIL), Lines(EVIL), Listing(EVIL, (EVIL,)), Table([EVIL], [[EVIL]])]
    for form in ("terminal", "markdown", "latex", "html"):
        assert "\x1b" not in render(blocks, form)
    assert "<script" not in render(blocks, "html")
    markdown = render(blocks, "markdown")
    assert "<script" not in markdown
    assert all(line.count("|") - line.count("\\|") in (0, 2) for line in markdown.splitlines())
    latex = [line for line in render(blocks, "latex").splitlines() if not line.startswith("%")]
    assert r"\input" not in "\n".join(latex)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(max_size=30), st.integers(8, 60))
def test_whatever_a_cell_holds_a_table_is_made(text: str, width: int) -> None:
    table = Table(["name", "one", "two"], [[text, text, "1"]], spare=("two",))
    for form in ("terminal", "markdown", "latex", "html", "csv"):
        assert render([table], form, width)


def test_csv_is_the_tables_alone_with_numbers_as_they_are_and_no_formula() -> None:
    rows = [
        {"name": "a, b", "value": 0.1 + 0.2, "low": None},
        {"name": "=1+1", "value": 2, "low": 1e-7},
    ]
    text = render([Lines("a heading"), Table.of(rows)], "csv")
    read = list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in read] == ["a, b", "'=1+1"]
    assert [float(row["value"]) for row in read] == [0.1 + 0.2, 2]
    assert [row["low"] for row in read] == ["", "1e-07"]


def test_html_is_paragraphs_and_tables_with_the_best_in_bold() -> None:
    text = render([Lines("a < b", "c"), Table(["x", "y"], [["z & z", Bold("1")]], text=2)], "html")
    assert "<p>a &lt; b<br>c</p>" in text
    assert "<td>z &amp; z</td>" in text
    assert "<b>1</b>" in text


def test_a_table_without_rows_or_headers_is_nothing() -> None:
    for form in ("terminal", "markdown", "latex", "html", "csv"):
        assert render([Table.of([])], form, 80) == ""


def test_latex_is_a_table_of_booktabs_with_words_as_comments() -> None:
    text = render([Lines("50 % & more"), Table(["a", "b"], [["x_y", "1"]])], "latex")
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "% 50 % & more", "", r"\begin{tabular}{lr}", r"\toprule", r"a & b \\", r"\midrule",
        r"x\_y & 1 \\", r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_takes_it(tmp_path) -> None:
    body = render(report(evaluated().record), "latex")
    source = (
        r"\documentclass{article}\usepackage{booktabs}\usepackage[utf8]{inputenc}"
        rf"\begin{{document}}{body}\end{{document}}"
    )
    (tmp_path / "t.tex").write_text(source)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_words_are_broken_where_a_terminal_is_narrower_and_nowhere_else() -> None:
    blocks = [Lines("  one two three"), Listing("notes", [f"{WARNING}four five six"])]
    assert (
        render(blocks, width=12)
        == "  one two\n    three\n\nnotes\n  warning:\n    four\n    five six"
    )
    assert render(blocks, "markdown", width=12) == render(blocks, "markdown")
