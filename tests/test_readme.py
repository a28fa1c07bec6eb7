"""What the README shows is what its commands print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xlir_bench.cli import exit_code
from xlir_bench.tasks import catalogue

TEXT = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)


def test_the_tables_are_those_of_make_demo(capsys):
    shown = re.search(r"<!-- demo -->\n```\n(.*?)\n```\n<!-- /demo -->", TEXT, re.DOTALL)
    assert shown is not None
    assert exit_code(["run", "--task", "mini", "--output", "results"]) == 0
    assert shown[1] in capsys.readouterr().out


def test_the_tasks_have_the_sizes_that_it_names():
    for task in catalogue().tasks.values():
        row = re.search(rf"^\| `{task.name}` \| (.*) \|$", TEXT, re.MULTILINE)
        assert row is not None, task.name
        counts = [(f.queries, f.candidates) for f in task.files.values()]
        totals = ["" if None in c else f"{sum(c):,}" for c in zip(*counts, strict=True)]
        sizes = f"{len(task.languages)} | {len(task.settings())} | {totals[0]} | {totals[1]}"
        assert row[1].startswith(sizes)


def test_its_pictures_and_pages_are_there():
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (root / target).exists(), target


def test_its_python_runs(tmp_path):
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, {})
    assert (tmp_path / "results/mine/mini/result.json").is_file()
