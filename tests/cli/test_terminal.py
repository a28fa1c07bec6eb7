"""What comes from outside does nothing on a terminal or in a build server but be seen, wherever it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Command, Said
from encoders.conftest import respond_with, serve  # noqa: F401 - fixtures
from stored import change, copy_results

from xlir_bench.cli.terminal import say_blocks
from xlir_bench.errors import WARNING
from xlir_bench.escaping import cell, json_safe, printable, visible
from xlir_bench.rendering.document import Bold, Listing, Table

HOSTILE = "x\x1b[2K\x1b[1A\r\n::error::owned\n##[error]owned\u202e\x9b2J"
TOML = json.dumps(HOSTILE)


def seen_only(text: str) -> None:
    acting = {c for c in text if c not in "\n\t\r" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)}
    assert not acting, text
    assert "\u202e" not in text
    assert "\x1b" not in text
    orders = [x for x in text.splitlines() if x.lstrip().startswith(("::", "##["))]
    assert not orders, text


def check(said: Said, *codes: int) -> str:
    text = said.out + said.err
    assert said.code in codes, text
    seen_only(text)
    return text


def task_file(folder: Path, **stated: str) -> Path:
    """A task over two lines of parallel text of our own."""
    folder.mkdir()
    fields = {"title": '"t"', "description": '"d"', "languages": '["de", "en"]', "licence": '"l"'}
    fields |= {"domain": '"x"', "homepage": '"h"', "citation": '"c"'} | stated
    text = "".join(f"{name} = {value}\n" for name, value in fields.items())
    rest = 'name = "small"\nversion = 1\nformat = "parallel"\nkinds = ["cross-lingual"]\nmeasures = ["map"]\n'
    files = "".join(f'[files.{x}]\npath = "lines.jsonl"\n' for x in ("de", "en"))
    (folder / "small.toml").write_text(text + rest + "[source]\nbundled = true\n" + files, "utf-8")
    rows = [
        {"id": f"{HOSTILE}{n}", "text": {"de": f"{HOSTILE} eins {n}", "en": f"one {n}"}}
        for n in range(3)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "lines.jsonl").write_text(lines, "utf-8")
    return folder


def test_a_type_of_a_module_cannot_erase_the_warning_about_it(
    xlir: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "modules.json").write_text(json.dumps([{"type": HOSTILE, "path": ""}]))
    said = check(xlir("run", "--model", folder), 2)
    assert re.search(r"\bcode\b.*\\u001b.* --trust-remote-code\b", said)


@pytest.mark.parametrize(
    "file", ["config_sentence_transformers.json", "config.json", "modules.json"]
)
def test_a_model_folder_with_any_name_and_content(xlir: Command, tmp_path: Path, file: str) -> None:
    folder = tmp_path / HOSTILE.replace("/", "")
    folder.mkdir()
    (folder / file).write_text(json.dumps({"model_type": HOSTILE, HOSTILE: HOSTILE}))
    check(xlir("run", "--model", folder), 2)


def test_task_titles_languages_query_ids_and_texts(xlir: Command, tmp_path: Path) -> None:
    tasks = task_file(tmp_path / "tasks", title=TOML, description=TOML, licence=TOML, shares=TOML)
    check(xlir("tasks", "--tasks-dir", tasks), 0)
    assert "\\u001b" in check(xlir("tasks", "small", "--tasks-dir", tasks), 0)
    json.loads(xlir("tasks", "small", "--tasks-dir", tasks, "--json").out)
    run = (
        "run",
        "--task",
        "small",
        "--tasks-dir",
        tasks,
        "--output",
        "out",
        "--model",
        "builtin:random",
    )
    check(xlir(*run), 0)
    check(xlir(*run[:-1], "builtin:ngram"), 0)
    one, two = sorted(Path("out").glob("*/small"))
    assert "\\u001b" in check(xlir("show", one), 0)
    check(xlir("show", one, "--query", f"{HOSTILE}1", "--tasks-dir", tasks), 0)
    check(xlir("show", one, "--query", HOSTILE), 2)
    check(xlir("compare", one, two, "--show-queries", "3", "--tasks-dir", tasks), 0)


def test_a_language_code(xlir: Command, tmp_path: Path) -> None:
    tasks = task_file(tmp_path / "tasks", languages=f'["de", {TOML}]')
    check(xlir("tasks", "small", "--tasks-dir", tasks), 0, 2)
    check(xlir("run", "--task", "small", "--tasks-dir", tasks), 2)
    check(xlir("run", "--langs", HOSTILE), 2)


@pytest.mark.parametrize("markdown", [(), ("--markdown",)])
def test_a_stored_result(xlir: Command, tmp_path: Path, markdown: tuple[str, ...]) -> None:
    results = copy_results(tmp_path / "results")
    one, two = results / "builtin-ngram" / "mini", results / "builtin-random" / "mini"
    for folder in (one, two):
        change(
            folder,
            encoder={"name": HOSTILE + folder.parent.name, "query_prompt": HOSTILE},
            notes=[HOSTILE],
        )
        change(folder, task={"title": HOSTILE, "domain": HOSTILE}, command=HOSTILE)
    check(xlir("show", one, *markdown), 0)
    check(xlir("show", one, two, *markdown), 0)
    check(xlir("compare", one, two, *markdown), 0)
    check(xlir("leaderboard", "--results", results, "--output", "boards"), 0)
    stated = xlir("show", one, "--json")
    check(stated, 0)
    assert json.loads(stated.out) == json.loads((one / "result.json").read_text())


def test_a_gate_and_what_it_writes_for_a_build_server(
    xlir: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = copy_results(tmp_path / "results")
    one, two = results / "builtin-ngram" / "mini", results / "builtin-random" / "mini"
    for folder in (one, two):
        change(folder, encoder={"name": HOSTILE}, notes=[HOSTILE])
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    check(xlir("gate", "--baseline", one, "--candidate", two, "--junit", "junit.xml"), 1)
    seen_only(summary.read_text("utf-8"))
    assert "\x1b" not in Path("junit.xml").read_text("utf-8")


def test_policies_recipes_and_configurations(xlir: Command, tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    for text in (
        f"{TOML} = 1",
        f"[[drop]]\n{TOML} = 1",
        f"[[drop]]\nmeasure = {TOML}\nabsolute = 1",
        "\x1b[2J",
    ):
        file.write_text(text, "utf-8")
        results = tmp_path / "results"
        if not results.is_dir():
            copy_results(results)
        one, two = results / "builtin-ngram" / "mini", results / "builtin-random" / "mini"
        check(xlir("gate", "--baseline", one, "--candidate", two, "--policy", file), 2)
        check(xlir("experiment", file, "--dry-run"), 2)
        check(xlir("run", "--config", file), 2)


@pytest.mark.parametrize("status", [200, 400, 401, 404])
def test_what_a_server_says(
    xlir: Command,
    serve: Callable[..., str],  # noqa: F811
    respond_with: Callable[..., None],  # noqa: F811
    status: int,
) -> None:
    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        respond_with(handler, status, HOSTILE.encode())

    said = check(xlir("run", "--model", f"http:{serve(answer)}/v1#m"), 2)
    assert "owned" in said or status == 200


def test_training_rows(xlir: Command, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": HOSTILE,
            "origin": HOSTILE,
            "question": {HOSTILE: "a"},
            "answer": {HOSTILE: "a", "de": HOSTILE},
        },
        {"id": HOSTILE, "question": {HOSTILE: " "}},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert "\\u001b" in check(xlir("data", "check-training", file), 1)
    check(xlir("data", "check-training", file, "--json"), 1)


def test_nothing_prints_past_the_one_way() -> None:
    package = Path(__file__).parents[2] / "xlir_bench"
    printing = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"click\.s?echo\(|\bprint\(|sys\.std(out|err)\.write", path.read_text("utf-8"))
    ]
    assert printing == ["cli/terminal.py"]


def test_colours_are_for_a_terminal_that_wants_them_and_nothing_from_outside_brings_any(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = [Table(["a"], [[Bold(HOSTILE)]]), Listing("notes", [f"{WARNING}{HOSTILE}"])]
    say_blocks(blocks)
    plain = capsys.readouterr().out
    seen_only(plain)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    say_blocks(blocks)
    coloured = capsys.readouterr().out
    assert coloured.count("\x1b[1m") == coloured.count("\x1b[33m") == 1
    assert re.sub(r"\x1b\[\d+m", "", coloured).split() == plain.split()
    monkeypatch.setenv("NO_COLOR", "1")
    say_blocks(blocks)
    assert "\x1b" not in capsys.readouterr().out


def test_text_stays_whole_where_it_is_only_text() -> None:
    text = "می‌خواهم क्‍ष 👩‍🔬 a\tb"  # joiners are part of how it is written
    assert printable(text) == text
    assert visible(text) == text.replace("\t", "\\u0009")
    for stated in (HOSTILE, "\U000e0001 \u2028", "\U0010fffd", text):
        assert json.loads(json_safe(json.dumps(stated, ensure_ascii=False))) == stated


def test_cells_that_a_spreadsheet_would_run() -> None:
    assert [cell(x) for x in ("=1+1", "+1", "-1", "@x", "\tx", "\rx")] == [
        "'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx",
    ]  # fmt: skip
    assert cell("a=1") == "a=1"
