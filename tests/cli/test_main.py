"""The door: what is listed, what is imported, how failures are told."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from cli.conftest import tells
from click.shell_completion import BashComplete

from xlir_bench.cli import COMMANDS, as_globbed, group

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


@pytest.mark.parametrize("asked", [[["--help"], ["--version"]], [[x, "--help"] for x in COMMANDS]])
def test_help_imports_nothing_heavier_than_click(asked):
    probe = (
        "import sys\n"
        "from xlir_bench.cli import exit_code\n"
        f"assert not any(map(exit_code, {asked!r}))\n"
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


def commands(inside: click.Group = group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    ctx = click.Context(inside)
    for each in inside.list_commands(ctx):
        found = inside.get_command(ctx, each)
        assert found is not None
        yield f"{name} {each}".strip(), found
        if isinstance(found, click.Group):
            yield from commands(found, f"{name} {each}".strip())


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_its_help_is_no_wider_than_a_terminal(xlir, name):
    lines = xlir(*name.split(), "--help").out.splitlines()
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_options_stand_under_headings_with_help_and_without_a_heap(xlir, name):
    found = dict(commands())[name]
    said = xlir(*name.split(), "--help")
    options = [p for p in found.params if isinstance(p, click.Option)]
    assert [p.name for p in options if not p.help] == []
    headings = [line for line in said.out.splitlines() if re.fullmatch(r"\w[\w ]*:", line)]
    assert "Options:" not in headings
    rest = said.out[said.out.index("\nOther options:") :].partition("\n\n")[0]
    assert rest.count("\n  -") <= 8
    assert len(headings) > 1 or len(options) == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run", "--dtype", "float46"], "--dtype 'float46': did you mean"),
        (["run", "--max-download", "much"], "500MB"),
        (["run", "--limit", "x"], "--limit 'x'"),
        (["run", "--limit", "9" * 20], "--limit 9"),
        (["run", "--limit"], "--limit wants a value"),
        (["run", "--json=1"], "--json takes no value"),
        (["run", "--limt", "3"], "'--limt': did you mean '--limit'? (xlir-bench run --help"),
        (["run", "--limt=3"], "'--limt': did you mean '--limit'?"),
        (["data", "--", "--no-command"], "'--no-command'"),
        (["tasks", "mini", "and more"], "xlir-bench tasks takes [TASK]: leave out 'and more'"),
        (["gate", "stray"], "xlir-bench gate takes"),
        (["plot"], "KIND (there are: matrix, "),
        (["plot", "matirx", "r", "--output", "m.png"], "KIND 'matirx': did you mean 'matrix'?"),
        (["plot", "matrix", "r", "--output", "m.png", "--dpi", "7"], "from 30 to 1200"),
        (["compare", "a", "b", "--show-queries", "0"], "1 or more"),
        (["train-hybrid", "--output", "out"], "--train"),
        (["cache", "prune", "--older-than", "5y"], "30d"),
    ],
)
def test_whatever_is_wrong_with_a_command_line_is_one_line(xlir, args, told):
    said = xlir(*args)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert told in said.err
    assert "Usage:" not in said.err
    assert len(said.err.splitlines()) == 1


def test_without_a_command_the_help_is_shown(xlir):
    said = xlir()
    assert said.code == 2
    assert "train-hybrid" in said.err


def test_an_unknown_command_gets_a_near_miss(xlir):
    said = xlir("rnu")
    assert said.code == 2
    assert tells(said.err, "'rnu'", "'run'")


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


def test_patterns_become_the_paths_that_they_name_as_in_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b-2", "b-10", "c"):
        (tmp_path / name).mkdir()
    words = ["run", "--model", "b-*", "--query", "why?", "c", "", "none*"]
    assert as_globbed(words) == [
        "run", "--model", "b-10", "b-2", "--query", "why?", "c", "", "none*",
    ]  # fmt: skip


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m xlir_bench tasks xquad-r --settings | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("run --task xquad", {"xquad", "xquad-r"}),
        ("run --task mlqa-r --langs de,e", {"de,en", "de,es"}),
        ("run --kinds mono", {"monolingual"}),
        ("run --model builtin:b", {"builtin:bm25"}),
        ("experiment paper", {"paper-labse", "paper-xlmr"}),
        ("tasks mini", {"mini"}),
        ("tasks new --form", {"--format"}),
        ("nothing --x", set()),
    ],
)
def test_a_shell_is_offered_values(words, offered):
    done, _, begun = words.rpartition(" ")
    shell = BashComplete(group, {}, "xlir-bench", "_XLIR_BENCH_COMPLETE")
    assert {item.value for item in shell.get_completions(done.split(), begun)} == offered
