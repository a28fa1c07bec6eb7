"""The door: what is listed, what is imported, how failures are told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xlir_bench.cli import COMMANDS

LIGHT = {"click", "xlir_bench"}
HEAVY = {
    "datasets", "faiss", "httpx", "numba", "numpy", "pandas", "platformdirs", "pyarrow", "pydantic",
    "ranx", "sentence_transformers", "tabulate", "torch", "tqdm", "transformers",
}  # fmt: skip


def test_help_lists_every_command_with_its_line(xlir):
    said = xlir("--help")
    assert said.code == 0
    for name, line in COMMANDS.items():
        assert name in said.out
        assert line.split(":")[0].split(",")[0][:30] in said.out


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavier_than_click(args):
    probe = (
        "import sys\n"
        "from xlir_bench.cli import exit_code\n"
        f"assert exit_code({args!r}) == 0\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert loaded >= LIGHT
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(xlir, name):
    said = xlir(name, "--help")
    assert said.code == 0
    assert f"xlir-bench {name}" in said.out


def test_an_unknown_command_gets_a_near_miss(xlir):
    said = xlir("rnu")
    assert said.code == 2
    assert "did you mean 'run'?" in said.err


def test_an_unknown_option_is_exit_code_2(xlir):
    said = xlir("run", "--no-such-option")
    assert said.code == 2
    assert "--no-such-option" in said.err


def test_python_m_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "xlir_bench", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("xlir-bench ")


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m xlir_bench tasks xquad-r --settings | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
