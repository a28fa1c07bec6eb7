"""What the pages show of results and times is what made them; test_docs.py runs their commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xlir_bench.cli import exit_code
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
