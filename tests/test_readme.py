"""What the pages show of results and times is what made them; test_docs.py runs their commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xlir_bench.cli import exit_code
from xlir_bench.records import Kind
from xlir_bench.results import Result
from xlir_bench.tasks import catalogue

ROOT = Path(__file__).parent.parent


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)


def test_what_it_says_of_training_is_what_three_seeds_say():
    shown = re.search(
        r"<!-- training -->\n(.*?)\n<!-- /training -->", page("training.md"), re.DOTALL
    )
    assert shown is not None
    found = (ROOT / "leaderboards/experiments/mini/README.md").read_text(encoding="utf-8")
    assert "`xlir-bench experiment" in found
    assert "3 seeds" in found
    claims = found.partition("## Claims\n\n")[2].partition("\n\n## ")[0]
    # To mend it, copy this part of the page.
    assert shown[1] == claims


def test_the_finding_is_that_of_the_experiments_page():
    shown = page("../README.md").partition("<!-- finding -->")[2].partition("<!-- /finding -->")[0]
    found = (ROOT / "leaderboards/experiments/hybrid-pretrained/README.md").read_text("utf-8")
    table = found.partition("## XQuAD-R\n")[2].partition("\n\nAgainst")[0].replace("**", "")
    rows = {row[0]: row for row in cells(table)}
    ours = cells(shown)
    columns = [rows["batches"].index(name) for name in ours[0]]
    for row in ours[:1] + ours[2:]:
        assert row == [rows[row[0]][column] for column in columns]
    for figure in re.findall(r"[-+]\.\d{4}", shown):
        assert figure in found, figure
    ends = [rows["untrained"][i] for i in columns[2:5]] + [rows["hybrid, alpha 0.5"][columns[4]]]
    for value in (f"{float(end.split()[0]):.2f}".lstrip("0") for end in ends):
        assert value in shown.partition("|")[0], value


def test_the_picture_of_the_finding_is_that_of_its_results(tmp_path):
    mpl = pytest.importorskip("matplotlib")
    if f"matplotlib=={mpl.__version__}" not in (ROOT / "constraints.txt").read_text("utf-8"):
        pytest.skip("another release of matplotlib draws other bytes")
    before, after = (
        ROOT / f"leaderboards/results/multilingual-e5-small-{name}/xquad-r"
        for name in ("8ae48a5a", "hybrid-848ef830")
    )
    title = "Sixty steps of hybrid batches, XQuAD-R"
    args = ["plot", "bias", str(before), str(after), "--title", title, "--output", "new.svg"]
    assert exit_code(args) == 0
    shown = ROOT / "docs/figures/before-after.svg"
    assert Path("new.svg").read_bytes() == shown.read_bytes()


@pytest.mark.parametrize("name", ["../README.md", "pipelines.md"])
def test_figures_of_the_leaderboard_stand_on_it(name):
    board = (ROOT / "leaderboards/README.md").read_text("utf-8").partition("## [XQuAD-R]")[2]
    shown = page(name)
    blocks = re.findall(r"<!-- board -->\n(.*?)<!-- /board -->", shown, re.DOTALL)
    blocks += re.findall(r"without any training.*?leaderboard", shown, re.DOTALL | re.IGNORECASE)
    figures = re.findall(r"\.\d{4}|\d,\d{3}", "".join(blocks))
    assert figures
    for figure in figures:
        assert figure in board, figure


def test_what_changed_questions_lose_is_what_was_measured():
    shown = page("measures.md").partition("<!-- forms -->")[2].partition("<!-- /forms -->")[0]
    found = {}
    folder = ROOT / "leaderboards/results/multilingual-e5-small-8ae48a5a"
    for path in folder.glob("xquad-r*"):
        record = Result.load(path).record
        means = [record.average(kind, "map") for kind in Kind]
        form = record.options.query_form
        found[f"`{form}`" if form else "as they are"] = [
            f"{mean.mean:.4f}".lstrip("0") for mean in means if mean
        ]
    assert {row[0]: row[1:] for row in cells(shown)[2:]} == found


def cells(text: str) -> list[list[str]]:
    """The cells of the first table of a text, by line."""
    lines = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert lines is not None
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines[0].splitlines()]


TIMES = ("query ms", "span of rounds", "unbeaten by")
"""What differs from machine to machine, and from run to run."""


def test_the_variants_are_those_of_its_command_but_for_their_times(capsys):
    text = page("cost.md")
    shown = re.search(r"<!-- profile -->\n```\n(.*?)\n```\n<!-- /profile -->", text, re.DOTALL)
    command = re.search(r"^xlir-bench (profile .*)$", text, re.MULTILINE)
    assert shown is not None
    assert command is not None
    args = [*command[1].split(), "--queries", "2", "--repeats", "1", "--batch", "2", "--quiet"]
    assert exit_code(args) == 0
    printed = capsys.readouterr().out.split("\n\n")[2]
    assert _cells(shown[1]) == _cells(printed)


def _cells(table: str) -> list[list[str]]:
    """The cells of a printed table, by the place of its columns, without those that tell times."""
    head, lines, *rows = table.splitlines()
    spans = [m.span() for m in re.finditer("-+", lines)]
    kept = [span for span in spans if head[slice(*span)].strip() not in TIMES]
    return [[row[slice(*span)].strip() for span in kept] for row in (head, *rows)]


def test_the_tasks_have_the_sizes_that_it_names():
    for task in catalogue().tasks.values():
        row = re.search(rf"^\| `{task.name}` \| (.*) \|$", page("tasks.md"), re.MULTILINE)
        assert row is not None, task.name
        sought = task.passage_languages or task.languages
        counts = [
            [task.counts("queries").get(lang) for lang in task.languages],
            [task.counts("candidates").get(lang) for lang in sought],
        ]
        totals = ["" if None in c else f"{sum(c):,}" for c in counts]
        sizes = f"{len(task.languages)} | {len(task.settings()):,} | {totals[0]} | {totals[1]}"
        assert row[1].startswith(sizes)
