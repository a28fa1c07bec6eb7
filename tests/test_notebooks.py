"""The notebooks run from the first cell to the last, and what their text tells to type is right."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from xlir_bench.cli import exit_code

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"


def cells(name: str, kind: str) -> list[str]:
    book = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    assert not any(cell.get("outputs") for cell in book["cells"])
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == kind]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)


def run(name: str) -> dict[str, object]:
    names: dict[str, object] = {}
    for number, cell in enumerate(cells(name, "code")):
        exec(compile(cell, f"{name}, code cell {number}", "exec"), names)
    return names


def test_a_first_look(elsewhere, capsys):
    names = run("first-look.ipynb")
    assert names["result"].score("monolingual") > names["mine"].score("monolingual")
    assert "same_language_preference: 0." in capsys.readouterr().out
    assert Path("results/letters/mini/result.json").is_file()


def test_after_a_run(elsewhere, capsys):
    names = run("after-a-run.ipynb")
    assert names["after"].record.encoder.name == "builtin:ngram"
    assert "by query language" in capsys.readouterr().out
    codes = []
    for line in cells("after-a-run.ipynb", "markdown")[-1].splitlines():
        if line.startswith("    xlir-bench ") and " plot " not in line:
            words = shlex.split(line, comments=True)[1:]
            paths = [sorted(map(str, Path().glob(w))) if "*" in w else [w] for w in words]
            codes.append(exit_code([word for several in paths for word in several]))
    assert codes == [0, 1, 0, 0]
