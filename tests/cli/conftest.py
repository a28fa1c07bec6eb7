"""The command line as a person uses it: arguments in, output and exit code out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from xlir_bench.cli import exit_code


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


def tells(text: str, *facts: str) -> bool:
    """Whether one line has each of these whole, in any order: 1,200 does not tell of 200, nor --a-b of --a."""
    parts = [re.compile(rf"(?<![\w.,])(?<!\w-){re.escape(fact)}(?!-?\w|[.,]\d)") for fact in facts]
    return any(all(part.search(line) for part in parts) for line in text.splitlines())


@pytest.fixture
def xlir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `xlir-bench …` in an empty folder with an empty cache and no data root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)

    def command(*args: str | Path) -> Said:
        capsys.readouterr()
        code = exit_code([str(a) for a in args])
        streams = capsys.readouterr()
        return Said(code, streams.out, streams.err)

    return command
