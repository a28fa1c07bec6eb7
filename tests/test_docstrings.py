"""The examples of the docstrings are true."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import xlir_bench

PACKAGE = Path(str(xlir_bench.__file__)).parent


def modules_with_examples() -> list[str]:
    """Found in the text: a module without any example need not be imported."""
    return [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(PACKAGE.rglob("*.py"))
        if ">>> " in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_give_what_they_show(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0, "its examples stand where doctest does not look"
    assert found.failed == 0


def test_the_main_entry_points_show_an_example() -> None:
    assert {"xlir_bench", "xlir_bench.evaluation.run"} <= set(modules_with_examples())
