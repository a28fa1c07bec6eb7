"""Without torch and what comes with it: the core works, and the rest names the extra that it wants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from stored import mini_results

from xlir_bench.extras import EXTRAS

MODULES = sorted({name for names in EXTRAS.values() for name in names})
BARE = f"""
import sys
sys.modules |= dict.fromkeys({MODULES!r})  # as if they were not installed
from xlir_bench.cli import exit_code
sys.exit(exit_code(sys.argv[1:]))
"""
ONE, TWO = "builtin-ngram/mini", "builtin-random/mini"
QUICK = ["--langs", "de,en", "--quiet"]


def bare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments], cwd=folder, text=True, capture_output=True
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two results in `stored`."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "stored").symlink_to(mini_results())
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--output", "out", *QUICK],
        ["run", "--model", "builtin:ngram", "--index", "IVF2,Flat", "--output", "out", *QUICK],
        ["show", f"stored/{ONE}"],
        ["compare", f"stored/{ONE}", f"stored/{TWO}"],
        ["gate", "--baseline", f"stored/{ONE}", "--candidate", f"stored/{ONE}"],
        ["leaderboard", "--results", "stored", "--output", "boards", "--html"],
        ["export", "csv", f"stored/{ONE}", "--output", "all.csv"],
        ["profile", "--output", "out", "--queries", "2", "--repeats", "1", "--quiet"],
        ["experiment"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_core_needs_no_torch(place: Path, arguments: list[str]) -> None:
    done = bare(place, *arguments)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("models", ["run", "--model", "owner/name", "--output", "out"]),
        ("models", ["run", "--model", ".", "--output", "out"]),
        ("models", ["run", "--rerank", "owner/name", "--output", "out"]),
        ("models", ["gate", "--baseline", f"stored/{ONE}", "--candidate", "owner/name"]),
        (
            "models",
            ["augment", "translate", "mini-train", "--model", "m", "--to", "de", "--output", "o"],
        ),
        ("train", ["train-hybrid", "--train", "mini-train", "--output", "model"]),
        ("train", ["experiment", "mini", "--output", "grid"]),
    ],
)
def test_what_wants_more_is_refused_in_one_line_that_names_the_extra(
    place: Path, extra: str, arguments: list[str]
) -> None:
    done = bare(place, *arguments)
    assert done.returncode == 2
    assert f"pip install 'xlir-bench[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1
